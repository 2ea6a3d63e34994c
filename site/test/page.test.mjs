// Every step of the page, as a user does it, in a browser that reaches nobody but this machine.
// PICTURES=FOLDER also takes the screenshots of the documentation.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, serve } from "./browser.mjs";
import { files } from "./files.mjs";
import { first, offline } from "./first.mjs";
import { network } from "./network.mjs";
import { pictures } from "./pictures.mjs";
import { reach } from "./reach.mjs";

const on = { requests: [], errors: [] };

/** A new page, whose requests and errors are noted. */
on.open = async () => {
  on.page = await on.context.newPage();
  on.page.setDefaultTimeout(60_000);
  on.page.on("pageerror", (error) => on.errors.push(String(error)));
  on.page.on("console", (line) => line.type() === "error" && on.errors.push(line.text()));
  return on.page;
};

before(async () => {
  on.server = await serve();
  on.browser = await launch();
  on.context = await on.browser.newContext({ viewport: { width: 1440, height: 900 } });
  await on.context.grantPermissions(["clipboard-read", "clipboard-write"]);
  on.context.on("request", (request) => on.requests.push(request.url()));
  await on.open();
});

after(async () => {
  await on.browser?.close();
  await on.server?.stop();
});

first(on);
network(on);
files(on);
reach(on);
if (process.env.PICTURES) pictures(on, process.env.PICTURES);
offline(on);

test("no request has left the origin, and no error was logged", () => {
  const ours = new RegExp(`^(blob:|data:)?(${on.server.url}|image/)`);
  assert.deepEqual(
    on.requests.filter((url) => !ours.test(url)),
    [],
  );
  assert.ok(on.requests.some((url) => url.endsWith("pyodide.asm.wasm")));
  assert.deepEqual(on.errors, []);
});
