// Every step of the page, as a user does it, in a browser without a network.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { fragment, launch, python, serve } from "./browser.mjs";

const UNET = { model: "seresnext50", options: { dims: "3", segmentor: "unet" } };
let browser, context, page, server;
const requests = [];
const errors = [];

before(async () => {
  server = await serve();
  browser = await launch();
  context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  context.on("request", (request) => requests.push(request.url()));
  page = await context.newPage();
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("console", (line) => line.type() === "error" && errors.push(line.text()));
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

/** The text of a target's file, once it is that of the state on the page. */
async function source(title = "PyTorch", beside = page) {
  const pane = beside.getByRole("region", { name: `${title} source` });
  await pane.and(beside.locator('[aria-busy="false"]')).waitFor();
  return pane.locator(".code code").textContent();
}

async function shows(text, title) {
  const deadline = Date.now() + 60_000;
  let found = "";
  while (Date.now() < deadline) {
    found = await source(title);
    if (found === text) return;
    await page.waitForTimeout(20);
  }
  assert.equal(found, text);
}

const emitted = (...words) => python("-m", "compiler", "emit", ...words, "-o", "-");

test("a cold load shows the gallery, and one click the file", async () => {
  const begun = performance.now();
  await page.goto(server.url);
  await page.getByRole("heading", { name: "Segmentation" }).waitFor();
  await page.getByRole("link", { name: /^SE-ResNeXt-50 \(32x4d\) UNet,/ }).click();
  const text = await source();
  console.log(`first emission after ${((performance.now() - begun) / 1000).toFixed(1)} s`);
  assert.equal(text, emitted("seresnext50", "--target=torch", "--dims=3", "--segmentor=unet"));
  await page.getByText("Ready, also offline").waitFor();
});

test("twenty random networks are those of the command line, byte for byte", async () => {
  const cases = JSON.parse(python("site/test/expected.py", "20", "7"));
  assert.equal(cases.length, 20);
  for (const { network, target, text } of cases) {
    await page.evaluate((hash) => (location.hash = hash), fragment(network, target));
    await shows(text, target === "torch" ? "PyTorch" : "Keras");
  }
});

test("it works without the server, from a link", async () => {
  await server.stop();
  const link = page.url();
  await page.close();
  page = await context.newPage();
  await page.goto(link);
  await page.evaluate((hash) => (location.hash = hash), fragment(UNET, "torch"));
  await shows(emitted("seresnext50", "--target=torch", "--dims=3", "--segmentor=unet"));
});

test("no request has left the origin, and no error was logged", () => {
  const strangers = requests.filter((url) => !/^(blob|data):/.test(url) && !url.startsWith(server.url));
  assert.deepEqual(strangers, []);
  assert.ok(requests.some((url) => url.endsWith("pyodide.asm.wasm")));
  assert.deepEqual(errors, []);
});
