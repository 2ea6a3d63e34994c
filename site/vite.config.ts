import { createHash } from "node:crypto";
import { readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { defineConfig, type Plugin } from "vite";

const SITE = import.meta.dirname;
const PUBLIC = join(SITE, "build/public");
const DIST = join(SITE, "dist");

/** Every file of a folder, as paths of a URL. */
function files(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)).replaceAll("\\", "/"))
    .sort();
}

/** Writes the list of all files into the service worker, which keeps them for offline use. */
function offline(): Plugin {
  return {
    name: "offline",
    apply: "build",
    closeBundle() {
      const kept = files(DIST).filter((name) => name !== "sw.js");
      const digest = createHash("sha256");
      for (const name of kept) digest.update(name).update(readFileSync(join(DIST, name)));
      const path = join(DIST, "sw.js");
      const list = `const FILES = ${JSON.stringify(kept)};\n`;
      const version = `const VERSION = "${digest.digest("hex").slice(0, 16)}";\n`;
      const text = list + version + readFileSync(path, "utf8");
      writeFileSync(path, text);
    },
  };
}

const data = readdirSync(PUBLIC).find((name) => name.startsWith("data-")) ?? "";
const downloads = files(PUBLIC).filter((name) => name.startsWith(`${data}/pyodide/`));
const bytes = Object.fromEntries(downloads.map((name) => [name, statSync(join(PUBLIC, name)).size]));

export default defineConfig({
  base: "./",
  publicDir: PUBLIC,
  define: { __DATA__: JSON.stringify(data), __DOWNLOADS__: JSON.stringify(bytes) },
  worker: { format: "es" },
  build: {
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: {
      input: { index: join(SITE, "index.html"), sw: join(SITE, "src/sw.ts") },
      output: {
        entryFileNames: (chunk) => (chunk.name === "sw" ? "sw.js" : "assets/[name]-[hash].js"),
      },
    },
  },
  plugins: [offline()],
});
