"""Collects what the page runs: the compiler, what it depends on, and Pyodide, in build/public.

    python3 bundle.py    # after `npm ci`; `npm run build` calls it

The compiler's wheel is built from this repository; the wheels of requirements.txt come from PyPI
and are checked by their digests. Together they are python.zip, compiled to bytecode by the very
Python that the browser runs. `catalog.json` holds what the page shows before that Python is there.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

SITE = Path(__file__).resolve().parent
BUILD = SITE / "build"
PYODIDE = SITE / "node_modules" / "pyodide"
RUNTIME = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm")
LEFT_OUT = (".pyi", ".typed", ".c")  # files that say types, and sources of C parts
PYTHON_ONLY = "requirements-python-only.txt"
PLATFORM = {
    "requirements.txt": ["pyemscripten_2026_0_wasm32"],
    PYTHON_ONLY: ["manylinux_2_28_x86_64", "manylinux2014_x86_64"],
}
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")


def main() -> None:
    if not PYODIDE.is_dir():
        raise SystemExit("bundle.py: node_modules is missing; run `npm ci` in site/ first")
    shutil.rmtree(BUILD, ignore_errors=True)
    python, data = BUILD / "python", BUILD / "data"
    data.mkdir(parents=True)
    own = BUILD / "compiler"
    run([*PIP, "wheel", "--no-deps", "--wheel-dir", str(own), str(SITE.parent)])
    unpack(own, python, LEFT_OUT)
    for requirements, platforms in PLATFORM.items():
        wheels = BUILD / requirements.removesuffix(".txt")
        run(download(SITE / requirements, platforms, wheels))
        compiled = (".so",) if requirements == PYTHON_ONLY else ()
        unpack(wheels, python, LEFT_OUT + compiled)
    catalog(python, data)
    runtime(data / "pyodide")
    run(["node", str(SITE / "precompile.mjs"), str(python), str(data / "pyodide")])
    # Its name says its content: a browser that keeps files never mixes those of two builds.
    data.rename(public(data))


def public(folder: Path) -> Path:
    """Where the files of a folder are published."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    place = BUILD / "public" / f"data-{digest.hexdigest()[:12]}"
    place.parent.mkdir()
    return place


def run(command: list[str], **environment: str) -> None:
    subprocess.run(command, check=True, cwd=BUILD, env={**os.environ, **environment})


def download(requirements: Path, platforms: list[str], folder: Path) -> list[str]:
    """The command that puts the wheels into the folder."""
    # A constraint without a digest is refused beside requirements that have one.
    os.environ.pop("PIP_CONSTRAINT", None)
    command = [*PIP, "download", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    command += ["--implementation", "cp", "--python-version", "3.14", "--abi", "cp314"]
    command += ["--abi", "none", *(f"--platform={platform}" for platform in platforms)]
    return [*command, "--dest", str(folder), "-r", str(requirements)]


def unpack(wheels: Path, folder: Path, without: tuple[str, ...]) -> None:
    """The files of every wheel, but for those with these suffixes."""
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if Path(name).suffix not in without]
            archive.extractall(folder, names)


def runtime(folder: Path) -> None:
    """Pyodide without its list of packages, none of which is installed here."""
    folder.mkdir()
    for name in RUNTIME:
        shutil.copy(PYODIDE / name, folder / name)
    lock = json.loads((PYODIDE / "pyodide-lock.json").read_text())
    (folder / "pyodide-lock.json").write_text(json.dumps({"info": lock["info"], "packages": {}}))


def catalog(python: Path, folder: Path) -> None:
    """What the page shows first, from the compiler in the bundle."""
    program = "import pathlib, sys, compiler.page.gallery as g; g.write(pathlib.Path(sys.argv[1]))"
    environment = {"PYTHONPATH": str(python), "PYTHONDONTWRITEBYTECODE": "1"}
    run([sys.executable, "-c", program, str(folder)], **environment)


if __name__ == "__main__":
    main()
