// node precompile.mjs FOLDER ZIP: the Python files of a folder with their bytecode, as one archive.
// The Python of Pyodide compiles them, since bytecode is of one version of Python only.
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { loadPyodide } from "pyodide";

const [folder, archive] = process.argv.slice(2);
const pyodide = await loadPyodide();
for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
  if (!entry.isFile()) continue;
  const path = join(entry.parentPath, entry.name);
  const there = `/bundle/${relative(folder, path)}`;
  pyodide.FS.mkdirTree(dirname(there));
  pyodide.FS.writeFile(there, new Uint8Array(readFileSync(path)));
}
pyodide.runPython(`
import compileall, py_compile, shutil
# Nobody edits these files: Python need not look whether the source has changed.
mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
# /lib/... is where the worker unpacks them, as tracebacks name it.
assert compileall.compile_dir("/bundle", quiet=1, invalidation_mode=mode)
shutil.make_archive("/python", "zip", "/bundle")
`);
writeFileSync(archive, pyodide.FS.readFile("/python.zip"));
