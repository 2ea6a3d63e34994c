// Keyboard, names for screen readers, a phone's width, and the dark.
import assert from "node:assert/strict";
import { test } from "node:test";
import { UNET, field, go, source } from "./browser.mjs";

/** Controls without a name, by the rules that browsers name them with, as far as we use them. */
const nameless = () =>
  [...document.querySelectorAll("a, button, input, select, textarea, img, [tabindex='0']")]
    .filter((element) => {
      const labels = [...(element.labels ?? [])].map((label) => label.textContent).join("");
      const own = element.getAttribute("aria-label") ?? element.getAttribute("alt") ?? "";
      const inside = element.querySelector("img")?.alt ?? "";
      return !`${labels}${own}${inside}${element.textContent}`.trim();
    })
    .map((element) => element.outerHTML.slice(0, 200));

const tooWide = () => document.documentElement.scrollWidth - document.documentElement.clientWidth;

export function reach(on) {
  test("the keyboard reaches steps and panels", async () => {
    await go(on.page, UNET, "torch", { panel: "ledger" });
    await source(on.page);
    await on.page.locator(".code").focus();
    for (let i = 0; i < 3; i += 1) await on.page.keyboard.press("ArrowDown");
    assert.match(await on.page.locator(".code .current").textContent(), /stage 1/);
    assert.ok((await on.page.locator(".ledger tr.marked").count()) > 20);
    await on.page.keyboard.press("Escape");
    assert.equal(await on.page.locator(".marked").count(), 0);
    await on.page.getByRole("tab", { name: "Ledger" }).focus();
    await on.page.keyboard.press("ArrowLeft");
    await on.page.keyboard.press("ArrowLeft");
    assert.equal(await on.page.locator(":focus").textContent(), "Drawing");
    await on.page.locator(".drawing svg").waitFor();
    await on.page.locator("body").press("Tab");
    assert.notEqual(await on.page.evaluate(() => document.activeElement?.tagName), "BODY");
  });

  test("everything has a name, in every view", async () => {
    for (const panel of ["drawing", "steps", "ledger", "cost", "plan", "advice", "spec", "compare"]) {
      const other = panel === "compare" ? { with: "model=resnet18" } : {};
      await go(on.page, UNET, "torch", { panel, show: "both", ...other });
      await source(on.page, "Keras");
      assert.deepEqual(await on.page.evaluate(nameless), []);
    }
    await on.page.getByRole("link", { name: "Gallery" }).click();
    await on.page.locator(".card").first().waitFor();
    assert.deepEqual(await on.page.evaluate(nameless), []);
  });

  test("nothing is wider than a phone", async () => {
    await on.page.setViewportSize({ width: 390, height: 844 });
    assert.equal(await on.page.evaluate(tooWide), 0);
    for (const panel of ["drawing", "steps", "ledger", "cost", "plan", "advice"]) {
      await go(on.page, UNET, "torch", { panel, show: "both" });
      await source(on.page);
      assert.equal(await on.page.evaluate(tooWide), 0, panel);
    }
    await on.page.setViewportSize({ width: 1440, height: 900 });
  });

  test("the page cannot reach anybody else", async () => {
    const sent = (url) =>
      on.page.evaluate((to) => fetch(to).then(() => "sent", () => "refused"), url);
    assert.equal(await sent("sw.js"), "sent");
    const [errors, requests] = [[...on.errors], [...on.requests]];
    assert.equal(await sent("http://127.0.0.1:1/"), "refused");
    Object.assign(on, { errors, requests }); // without those of this test
    const csp = on.page.locator('meta[http-equiv="Content-Security-Policy"]');
    assert.match(await csp.getAttribute("content"), /default-src 'self'/);
  });

  test("a start that fails is said", async () => {
    const context = await on.browser.newContext({ serviceWorkers: "block" });
    const page = await context.newPage();
    await page.route(/pyodide\.asm\.wasm/, (route) => route.abort());
    await page.goto(on.server.url);
    await page.getByRole("alert").getByText("The compiler did not start").waitFor();
    await context.close();
  });

  test("an address that says nonsense is told so", async () => {
    await on.page.goto(`${on.server.url}#model=resnet5&dims=7&nonsense=1&panel=no`);
    await field(on.page, "model").getByText("unknown encoder 'resnet5'").waitFor();
    await field(on.page, "model").getByText("unknown option 'nonsense'").waitFor();
    await field(on.page, "dims").getByText("--dims is '7'").waitFor();
    await on.page.getByLabel("nonsense", { exact: true }).fill("");
    await on.page.getByText("unknown option 'nonsense'").waitFor({ state: "detached" });
    await on.page.goto(`${on.server.url}#spec=%%%`);
    const spec = await on.page.getByLabel("spec", { exact: true }).inputValue();
    assert.match(spec, /The address of this page was cut off/);
  });

  test("the dark is dark", async () => {
    const paper = () => getComputedStyle(document.documentElement).backgroundColor;
    const light = await on.page.evaluate(paper);
    await on.page.emulateMedia({ colorScheme: "dark" });
    const brightness = (color) => Math.max(...color.match(/\d+/g).map(Number));
    assert.ok(brightness(light) > 200);
    assert.ok(brightness(await on.page.evaluate(paper)) < 60);
    await on.page.emulateMedia({ colorScheme: "light" });
  });
}
