// One network: form, errors, source, marks, comparison and address.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { UNET, emitted, field, go, python, shows, source } from "./browser.mjs";

export function network(on) {
  test("the form changes the file", async () => {
    await go(on.page, { model: "resnet18", options: {} }, "torch");
    await on.page.getByLabel("encoder", { exact: true }).selectOption("resnet34");
    await on.page.getByLabel("segmentor", { exact: true }).selectOption("fpn");
    await on.page.getByLabel("dims", { exact: true }).selectOption("3");
    await on.page.getByLabel("in channels", { exact: true }).fill("2");
    await on.page.getByLabel("encoder depth", { exact: true }).selectOption("4");
    await on.page.getByText("More options").click();
    await on.page.getByLabel("norm", { exact: true }).selectOption("instance");
    await on.page.getByLabel("include rescaling", { exact: true }).check();
    await on.page.getByRole("button", { name: "Keras", exact: true }).click();
    const words = ["--segmentor=fpn", "--dims=3", "--in-channels=2", "--encoder-depth=4"];
    words.push("--norm=instance", "--include-rescaling", "--target=keras");
    await shows(on.page, emitted("resnet34", ...words), "Keras");
  });

  test("an option of another segmentor goes with it", async () => {
    await on.page.getByLabel("encoder depth", { exact: true }).selectOption("");
    await on.page.getByLabel("pyramid channels", { exact: true }).fill("64");
    await on.page.getByLabel("segmentor", { exact: true }).selectOption("unet");
    const words = ["--segmentor=unet", "--dims=3", "--in-channels=2", "--norm=instance"];
    await shows(
      on.page,
      emitted("resnet34", ...words, "--include-rescaling", "--target=keras"),
      "Keras",
    );
    assert.equal(await on.page.getByLabel("pyramid channels", { exact: true }).count(), 0);
  });

  test("an error stands beside its field, in the compiler's words", async () => {
    await on.page.getByLabel("in channels", { exact: true }).fill("many");
    const told = field(on.page, "in_channels").getByRole("alert");
    await told.waitFor();
    const said = python("-c", "import compiler\ntry: compiler.emit('resnet34', target='torch', in_channels='many')\nexcept compiler.CompileError as e: print(e.problems[0].message)");
    assert.equal(await told.textContent(), said.trim());
    assert.equal(await on.page.getByLabel("in channels", { exact: true }).getAttribute("aria-invalid"), "true");
    assert.equal(await on.page.getByRole("button", { name: "Download", exact: true }).isEnabled(), false);
    await on.page.getByLabel("in channels", { exact: true }).fill("3");
    await told.waitFor({ state: "detached" });
  });

  test("what one target lacks is said at its file alone", async () => {
    await go(on.page, { model: "resnet18", options: { checkpointing: true } }, "torch", { show: "both" });
    assert.match(await source(on.page), /checkpoint/);
    const told = on.page.getByRole("region", { name: "Keras source" }).getByRole("alert");
    assert.match(await told.textContent(), /--checkpointing is not available in Keras/);
  });

  test("copy, download, command and call give the same file", async () => {
    await go(on.page, UNET, "torch");
    const text = emitted("seresnext50", "--dims=3", "--segmentor=unet", "--target=torch");
    await shows(on.page, text);
    const pane = on.page.getByRole("region", { name: "PyTorch source" });
    await pane.getByRole("button", { name: "Copy" }).first().click();
    await pane.getByRole("button", { name: "Copied" }).waitFor();
    assert.equal(await on.page.evaluate(() => navigator.clipboard.readText()), text);
    const [saved] = await Promise.all([
      on.page.waitForEvent("download"),
      pane.getByRole("button", { name: "Download" }).click(),
    ]);
    assert.equal(saved.suggestedFilename(), "seresnext50_unet_3d.py");
    assert.equal(readFileSync(await saved.path(), "utf8"), text);
    const command = await pane.locator(".command").textContent();
    assert.equal(emitted(...command.split(/\s+/).slice(2)), text);
    await pane.getByRole("button", { name: "Python" }).click();
    const call = await pane.locator(".call").textContent();
    assert.equal(python("-c", `${call}\nprint(source, end="")`), text);
  });

  test("pointing at a step marks its lines, its rows and its boxes", async () => {
    await go(on.page, UNET, "torch", { show: "both", panel: "ledger" });
    await source(on.page, "Keras");
    const marked = (where) => on.page.locator(`${where} .marked`).allTextContents();
    const torch = '[aria-label="PyTorch source"]';
    const keras = '[aria-label="Keras source"]';
    await on.page.locator(`${torch} .line`, { hasText: "self.conv2 = nn.Conv3d(width" }).hover();
    assert.match((await marked(torch)).join(""), /self\.bn2\(self\.conv2\(x\)\)/);
    assert.deepEqual((await marked(keras)).map((line) => line.trim()), [
      'x = conv(x, width, 3, stride=stride, groups=GROUPS, name=f"{name}_conv2")',
    ]);
    const rows = await on.page.locator(".ledger tr.marked td:first-child").allTextContents();
    assert.equal(rows.length, 3 + 4 + 6 + 3);
    assert.ok(rows.every((path) => /^encoder\.stages\.\d+\.\d+\.conv2$/.test(path)));
    // The other way round: a row marks the lines of its layer.
    await on.page.locator(".ledger tr", { hasText: "decoder.blocks.2.conv1" }).hover();
    assert.match((await marked(keras)).join(""), /x = conv\(x, filters, 3, name=f"\{name\}_conv1"\)/);
    await on.page.getByRole("tab", { name: "Drawing" }).click();
    await on.page.locator(`${keras} .line`, { hasText: "stage 2" }).hover();
    const boxes = on.page.locator(".drawing g.box.marked");
    assert.deepEqual(
      await boxes.evaluateAll((all) => all.map((box) => box.dataset.path)),
      ["encoder.stages.2"],
    );
    await on.page.locator('.drawing g.box[data-path="encoder.stages.1"]').hover();
    assert.match((await marked(torch)).join(""), /stage 1 .*\n.*\(4, 256, 512, 2\)/);
  });

  test("the panels follow the form", async () => {
    await go(on.page, UNET, "torch", { panel: "steps" });
    await on.page.getByRole("cell", { name: "55,453,441" }).waitFor();
    await on.page.getByLabel("in channels", { exact: true }).fill("1");
    await on.page.getByRole("cell", { name: "55,387,585" }).waitFor();
    await on.page.getByRole("tab", { name: "Spec" }).click();
    await on.page.locator(".spec", { hasText: "in_channels = 1" }).waitFor();
  });

  test("a drawing is enlarged, and downloaded", async () => {
    await go(on.page, UNET, "torch");
    const svg = on.page.locator(".drawing svg");
    const small = (await svg.boundingBox()).width;
    await on.page.getByRole("button", { name: "Full size" }).click();
    assert.ok((await svg.boundingBox()).width > small);
    const [saved] = await Promise.all([
      on.page.waitForEvent("download"),
      on.page.getByRole("button", { name: "Download the drawing" }).click(),
    ]);
    assert.equal(saved.suggestedFilename(), "seresnext50_unet_3d.svg");
    const drawn = python("-m", "compiler", "draw", "seresnext50", "--segmentor=unet", "--dims=3", "-o-");
    assert.equal(readFileSync(await saved.path(), "utf8"), drawn);
  });

  test("the cost follows the form and its settings", async () => {
    await go(on.page, UNET, "torch", { panel: "cost" });
    const words = "compiler.cost('seresnext50', dims=3, segmentor='unet'";
    const said = (more) => python("-c", `import compiler; print(f"{${words}${more}).training:,}")`).trim();
    await on.page.getByTitle(said("")).first().waitFor();
    await on.page.getByLabel("batch", { exact: true }).fill("3");
    await on.page.getByLabel("precision", { exact: true }).selectOption("bf16");
    await on.page.getByTitle(said(", batch=3, precision='bf16'")).first().waitFor();
    await on.page.getByLabel("batch", { exact: true }).fill("none");
    await field(on.page, "batch").getByText("--batch has 'none', which is not a whole number").waitFor();
    await on.page.getByLabel("batch", { exact: true }).fill("3");
    const link = on.page.url();
    assert.match(link, /run\.precision=bf16/);
  });

  test("the advice is that of lint", async () => {
    await go(on.page, UNET, "torch", { panel: "advice" });
    await on.page.getByLabel("input shape", { exact: true }).fill("32,32,32,1");
    const call = "compiler.lint('seresnext50', dims=3, segmentor='unet', input_shape='32,32,32,1')";
    const notes = python("-c", `import compiler, json; print(json.dumps([note.message for note in ${call}]))`);
    for (const message of JSON.parse(notes)) {
      await on.page.locator(".notes li", { hasText: message }).waitFor();
    }
    await on.page.getByText("Warning", { exact: true }).first().waitFor();
  });

  test("the plan says what fits into a memory", async () => {
    await go(on.page, UNET, "torch", { panel: "plan" });
    await on.page.getByLabel("memory", { exact: true }).fill("8GiB");
    await on.page.getByLabel("shape", { exact: true }).fill("128,160,160");
    const program = `import compiler
fits = compiler.plan("seresnext50", dims=3, segmentor="unet", memory="8GiB", shape="128,160,160")
fit = fits.training[0]
print(*(f"{choice.total:,}" for choice in (fit.largest, fit.next) if choice))`;
    for (const total of python("-c", program).trim().split(" ")) {
      await on.page.getByTitle(total).first().waitFor();
    }
    await on.page.getByLabel("memory", { exact: true }).fill("much");
    await field(on.page, "memory").getByText("--memory is 'much'").waitFor();
  });

  test("a second network is compared, and the address holds both", async () => {
    await go(on.page, UNET, "torch");
    await shows(on.page, emitted("seresnext50", "--dims=3", "--segmentor=unet", "--target=torch"));
    await on.page.getByRole("button", { name: "Compare with another" }).click();
    await on.page.getByText("The two files are the same.").waitFor();
    await on.page.getByLabel("encoder", { exact: true }).selectOption("resnet50");
    await on.page.locator(".diff .add", { hasText: '+"""ResNet-50 UNet, 3D, PyTorch.' }).waitFor();
    await shows(on.page, emitted("resnet50", "--dims=3", "--segmentor=unet", "--target=torch"));
    await on.page.getByRole("tab", { name: "Drawing" }).click();
    await on.page.locator('svg[aria-label*=" beside "]').waitFor();
    await on.page.getByRole("button", { name: "A", exact: true }).click();
    await shows(on.page, emitted("seresnext50", "--dims=3", "--segmentor=unet", "--target=torch"));
    const link = on.page.url();
    await go(on.page, { model: "resnet18", options: {} }, "torch");
    await on.page.goto(link);
    await on.page.locator('svg[aria-label*=" beside "]').waitFor();
    await on.page.getByRole("button", { name: "Stop comparing" }).click();
    await on.page.getByRole("button", { name: "Compare with another" }).waitFor();
  });
}
