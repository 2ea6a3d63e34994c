"""`verify A.py B.py`: edits in one file and in both, and files that misbehave."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from compiler.commands.cli import main
from compiler.errors import CompileError
from compiler.verify.compare import compile_pair, verify
from compiler.verify.conditioning import sized
from compiler.verify.loading import Source
from compiler.verify.settings import Settings
from tests.test_verify import DECODER, _is_named, _model, _write

BATCH_NORM = {
    "torch": r"nn\.BatchNorm2d\((.+), momentum=0\.1\)",
    "keras": r"BatchNormalization\(.*?, ",
}
INSTANCE_NORM = {
    "torch": r"nn.InstanceNorm2d(\1, affine=True)",
    "keras": "GroupNormalization(groups=-1, ",
}


def _instance_norm(source, target):
    text, count = re.subn(BATCH_NORM[target], INSTANCE_NORM[target], source.text)
    assert count and "BatchNorm" not in text
    return Source(text)


@pytest.mark.parametrize("options", [{}, {"segmentor": "unet", **DECODER}], ids=str)
def test_instance_norm_in_both_files_is_one_network(options):
    model = _model(**options)
    before = compile_pair(model)
    after = tuple(map(_instance_norm, before, ("torch", "keras")))
    report = verify(model, Settings(), after)
    assert report.passed, (report.first, report.why, report.error)
    assert "edited in both files: encoder.bn1" in report.quantities[0].note
    report = verify(model, Settings(), (after[0], before[1]))
    _is_named(report, "encoder.bn1", "encoder.bn1.running_mean is missing in torch")
    report = verify(model, Settings(), (before[0], after[1]))
    _is_named(report, "encoder.bn1", "encoder.bn1.running_mean is missing in keras")


def test_another_epsilon_of_an_instance_norm_is_named():
    model = _model()
    torch_source, keras_source = map(_instance_norm, compile_pair(model), ("torch", "keras"))
    keras_source = Source(keras_source.text.replace("epsilon=1e-5", "epsilon=1e-3"))
    _is_named(verify(model, Settings(), (torch_source, keras_source)), "encoder.bn1", "same input")


def test_an_added_instance_norm_of_one_voxel_is_refused():
    model = sized(_model(), (16, 16))
    files = tuple(map(_instance_norm, compile_pair(model), ("torch", "keras")))
    with pytest.raises(CompileError, match="an instance norm sees 1 pixel"):
        verify(model, Settings(), files)


def test_the_shapes_are_those_of_the_files():
    """Not those of the network that they were emitted from."""
    model = _model(segmentor="unet", encoder_depth=3, decoder_filters=(8, 8, 8))
    files = tuple(
        Source(file.text.replace("(8, 8, 8)", "(8, 4, 6)")) for file in compile_pair(model)
    )
    report = verify(model, Settings(), files)
    assert report.passed, (report.first, report.why, report.error)
    shapes = {q.name: q.shape for q in report.quantities}
    assert [shapes[f"decoder block {i}"][-1] for i in range(3)] == [8, 4, 6]


RENAMED = (
    lambda text: re.sub(r"\bself\.bn2\b", "self.second_norm", text),
    lambda text: text.replace("{name}_bn2", "{name}_second_norm"),
)


def test_a_renamed_layer():
    """Renamed alike in both, it is the same network; in one, the row is named."""
    model = _model()
    before = compile_pair(model)
    after = tuple(Source(rename(file.text)) for rename, file in zip(RENAMED, before))
    assert all(new.text != old.text for new, old in zip(after, before))
    report = verify(model, Settings(), after)
    assert report.passed, (report.first, report.why, report.error)
    assert "edited in both files: encoder.stages.0.0.second_norm" in report.quantities[0].note
    for files in ((after[0], before[1]), (before[0], after[1])):
        report = verify(model, Settings(), files)
        assert not report.passed and not report.error
        assert report.first.startswith("encoder.stages.0.0.") and "bn2" in report.why, report.why


BROKEN = {  # how the torch file is edited, and what the report says
    "NaN weights": (
        lambda text: text.replace("return x * gate", "return x * (gate * float('nan'))"),
        "differs by nan",
    ),
    "syntax error": (lambda text: text.replace("import torch\n", "import torch torch\n"), "Syntax"),
    "no constructor": (
        lambda text: text.replace("class Tiny(", "class Other(").replace('["Tiny"]', "[]"),
        "the torch file defines no Tiny",
    ),
    "relative import": (
        lambda text: text.replace("import torch\n", "from .blocks import conv\nimport torch\n", 1),
        "verify runs each file as a script: import neighbours without the leading dot",
    ),
    "much output": (lambda text: "print('x' * 10**7)\n" + text, ""),
}


@pytest.mark.parametrize("edit", BROKEN)
def test_files_that_misbehave_are_reported(edit, tmp_path, capfd):
    """From a folder that nobody may write to, in which nothing is written."""
    change, words = BROKEN[edit]
    names = _write(tmp_path, _model())
    path = tmp_path / "torch_file.py"
    old = path.read_text()
    path.write_text(change(old))
    assert path.read_text() != old
    tmp_path.chmod(0o555)
    try:
        code = main(["verify", *names, "--size", "17", "--json"])
    finally:
        tmp_path.chmod(0o755)
    out = capfd.readouterr()
    report = json.loads(out.out)
    assert code == (1 if words else 0) and "Traceback" not in out.err
    assert words in f"{report['error']} {report['why']}", report
    assert sorted(os.listdir(tmp_path)) == ["keras_file.py", "torch_file.py"]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_an_interrupted_comparison_leaves_no_process(name, tmp_path):
    """Whichever way it ends: the file's process ends with it, and so does what the file started."""
    names = _write(tmp_path, _model())
    path, pids = tmp_path / "torch_file.py", tmp_path / "pids"
    sleeper = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)'])\n"
        f"open({str(pids)!r} + '.new', 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        f"os.rename({str(pids)!r} + '.new', {str(pids)!r})\n"
        "time.sleep(300)\n"
    )
    path.write_text(sleeper + path.read_text())
    process = subprocess.Popen(
        [sys.executable, "-m", "compiler", "verify", *names], stderr=subprocess.PIPE, text=True
    )
    _wait_for(pids.exists, 60)
    process.send_signal(getattr(signal, name))
    _, errors = process.communicate(timeout=30)
    assert process.returncode != 0 and "Traceback" not in errors
    for pid in map(int, pids.read_text().split()):
        _wait_for(lambda pid=pid: not _runs(pid), 10)


def _wait_for(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def _runs(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = f"/proc/{pid}/stat"  # a zombie has ended, though nobody has asked for its exit code
    return not (os.path.exists(stat) and open(stat).read().rpartition(")")[2].split()[0] == "Z")
