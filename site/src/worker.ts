// Python, away from the page: it answers questions in the order in which they come.
import type { loadPyodide as Load } from "pyodide";
import type { FromWorker, ToWorker } from "./messages";

declare const __DATA__: string;
declare const __DOWNLOADS__: Record<string, number>;

const here = new URL(/* @vite-ignore */ `../${__DATA__}/`, import.meta.url);
const PACKAGES = "/lib/python3.14/site-packages";
const total = Object.values(__DOWNLOADS__).reduce((sum, size) => sum + size, 0);
const loaded = new Map<string, number>();
const send = (message: FromWorker): void => postMessage(message);

/** Counts what a response has brought so far; the response itself is left as it is. */
async function count(name: string, response: Response): Promise<void> {
  const reader = response.body?.getReader();
  let bytes = 0;
  for (;;) {
    const part = await reader?.read();
    if (!part || part.done) break;
    bytes += part.value.byteLength;
    loaded.set(name, bytes);
    const sum = [...loaded.values()].reduce((all, size) => all + size, 0);
    send({ progress: Math.min(1, sum / total) });
  }
}

// Pyodide waits for ever for a file that does not come.
const usual = self.fetch.bind(self);
self.fetch = async (input, init) => {
  try {
    const response = await usual(input, init);
    if (!response.ok) throw new Error(`${response.url}: ${response.status}`);
    void count(response.url, response.clone());
    return response;
  } catch (error) {
    send({ failure: String(error) });
    throw error;
  }
};

async function start(): Promise<(question: string) => string> {
  const archive = fetch(new URL("pyodide/python.zip", here)).then((response) =>
    response.arrayBuffer(),
  );
  const indexURL = new URL("pyodide/", here).href;
  const runtime: string = new URL("pyodide.mjs", indexURL).href;
  const { loadPyodide } = (await import(/* @vite-ignore */ runtime)) as { loadPyodide: typeof Load };
  const pyodide = await loadPyodide({ indexURL, env: { PLAINNET_CACHE_DIR: "", HOME: "/home" } });
  pyodide.unpackArchive(await archive, "zip", { extractDir: PACKAGES });
  send({ progress: 1 });
  const module = pyodide.pyimport("compiler.page.answers") as {
    answer: (question: string) => string;
  };
  return module.answer;
}

const started = start();
started.then(
  () => send({ ready: true }),
  (error: unknown) => send({ failure: String(error) }),
);

addEventListener("message", (event: MessageEvent<ToWorker>) => {
  const { id, question } = event.data;
  started.then((answer) => {
    try {
      send({ id, text: answer(question) });
    } catch (error) {
      send({ id, text: JSON.stringify({ failure: String(error) }) });
    }
  }, () => undefined);
});
