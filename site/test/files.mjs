// Files that are dropped on the page, or opened with its button.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ROOT, emitted, shows, source } from "./browser.mjs";

const PLANS = join(ROOT, "tests/oracle/nnunet/plans_examples/thick_slices_resenc_m");

async function drop(page, files) {
  const data = await page.evaluateHandle((texts) => {
    const transfer = new DataTransfer();
    for (const [name, text] of Object.entries(texts)) transfer.items.add(new File([text], name));
    return transfer;
  }, files);
  await page.dispatchEvent(".zone", "drop", { dataTransfer: data });
}

export function files(on) {
  const note = () => on.page.getByRole("complementary", { name: "Opened file" });
  const text = emitted("resnet26", "--target=keras", "--segmentor=linknet");

  test("an emitted file is clean, and opens its network", async () => {
    await drop(on.page, { "mine.py": text });
    await note().getByText("clean", { exact: true }).waitFor();
    await shows(on.page, text, "Keras");
    assert.equal(await on.page.getByLabel("segmentor", { exact: true }).inputValue(), "linknet");
  });

  test("an edited file is said to be edited, with the difference", async () => {
    await drop(on.page, { "mine.py": text.replace("import keras\n", "import keras  # mine\nx = 1\n") });
    await note().getByText("edited", { exact: true }).waitFor();
    await note().getByText("What was changed").click();
    assert.match(await note().locator(".diff .add").allTextContents().then(String), /\+x = 1/);
  });

  test("a file of an early plainnet is stale", async () => {
    const old = readFileSync(join(ROOT, "examples/vendored/nets/unet.py"), "utf8");
    await drop(on.page, { "unet.py": old });
    await note().getByText(/^(edited and )?stale$/).waitFor();
  });

  test("a spec is edited beside its file, with its errors in their lines", async () => {
    const spec = readFileSync(join(ROOT, "examples/thin_slice.toml"), "utf8");
    await on.page.getByLabel("A spec, an emitted file").setInputFiles({
      name: "thin_slice.toml",
      mimeType: "application/toml",
      buffer: Buffer.from(spec),
    });
    await on.page.getByRole("button", { name: "PyTorch", exact: true }).click();
    const expected = emitted("examples/thin_slice.toml", "--target=torch");
    await shows(on.page, expected);
    const field = on.page.getByLabel("spec", { exact: true });
    await field.fill(`nonsense = 1\n${spec}`);
    await on.page.getByText("unknown key 'nonsense'").first().waitFor();
    await on.page.getByText("net.toml:1, nonsense").first().waitFor();
    await field.fill(spec);
    await on.page.getByText("unknown key 'nonsense'").first().waitFor({ state: "detached" });
    await shows(on.page, expected);
    const link = on.page.url();
    assert.match(link, /spec=/);
    await on.page.getByRole("link", { name: "Gallery" }).click();
    await on.page.evaluate((url) => (location.href = url), link);
    await shows(on.page, expected);
  });

  test("plans of nnU-Net wait for their dataset, and ask which configuration", async () => {
    await drop(on.page, { "nnUNetPlans.json": readFileSync(`${PLANS}.plans.json`, "utf8") });
    await note().getByText("there is no dataset.json beside it").first().waitFor();
    await drop(on.page, { "dataset.json": readFileSync(`${PLANS}.dataset.json`, "utf8") });
    await note().getByText("holds networks of nnU-Net").waitFor();
    await note().getByRole("button", { name: "3d_fullres", exact: true }).click();
    await on.page.getByRole("heading", { name: /nnU-Net/ }).waitFor();
    assert.match(await source(on.page), /nnU-Net/);
    await note().getByRole("button", { name: "Close" }).click();
  });

  test("what is no network is an error, and the network stays", async () => {
    const before = await source(on.page);
    await drop(on.page, { "photo.png": "no text" });
    await note().getByRole("alert").getByText("'photo.png' is not a network").waitFor();
    await note().getByRole("button", { name: "Close" }).click();
    assert.equal(await source(on.page), before);
  });
}
