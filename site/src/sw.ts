// Keeps every file of this build, so that the page works offline. The build puts the list and its
// digest above this code, so that browsers notice each new build.
declare const FILES: string[];
declare const VERSION: string;
const CACHE = `plainnet ${VERSION}`;

interface Extendable extends Event {
  waitUntil(work: Promise<unknown>): void;
}
interface Fetched extends Extendable {
  request: Request;
  respondWith(response: Promise<Response>): void;
}
const scope = self as unknown as EventTarget & {
  skipWaiting(): Promise<void>;
  clients: { claim(): Promise<void> };
};

async function install(): Promise<void> {
  const cache = await caches.open(CACHE);
  await cache.addAll(FILES.map((name) => (name === "index.html" ? "./" : name)));
  await scope.skipWaiting();
}

async function activate(): Promise<void> {
  const names = await caches.keys();
  const old = names.filter((name) => name.startsWith("plainnet ") && name !== CACHE);
  await Promise.all(old.map((name) => caches.delete(name)));
  await scope.clients.claim();
}

/** The page itself is asked for, to notice a new build; all else has names that say its content. */
async function answer(request: Request): Promise<Response> {
  const cache = await caches.open(CACHE);
  const kept = await cache.match(request, { ignoreSearch: true });
  if (request.mode !== "navigate") return kept ?? fetch(request);
  try {
    return await fetch(request);
  } catch (error) {
    if (kept) return kept;
    throw error;
  }
}

scope.addEventListener("install", (event) => (event as Extendable).waitUntil(install()));
scope.addEventListener("activate", (event) => (event as Extendable).waitUntil(activate()));
scope.addEventListener("fetch", (event) => {
  const { request } = event as Fetched;
  if (request.method === "GET" && new URL(request.url).origin === location.origin) {
    (event as Fetched).respondWith(answer(request));
  }
});
