"""The workflow in `examples/ci`: its steps, run in order in a repository like a user's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

import compiler

from .harness import tiny
from .test_vendored_example import action

ROOT = Path(__file__).parent.parent
WORKFLOW = yaml.safe_load((ROOT / "examples" / "ci" / "networks.yml").read_text())
STEPS = [step for step in WORKFLOW["jobs"]["networks"]["steps"] if "run" in step]
(CHECK,) = (
    step
    for step in WORKFLOW["jobs"]["networks"]["steps"]
    if step.get("uses", "").startswith("OWNER/plainnet@")
)
INSTALLS = [step for step in STEPS if step["run"].startswith("pip install ")]


def test_the_steps_run_in_order(tmp_path):
    """All but the installations, word for word, on a small network under the same names."""
    assert len(INSTALLS) == 2 and len(STEPS) == 3
    (tmp_path / "nets").mkdir()
    (tmp_path / "compiler.py").write_text("raise SystemExit(0)\n")  # somebody else's
    options = {"segmentor": "unet", "encoder_depth": 3, "input_shape": (32, 32, 32, 1)}
    for end, target in (("", "torch"), ("_keras", "keras")):
        text = compiler.emit(tiny(), target=target, decoder_filters=(16, 8, 8), **options)
        (tmp_path / "nets" / f"seresnext50_unet_3d{end}.py").write_text(text)
    script = tmp_path / "bin" / "plainnet"
    script.parent.mkdir()
    entry = "import sys\nfrom plainnet.__main__ import run\nsys.exit(run())\n"
    script.write_text(f"#!{sys.executable}\n{entry}")
    script.chmod(0o755)
    path = f"{script.parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, **WORKFLOW["env"], "PYTHONPATH": str(ROOT), "PATH": path}

    def run(step) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-e", "-c", step["run"]],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )

    (verify,) = (step for step in STEPS if step not in INSTALLS)
    assert CHECK["with"]["plainnet"] == "${{ env.PLAINNET }}"
    _, (line, inputs) = action(CHECK["with"])
    check = {"run": line}
    environment |= inputs
    for step in (check, verify):
        done = run(step)
        assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == ""  # the JSON goes into the artifact
    (upload,) = (
        step["with"]["path"]
        for step in WORKFLOW["jobs"]["networks"]["steps"]
        if step.get("uses", "").startswith("actions/upload-artifact")
    )
    assert json.loads((tmp_path / upload).read_text())
    with open(tmp_path / "nets" / "seresnext50_unet_3d.py", "a") as file:
        file.write("x = 1\n")
    assert run(check).returncode == 1


def test_constraints_and_the_test_extra_agree():
    pins = dict(
        line.lower().replace("_", "-").split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    exact = [line for line in project["optional-dependencies"]["test"] if "==" in line]
    assert {"torch", "black", "keras"} <= {line.split("==")[0] for line in exact}
    assert [line for line in exact if pins.get(line.split("==")[0]) != line.split("==")[1]] == []
    users = ("torch", "keras", "weights", "examples")
    published = [*project["dependencies"]]
    for user in users:
        published += project["optional-dependencies"][user]
    assert not [line for line in published if "==" in line]
