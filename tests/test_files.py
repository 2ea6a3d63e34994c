"""Writing, where a subprocess could not be made to fail on the spot."""

from __future__ import annotations

import os
import subprocess

import pytest

import compiler
from compiler.errors import CompileError
from compiler.files import may_write, write
from compiler.provenance import parse_command, read

FULL = OSError(28, "No space left on device")


@pytest.mark.parametrize("function", ["fsync", "chmod", "replace"])
@pytest.mark.parametrize("error", [FULL, KeyboardInterrupt(), MemoryError()], ids=repr)
@pytest.mark.parametrize("before", [{}, {"net.py": "old"}], ids=["new", "old"])
def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path, monkeypatch, function, error, before
):
    def fail(*_arguments, **_keywords):
        raise error

    for name, text in before.items():
        (tmp_path / name).write_text(text)
    with monkeypatch.context() as patch:
        patch.setattr(os, function, fail)
        with pytest.raises(CompileError if error is FULL else type(error)) as caught:
            write(tmp_path / "net.py", "new")
    if error is FULL:
        assert str(caught.value).startswith("error: cannot write: No space left on device\n")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before
    write(tmp_path / "net.py", "new")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"net.py": "new"}


def test_a_reader_of_the_old_file_is_not_disturbed(tmp_path):
    path = tmp_path / "net.py"
    path.write_text("old")
    with open(path) as reader:
        write(path, "new")
        assert reader.read() == "old"
    assert path.read_text() == "new"


def test_a_new_file_has_the_mode_that_the_umask_leaves(tmp_path):
    before = os.umask(0o027)
    try:
        write(tmp_path / "net.py", "")
    finally:
        os.umask(before)
    assert (tmp_path / "net.py").stat().st_mode & 0o777 == 0o640


def test_line_ends_are_those_of_unix(tmp_path):
    write(tmp_path / "net.py", "a\nb\n")
    assert (tmp_path / "net.py").read_bytes() == b"a\nb\n"


def test_a_pipe_is_written_to_and_stays(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    assert may_write(path, force=False) == []
    write(path, "new")
    assert os.read(reader, 10) == b"new"
    os.close(reader)
    assert path.is_fifo()


def test_every_option_survives_the_provenance():
    """The longest command is broken over lines, and read back whole."""
    options = {
        "dims": 3,
        "input_shape": (123, 124, 125, 126),
        "num_classes": 12345,
        "classifier_activation": "softmax",
        "include_rescaling": True,
        "se_ratio": 17,
        "se_activation": "hard_swish",
    }
    for name in ("seresnext101_64x4d", "seresnet18"):
        text = compiler.emit(name, target="torch", **options)
        assert max(map(len, text.splitlines())) <= 100
        provenance = read(text)
        assert provenance is not None and provenance.untouched
        assert provenance.command.count("\n") >= 1
        request = parse_command(provenance.command)
        assert (request.name, request.target) == (name, "torch")
        assert compiler.emit(request.name, target=request.target, **request.options) == text


def test_a_wrapped_command_is_what_a_shell_reads():
    """A person copies the lines into a shell: no comment mark, no word lost."""
    text = compiler.emit(
        "seresnext101_64x4d", target="torch", se_activation="hard_swish", num_classes=12345, dims=3
    )
    provenance = read(text)
    assert provenance is not None and "\\\n" in provenance.command
    words = subprocess.run(
        ["sh", "-c", provenance.command.replace("python", "printf '%s\\n'", 1)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert " ".join(words) == (
        "-m compiler emit seresnext101_64x4d --target torch --dims 3 --num-classes 12345"
        " --se-activation hard_swish"
    )
