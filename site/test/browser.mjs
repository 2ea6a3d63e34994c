// What the tests share: the page served by `python -m compiler page`, and a browser that shows it.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

export const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const BROWSERS = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  // Nothing but this machine has an address: a request to anybody else fails.
  "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
];

export function python(...words) {
  const done = spawnSync("python", words, { cwd: ROOT, encoding: "utf8", maxBuffer: 1 << 28 });
  if (done.status !== 0) throw new Error(`python ${words.join(" ")}: ${done.stderr}`);
  return done.stdout;
}

/** The page at an address of its own: `url`, and `stop`. */
export async function serve() {
  const words = ["-u", "-m", "compiler", "page", "--no-browser"];
  const server = spawn("python", words, { cwd: ROOT, stdio: ["ignore", "pipe", "inherit"] });
  const url = await new Promise((resolve, reject) => {
    server.stdout.on("data", (data) => {
      const found = /http:\S+/.exec(String(data));
      if (found) resolve(found[0]);
    });
    server.on("exit", (code) => reject(new Error(`page ended with ${code}`)));
  });
  const ended = new Promise((resolve) => server.on("exit", resolve));
  return { url, stop: () => (server.kill("SIGINT"), ended) };
}

export async function launch() {
  const paths = (process.env.PATH ?? "").split(":");
  const found = BROWSERS.flatMap((name) => paths.map((folder) => join(folder, name)));
  const executablePath = process.env.CHROMIUM ?? found.find(existsSync);
  if (!executablePath) throw new Error(`there is none of ${BROWSERS.join(", ")}`);
  return chromium.launch({ executablePath, args: FLAGS });
}

/** The address of a network, as people might type it. */
export function fragment(network, target, more = {}) {
  const words = new URLSearchParams({ model: network.model, target, ...more });
  for (const [name, value] of Object.entries(network.options)) {
    words.set(name, value === true ? "yes" : value);
  }
  return `#${words}`;
}

/** Goes to a network by its address. */
export async function go(page, network, target, more) {
  await page.evaluate((hash) => (location.hash = hash), fragment(network, target, more));
  await page.locator(`.bench`).waitFor();
  await page.waitForFunction((hash) => location.hash === hash, fragment(network, target, more));
}

/** The text of a target's file, once nothing is being asked. */
export async function source(page, title = "PyTorch") {
  const pane = page.locator(`section[aria-label="${title} source"][aria-busy="false"]`);
  const text = await pane.locator(".code code").textContent();
  return text;
}

/** Waits until a target's file has this text. */
export async function shows(page, text, title = "PyTorch") {
  const deadline = Date.now() + 30_000;
  let found = "";
  while (Date.now() < deadline) {
    found = await source(page, title);
    if (found === text) return;
    await page.waitForTimeout(20);
  }
  const [ours, theirs] = [found.split("\n"), text.split("\n")];
  const line = theirs.findIndex((expected, index) => expected !== ours[index]);
  assert.equal(ours[line], theirs[line], `line ${line + 1}; is the page built from this compiler?`);
}

/** The part of the form that is about an option. */
export const field = (page, name) => page.locator(`[data-field="${name}"]`);

/** What the command line prints. */
export const emitted = (...words) => python("-m", "compiler", "emit", ...words, "-o", "-");

export const UNET = { model: "seresnext50", options: { dims: "3", segmentor: "unet" } };
