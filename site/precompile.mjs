// node precompile.mjs FOLDER OUT: the Python files of a folder, in OUT/python.zip, and the standard
// library, in OUT/python_stdlib.zip, both with the bytecode of what the page imports. The Python of
// Pyodide makes it, since bytecode is of one version of Python only. Without it, the page would
// compile some 300 modules at every start.
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { loadPyodide } from "pyodide";

const [folder, out] = process.argv.slice(2);
const runtime = dirname(fileURLToPath(import.meta.resolve("pyodide")));
const pyodide = await loadPyodide();
const bytes = (path) => new Uint8Array(readFileSync(path));

function put(path, there) {
  pyodide.FS.mkdirTree(dirname(there));
  pyodide.FS.writeFile(there, bytes(path));
}

for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
  if (!entry.isFile()) continue;
  const path = join(entry.parentPath, entry.name);
  put(path, `/python/${relative(folder, path)}`);
}
put(join(runtime, "python_stdlib.zip"), "/python_stdlib.zip");
pyodide.runPython(`
import json, pathlib, py_compile, shutil, sys

shutil.unpack_archive("/python_stdlib.zip", "/python_stdlib")
sys.path.insert(0, "/python")
from compiler.page.answers import answer

def ask(question, **more):
    return json.loads(answer(json.dumps({"ask": question, **more})))["answer"]

network = {"model": "resnet18", "options": {"segmentor": "unet"}}
for target in ("torch", "keras"):
    text = ask("source", network=network, target=target)["text"]
    ask("dropped", files={"net.py": text + "# edited\\n"})
ask("dropped", files={"net.toml": ask("spec", network=network)["text"]})
ask("compare", network=network, other=network, target="torch")
ask("network", network=network)
ask("drawing", networks=[network])
ask("cost", network=network)
ask("plan", network=network)

# Only what the page imports is worth its bytecode, which is larger than its source.
names = {name: module for name, module in sys.modules.items() if hasattr(module, "__file__")}
mode = py_compile.PycInvalidationMode.UNCHECKED_HASH  # nobody edits these files
for folder in ("/python", "/python_stdlib"):
    for source in pathlib.Path(folder).rglob("*.py"):
        parts = source.relative_to(folder).with_suffix("").parts
        if ".".join(parts[:-1] if parts[-1] == "__init__" else parts) in names:
            options = {"dfile": str(source.relative_to("/")), "doraise": True}
            py_compile.compile(source, source.with_suffix(".pyc"), invalidation_mode=mode, **options)
            source.unlink()
    for cache in [*pathlib.Path(folder).rglob("__pycache__")]:
        shutil.rmtree(cache)
    shutil.make_archive(folder, "zip", folder)
`);
for (const name of ["python.zip", "python_stdlib.zip"]) {
  writeFileSync(join(out, name), pyodide.FS.readFile(`/${name}`));
}
