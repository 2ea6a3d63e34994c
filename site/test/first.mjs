// A cold load, the gallery, random networks, and the page without its server.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ROOT, UNET, emitted, go, python, shows, source } from "./browser.mjs";

const DIST = join(ROOT, "site/dist");
const DATA = readdirSync(DIST).find((name) => name.startsWith("data-"));
const UNET_3D = ["seresnext50", "--dims=3", "--segmentor=unet"];

export function first(on) {
  test("a cold load shows the gallery, and one click the file", async () => {
    const begun = performance.now();
    await on.page.goto(on.server.url);
    await on.page.getByRole("heading", { name: "Segmentation" }).waitFor();
    await on.page.getByRole("link", { name: /^SE-ResNeXt-50 \(32x4d\) UNet,/ }).click();
    const text = await source(on.page);
    console.log(`first emission after ${((performance.now() - begun) / 1000).toFixed(1)} s`);
    assert.equal(text, emitted(...UNET_3D, "--target=torch"));
    await on.page.getByText("Ready, also offline").waitFor();
  });

  test("the page's own code is below 150 kB", () => {
    const own = readdirSync(join(DIST, "assets")).map((name) => join("assets", name));
    const sizes = ["index.html", "sw.js", ...own].map((name) => readFileSync(join(DIST, name)).length);
    assert.ok(sizes.reduce((sum, size) => sum + size, 0) < 150_000, String(sizes));
  });

  test("the gallery has the whole catalog, in 2D and in 3D", async () => {
    await on.page.getByRole("link", { name: "Gallery" }).click();
    const cards = on.page.locator(".card");
    const { gallery } = JSON.parse(readFileSync(join(DIST, DATA, "catalog.json"), "utf8"));
    for (const dims of [2, 3]) {
      await on.page.getByRole("button", { name: `${dims}D` }).click();
      assert.equal(await cards.count(), gallery.filter((piece) => piece.dims === dims).length);
    }
    const images = on.page.locator(".card img");
    await images.first().evaluate((image) => image.decode());
    await on.page.goBack();
    assert.equal(await source(on.page), emitted(...UNET_3D, "--target=torch"));
  });

  test("twenty random networks are those of the command line, byte for byte", async () => {
    const cases = JSON.parse(python("site/test/expected.py", "20", process.env.SEED ?? "7"));
    assert.equal(cases.length, 20);
    for (const { network, target, text } of cases) {
      await go(on.page, network, target);
      await shows(on.page, text, target === "torch" ? "PyTorch" : "Keras");
    }
  });
}

export function offline(on) {
  test("it works without the server, from a link", async () => {
    await go(on.page, UNET, "keras");
    const expected = emitted(...UNET_3D, "--target=keras");
    await shows(on.page, expected, "Keras");
    const link = on.page.url();
    await on.page.close();
    await on.server.stop();
    await on.open();
    await on.page.goto(link);
    await shows(on.page, expected, "Keras");
  });
}
