"""Where people run it: the example's history, the pre-commit hook, and the GitHub Action."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import compiler
from compiler.provenance import read
from compiler.vendoring.bases import FOLDER, find, keep

from .vendored import LAUNCH, ROOT, VERSIONS, compiler_with, run

EXAMPLE = ROOT / "examples" / "vendored"
HOOKS = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
MINE = "STEM_CHANNELS = 64", "STEM_CHANNELS = 48"


def test_the_history_of_the_example(tmp_path, monkeypatch, capsys):
    """Emit, edit, another compiler, update: each step as its README has it."""
    shutil.copytree(EXAMPLE, tmp_path / "example")
    monkeypatch.chdir(tmp_path / "example")
    edited, path = Path("nets/unet.py").read_text(), Path("nets/unet.py")
    edits = Path("edits.diff").read_text()
    path.unlink()
    shutil.rmtree(f"nets/{FOLDER}")
    with compiler_with("first"):
        assert run("sync") == 0 and run("sync --check") == 0
        patch = subprocess.run(
            ["git", "apply", "edits.diff", "-p0"], capture_output=True, text=True
        )
        assert patch.returncode == 0, patch.stderr
        licence = "# Copyright 2026 The Segmentation Team\n\n"
        path.write_text(licence + path.read_text())
        assert run("check nets") == 1 and run("check --allow-edits nets") == 0
        capsys.readouterr()
        assert run("diff nets/unet.py") == 1 and capsys.readouterr().out == edits
    with compiler_with("second"):
        assert run("check --allow-edits nets") == 1 and run("sync --check") == 1
        assert run("sync") == 0 and run("sync --check") == 0
        merged = path.read_text()
        assert merged.startswith(licence) and ") -> None:" in merged
        capsys.readouterr()
        assert run("diff nets/unet.py") == 1
        assert [line for line in capsys.readouterr().out.splitlines() if line[:1] in "+-"] == [
            line for line in edits.splitlines() if line[:1] in "+-"
        ]
    # The committed file is that of the first part, with its base, whatever the compiler is now.
    base = find(EXAMPLE / "nets/unet.py", read(edited).text_digest)
    assert base is not None
    assert run(f"diff {EXAMPLE}/nets/unet.py") == 1
    shown = capsys.readouterr().out.splitlines()[2:]
    assert shown == edits.splitlines()[2:]


def test_the_committed_example_can_be_updated(tmp_path, monkeypatch):
    """With this compiler; where that changes the edited lines, refresh the example."""
    shutil.copytree(EXAMPLE, tmp_path / "example")
    monkeypatch.chdir(tmp_path / "example")
    text = (EXAMPLE / "README.md").read_text()
    lines = text.partition("```sh\n")[2].partition("```")[0].splitlines()
    codes = [run(line.partition("#")[0].removeprefix("plainnet ")) for line in lines]
    assert codes == [1, 1, 1, 0, 0, 0, 0]
    namespace: dict = {}
    exec(Path("nets/unet.py").read_text(), namespace)
    network = namespace["SEResNet18UNet"]()
    assert network.decoder.dropout.p == 0.2 and network.head.out_channels == 3


# --- in a repository ----------------------------------------------------------------------------

SCRIPT = "import os, sys\nsys.argv.insert(1, os.environ['VERSION'])\n"


class Repository:
    """A git repository of somebody, with a `plainnet` of the version that is asked for."""

    def __init__(self, folder: Path):
        self.folder = folder / "repository"
        self.folder.mkdir()
        (folder / "bin").mkdir()
        script = folder / "bin" / "plainnet"
        script.write_text(f"#!{sys.executable}\n{SCRIPT}{LAUNCH}")
        script.chmod(0o755)
        programs = [folder / "bin", Path(sys.executable).parent]
        own = {k: v for k, v in os.environ.items() if not k.startswith(("GIT_", "PRE_COMMIT"))}
        names = {f"GIT_{who}_{what}": "me" for who in ("AUTHOR", "COMMITTER") for what in ("NAME",)}
        mails = {f"GIT_{who}_EMAIL": "me@example.org" for who in ("AUTHOR", "COMMITTER")}
        self.environment = {
            **own,
            **names,
            **mails,
            "PYTHONPATH": str(ROOT),
            "PATH": os.pathsep.join([*map(str, programs), own["PATH"]]),
            "PRE_COMMIT_HOME": str(folder / "cache"),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "HOME": str(folder),
        }
        self("git init -q -b main", "first")

    def __call__(self, line: str, version: str, **environment) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-e", "-c", line],
            cwd=self.folder,
            env={**self.environment, "VERSION": str(VERSIONS / version), **environment},
            capture_output=True,
            text=True,
        )

    def succeeds(self, line: str, version: str = "first", **environment) -> str:
        done = self(line, version, **environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def repository(tmp_path) -> Repository:
    made = Repository(tmp_path)
    with compiler_with("first"):
        text = compiler.emit("seresnet18", target="torch")
    (made.folder / "nets").mkdir()
    path = made.folder / "nets" / "net.py"
    path.write_text(text.replace(*MINE))
    keep(path, text)
    (made.folder / "own.py").write_text("x = 1\n")
    return made


def test_the_hook_runs_before_a_commit(tmp_path, repository):
    """pre-commit itself, on our manifest, but with the `plainnet` that is installed here."""
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    manifest = [{**hook, "language": "system"} for hook in HOOKS]
    (hooks / ".pre-commit-hooks.yaml").write_text(yaml.safe_dump(manifest))
    commit = "git -c init.defaultBranch=main init -q && git add . && git commit -q -m hooks"
    repository.succeeds(f"cd {hooks} && {commit}")
    config = yaml.safe_load((ROOT / "examples/ci/pre-commit-config.yaml").read_text())
    (used,) = config["repos"]
    used["repo"], used["rev"] = str(hooks), repository.succeeds(f"git -C {hooks} rev-parse HEAD")
    used["rev"] = used["rev"].strip()
    (repository.folder / ".pre-commit-config.yaml").write_text(yaml.safe_dump(config))
    (repository.folder / "pyproject.toml").write_text(
        "[tool.plainnet]\nallow-edits = true\nnetworks = "
        "[{file = 'nets/net.py', model = 'seresnet18', target = 'torch'}]\n"
    )
    repository.succeeds("pre-commit install && git add .")
    repository.succeeds("git commit -m edited", "first")
    path = repository.folder / "nets" / "net.py"
    path.write_text(path.read_text().replace("48", "40"))
    stopped = repository("git commit -am more", "second")  # somebody has upgraded plainnet
    assert stopped.returncode == 1
    said = stopped.stdout + stopped.stderr
    assert said.count("Failed") == 2 and "edited and stale  nets/net.py" in said
    repository.succeeds("plainnet update nets/net.py && git commit -qam updated", "second")
    assert "updated" in repository.succeeds("git log --oneline")


@pytest.mark.full
def test_the_hook_installs_itself(repository):
    """The manifest as it is: pre-commit builds the wheel and an environment for it."""
    repository.succeeds("git add . && git commit -qm edited")
    line = f"pre-commit try-repo {ROOT} plainnet-check --files nets/net.py own.py"
    done = repository(line, "first", PYTHONPATH="")
    # This compiler emits something else than the first one, and says so.
    assert done.returncode == 1 and "edited and stale  nets/net.py" in done.stdout, done


def action(inputs: dict[str, str]) -> list[tuple[str, dict[str, str]]]:
    """The steps of the action for these inputs: what each runs, and its environment."""
    values = {name: str(row.get("default", "")) for name, row in ACTION["inputs"].items()} | inputs
    steps = []
    for step in ACTION["runs"]["steps"]:
        if "run" not in step:
            continue
        assert step["shell"] == "bash"
        condition = step.get("if", "")
        if condition and values[condition.split("inputs.")[1].split(" ")[0]] != "true":
            continue
        environment = {}
        for name, value in step.get("env", {}).items():
            expression = value.removeprefix("${{ ").removesuffix(" }}")
            first, _, rest = expression.removeprefix("inputs.").partition(" || ")
            assert not rest or rest == "github.action_path"
            environment[name] = values[first] or str(ROOT)
        steps.append((step["run"], environment))
    return steps


def test_the_steps_of_the_action(repository):
    assert ACTION["runs"]["using"] == "composite"
    assert [name for name, row in ACTION["inputs"].items() if row.get("required")] == ["paths"]
    install, _ = action({"paths": "nets"})
    assert install == ('pip install --quiet "$PLAINNET"', {"PLAINNET": str(ROOT)})

    def ends(version: str, **inputs: str) -> tuple[int, str]:
        steps = action({"paths": "nets nets/net.py", **inputs})[1:]
        done = [repository(line, version, **environment) for line, environment in steps]
        return max(step.returncode for step in done), "".join(step.stdout for step in done)

    code, said = ends("first")
    assert code == 1 and "\n::error file=nets/net.py,line=" in said and "\n+STEM" in said
    code, said = ends("first", **{"allow-edits": "true"})
    assert code == 0 and "\n::notice file=nets/net.py" in said
    code, said = ends("second", **{"allow-edits": "true"})
    assert code == 1 and "\n::error file=nets/net.py" in said
    code, _ = ends("first", **{"allow-edits": "true", "sync": "true"})
    assert code == 2  # there is no project
