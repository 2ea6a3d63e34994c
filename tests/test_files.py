"""Writing, where a subprocess could not be made to fail on the spot."""

from __future__ import annotations

import fcntl
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

import compiler
from compiler.errors import CompileError
from compiler.files import may_write, replacing, write
from compiler.provenance import parse_command, read

ROOT = Path(__file__).parent.parent
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


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_regular_file_is_refused_and_stays(tmp_path, kind):
    path = Path("/dev/null")
    if kind == "pipe":
        path = tmp_path / "pipe"
        os.mkfifo(path)
    message = f"{str(path)!r} is not a regular file"
    assert [problem.message for problem in may_write(path, "", force=True)] == [message]
    with pytest.raises(CompileError, match="not a regular file"):  # at once: nobody reads the pipe
        write(path, "new")
    assert path.exists() and not path.is_file()


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
        ["sh", "-c", provenance.command.replace("plainnet", "printf '%s\\n'", 1)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert " ".join(words) == (
        "emit seresnext101_64x4d --target torch --dims 3 --num-classes 12345"
        " --se-activation hard_swish"
    )


# --- several processes, killed ones, planted links ----------------------------------------------

HAMMER = """
import sys, time
from pathlib import Path
from compiler.files import write
path, letter, end = Path(sys.argv[1]), sys.argv[2], time.monotonic() + float(sys.argv[3])
print(flush=True)
while time.monotonic() < end:
    write(path, letter * 200_000)
"""


def _hammer(path, letter: str, seconds: float) -> subprocess.Popen:
    command = [sys.executable, "-c", HAMMER, str(path), letter, str(seconds)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()  # it is about to write
    return process


def _leftovers(folder) -> list[str]:
    return [name for name in os.listdir(folder) if name != "net.py"]


def test_several_processes_write_one_file(tmp_path):
    """No reader sees a mixture, no writer fails, nobody deletes what another is writing."""
    path = tmp_path / "net.py"
    write(path, "start")
    writers = [_hammer(path, letter, 2.0) for letter in "abc"]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        text = path.read_text()
        assert text == "start" or (len(text) == 200_000 and len(set(text)) == 1)
        seen.add(text[0])
    assert [writer.communicate() + (writer.returncode,) for writer in writers] == [("", "", 0)] * 3
    assert seen & set("abc")
    assert _leftovers(tmp_path) == []


def test_killed_at_any_moment_and_cleaned_by_the_next(tmp_path):
    path = tmp_path / "net.py"
    write(path, "start")
    other = _hammer(path, "o", 60.0)  # a live one, which the cleaning must not disturb
    dice = random.Random(0)
    for letter in "abcdefgh":
        victim = _hammer(path, letter, 60.0)
        time.sleep(dice.uniform(0, 0.02))
        victim.kill()
        victim.communicate()
        text = path.read_text()
        assert text == "start" or (len(text) == 200_000 and len(set(text)) == 1)
    assert other.poll() is None, other.communicate()
    other.kill()
    other.communicate()
    write(path, "end")
    assert (path.read_text(), _leftovers(tmp_path)) == ("end", [])


def test_a_leftover_is_removed_and_a_live_one_is_not(tmp_path):
    path = tmp_path / "net.py"
    left = tmp_path / ".plainnet-abcd1234.tmp"
    left.mkdir(mode=0o700)
    (left / "new").write_text("half")
    look_alikes = [tmp_path / name for name in (".plainnet-notes.tmp", ".plainnet-abcd1234")]
    for folder in look_alikes:
        folder.mkdir(mode=0o700)
    open_to_all = tmp_path / ".plainnet-shared_0.tmp"
    open_to_all.mkdir(mode=0o755)
    with replacing(path) as outer:
        outer.write_text("outer")
        write(path, "inner")
        assert outer.exists()
        assert not left.exists()
    assert path.read_text() == "outer"
    assert all(folder.is_dir() for folder in [*look_alikes, open_to_all])


def test_where_folders_cannot_be_locked_age_decides(tmp_path, monkeypatch):
    def no_locks(*_arguments):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    for name, age in (("old00000", 2 * 86400), ("young000", 60)):
        folder = tmp_path / f".plainnet-{name}.tmp"
        folder.mkdir(mode=0o700)
        os.utime(folder, (time.time() - age,) * 2)
    write(tmp_path / "net.py", "new")
    assert _leftovers(tmp_path) == [".plainnet-young000.tmp"]


def test_planted_links_are_not_followed(tmp_path, monkeypatch):
    """Neither under the name that the first version used, nor under the one that comes next."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder = tmp_path / "nets"
    folder.mkdir()
    path = folder / "net.py"
    (folder / f".net.py.{os.getpid()}.tmp").symlink_to(victim)
    names = iter(["abcdefgh", "12345678"])
    monkeypatch.setattr(tempfile, "_get_candidate_names", lambda: names)
    (folder / ".plainnet-abcdefgh.tmp").symlink_to(tmp_path)
    write(path, "new")
    assert (victim.read_text(), path.read_text()) == ("precious", "new")
    assert sorted(os.listdir(tmp_path)) == ["nets", "victim"]


def test_an_unlucky_name_is_tried_again(tmp_path, monkeypatch):
    """A folder that another process took for a leftover, just before it was locked."""
    make = tempfile.mkdtemp
    made = []

    def taken_away(**arguments):
        made.append(make(**arguments))
        if len(made) == 1:
            os.rmdir(made[0])
        return made[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", taken_away)
    write(tmp_path / "net.py", "new")
    assert len(made) == 2
    assert os.listdir(tmp_path) == ["net.py"]


@pytest.mark.parametrize("kind", ["text", "binary"])
def test_a_link_stays_and_its_file_is_replaced(tmp_path, kind):
    """The same for both kinds of content, so that `emit` and `convert` agree."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "real").write_text("old")
    link = tmp_path / "link"
    link.symlink_to("deep/real")
    if kind == "text":
        write(link, "new")
    else:
        with replacing(link) as temporary:
            temporary.write_bytes(b"new")
    assert link.is_symlink() and os.readlink(link) == "deep/real"
    assert (tmp_path / "deep" / "real").read_bytes() == b"new"
    assert os.listdir(tmp_path / "deep") == ["real"]
