// Screenshots for the documentation: each view, in light and in the dark.
import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { UNET, go, python, source } from "./browser.mjs";

const RESNET = "model=resnet50&dims=3&segmentor=unet";
const VIEWS = {
  network: { panel: "drawing" },
  targets: { panel: "ledger", show: "both" },
  compare: { panel: "compare", with: RESNET },
};

// A page has few colors: a palette of them is a third of the size.
const SMALLER = `
import pathlib, sys
from PIL import Image
for path in pathlib.Path(sys.argv[1]).glob("*.png"):
    image = Image.open(path).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    image.save(path, optimize=True)
`;

export function pictures(on, folder) {
  test("pictures", async () => {
    mkdirSync(folder, { recursive: true });
    await on.page.setViewportSize({ width: 1280, height: 800 });
    for (const colorScheme of ["light", "dark"]) {
      await on.page.emulateMedia({ colorScheme });
      const take = async (name) => {
        await on.page.evaluate(() => scrollTo(0, 0));
        await on.page.screenshot({ path: join(folder, `${name}_${colorScheme}.png`) });
      };
      await on.page.getByRole("link", { name: "Gallery" }).click();
      await on.page.locator(".card img").first().waitFor();
      await on.page.waitForLoadState("networkidle");
      await take("gallery");
      for (const [name, view] of Object.entries(VIEWS)) {
        await go(on.page, UNET, "torch", view);
        await source(on.page, view.show ? "Keras" : "PyTorch");
        if (name === "compare") await on.page.locator(".diff .add").first().waitFor();
        if (name === "network") await on.page.locator(".drawing svg").waitFor();
        const line = on.page.locator(".line", { hasText: "self.conv2 = nn.Conv3d(width" });
        if (name === "targets") await line.click();
        await take(name);
      }
    }
    await on.page.setViewportSize({ width: 390, height: 844 });
    await go(on.page, UNET, "torch");
    await source(on.page);
    await on.page.evaluate(() => scrollTo(0, 0));
    await on.page.screenshot({ path: join(folder, "phone_dark.png") });
    await on.page.setViewportSize({ width: 1440, height: 900 });
    await on.page.emulateMedia({ colorScheme: "light" });
    python("-c", SMALLER, resolve(folder));
  });
}
