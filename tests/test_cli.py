"""The command line as a user types it: in a process of its own, in an empty folder."""

from __future__ import annotations

import json
import os
import pty
import socket
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

import compiler

from .forks import forks
from .sampling import ANYWHERE

ROOT = Path(__file__).parent.parent
GENERATED = ROOT / "generated"
COMMAND = (sys.executable, "-m", "compiler")
SEX50 = "emit seresnext50 --target torch --dims 3"
SUMMARY = "SE-ResNeXt-50 (32x4d) 3D torch, 96x96x96x4 -> 3, 28,424,755 parameters: "


@pytest.fixture(scope="session")
def environment(tmp_path_factory) -> dict[str, str]:
    """The user's environment: the compiler is there, and importing a framework is an error."""
    site = tmp_path_factory.mktemp("site")
    (site / "sitecustomize.py").write_text(
        "import sys\n"
        "class Ban:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('torch', 'keras', 'tensorflow', 'jax', 'numpy'):\n"
        "            raise AssertionError('imported ' + name)\n"
        "sys.meta_path.insert(0, Ban())\n"
    )
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "FORCE_", "TTY_"))}
    return {**kept, "PYTHONPATH": f"{ROOT}{os.pathsep}{site}", "PYTHONDONTWRITEBYTECODE": "1"}


# Commands are run in forks of a process that has these; with something to redirect, in a process
# of their own.
MODULES = ("compiler.commands.emit", "compiler.commands.show", "compiler.commands.update")
RUN = "from compiler.__main__ import run; run()"


class Terminal:
    """Types commands in one folder. Lines are split at spaces."""

    def __init__(self, folder: Path, environment: dict[str, str]):
        self.folder = folder
        self.environment = environment

    def __call__(self, line: str | list[str], **rest) -> subprocess.CompletedProcess[str]:
        words = line.split() if isinstance(line, str) else line
        if not rest:
            return forks(MODULES, self.environment).run(RUN, words, self.folder)
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **rest}
        environment = self.environment | pipes.pop("env", {})
        return subprocess.run(
            [*COMMAND, *words], cwd=self.folder, env=environment, encoding="utf-8", **pipes
        )

    def succeeds(self, line: str | list[str], **rest) -> str:
        """What it printed."""
        done = self(line, **rest)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout

    def fails(self, line: str | list[str], **rest) -> str:
        """What it complained of, in the way in which every bad input is."""
        before = self.snapshot(bases=True)
        done = self(line, **rest)
        assert done.returncode == 2, (done.returncode, done.stderr)
        assert done.stderr.startswith("error: ")
        assert "Traceback" not in done.stderr
        assert not done.stdout
        assert self.snapshot(bases=True) == before
        return done.stderr

    def snapshot(self, bases: bool = False) -> dict[str, bytes | None]:
        """What is in the folder, with or without the bases that are kept beside files."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes() if path.is_file() else None
            for path in sorted(self.folder.rglob("*"))
            if bases or ".plainnet" not in path.parts
        }

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_bytes(text.encode())
        return path

    def read(self, name: str) -> str:
        return (self.folder / name).read_text(encoding="utf-8")


@pytest.fixture
def terminal(tmp_path, environment) -> Terminal:
    folder = tmp_path / "empty"
    folder.mkdir()
    return Terminal(folder, environment)


@pytest.fixture(scope="session")
def emitted() -> str:
    return compiler.emit("seresnext50", target="torch", dims=3)


# --- emit ---------------------------------------------------------------------------------------


def test_framework_ban_works(environment):
    done = subprocess.run(
        [sys.executable, "-c", "import torch"], env=environment, capture_output=True, text=True
    )
    assert "imported torch" in done.stderr


def test_emit_writes_one_file_here_and_says_so_in_one_line(terminal, emitted):
    assert terminal.succeeds(SEX50) == f"{SUMMARY}seresnext50_3d.py\n"
    assert terminal.snapshot() == {"seresnext50_3d.py": emitted.encode()}


def test_emit_to_a_path(terminal, emitted):
    assert terminal.succeeds(f"{SEX50} -o net.py") == f"{SUMMARY}net.py\n"
    assert terminal.snapshot() == {"net.py": emitted.encode()}


@pytest.mark.parametrize("output", ["nets/", "nets"])
def test_emit_into_a_folder(terminal, emitted, output):
    (terminal.folder / "nets").mkdir()
    assert terminal.succeeds(f"{SEX50} -o {output}") == f"{SUMMARY}nets/seresnext50_3d.py\n"
    assert terminal.read("nets/seresnext50_3d.py") == emitted


def test_emit_to_stdout_prints_the_source_alone(terminal, emitted):
    assert terminal.succeeds(f"{SEX50} -o -") == emitted
    assert terminal.snapshot() == {}


def test_dims_are_those_of_the_shape(terminal):
    out = terminal.succeeds("emit resnet18 --target keras --input-shape 32,40,48,1")
    assert out.startswith("ResNet-18 3D keras, 32x40x48x1 -> 3, ")
    assert "(32, 40, 48, 1)" in terminal.read("resnet18_3d.py")


def test_in_channels_alone_keep_the_default_size(terminal):
    out = terminal.succeeds("emit resnet18 --target torch --in-channels 1")
    assert out.startswith("ResNet-18 2D torch, 224x224x1 -> 1000, ")


def test_the_last_of_an_option_given_twice_counts(terminal):
    terminal.succeeds("emit resnet18 --target torch --dims 2 --dims 3")
    assert list(terminal.snapshot()) == ["resnet18_3d.py"]


@pytest.mark.parametrize(
    ("line", "options"),
    [
        (
            "--dims 3 --input-shape 64,64,32,2 --in-channels 2 --num-classes 5 --se-ratio 8"
            " --se-activation silu --include-rescaling --classifier-activation softmax",
            {
                "dims": 3,
                "input_shape": (64, 64, 32, 2),
                "num_classes": 5,
                "se_ratio": 8,
                "se_activation": "silu",
                "include_rescaling": True,
                "classifier_activation": "softmax",
            },
        ),
        (
            "--features-only --pooling max",
            {"features_only": True, "pooling": "max"},
        ),
        (
            "--segmentor attention_unet --encoder-depth 4 --decoder-block transpose --dims 3"
            " --decoder-filters 96,48,24,12 --decoder-normalization group --num-classes 4"
            " --decoder-activation gelu --classifier-activation softmax --in-channels 1",
            {
                "dims": 3,
                "segmentor": "attention_unet",
                "encoder_depth": 4,
                "decoder_block": "transpose",
                "decoder_filters": (96, 48, 24, 12),
                "decoder_normalization": "group",
                "decoder_activation": "gelu",
                "num_classes": 4,
                "classifier_activation": "softmax",
                "in_channels": 1,
            },
        ),
        (
            "--segmentor unet_plus_plus --compat medicai",
            {"segmentor": "unet_plus_plus", "compat": "medicai"},
        ),
    ],
)
@pytest.mark.parametrize("target", ["torch", "keras"])
def test_emit_with_all_options_is_what_the_function_gives(terminal, target, line, options):
    out = terminal.succeeds(f"emit seresnet50 --target {target} {line} -o -")
    assert out == compiler.emit("seresnet50", target=target, **options)
    terminal.write("a.py", out)
    assert terminal.succeeds("check a.py") == "clean     a.py\n"


SEGMENTER = "emit seresnext50 --segmentor unet --target keras --dims 3 --encoder-depth 4"


def test_emit_a_segmentor(terminal):
    out = terminal.succeeds(SEGMENTER)
    assert out.startswith("SE-ResNeXt-50 (32x4d) ")
    assert out.endswith(
        " 3D keras, 96x96x96x4 -> 96x96x96x1, 25,650,257 parameters: seresnext50_unet_3d.py\n"
    )
    assert list(terminal.snapshot()) == ["seresnext50_unet_3d.py"]
    options = {"segmentor": "unet", "encoder_depth": 4, "dims": 3}
    text = terminal.read("seresnext50_unet_3d.py")
    assert text == compiler.emit("seresnext50", target="keras", **options)
    assert '__all__ = ["SEResNeXt50UNet"]' in text
    assert terminal.succeeds("check .") == "clean     seresnext50_unet_3d.py\n"


@pytest.mark.parametrize("segmentor", ANYWHERE)
def test_check_of_segmentors(terminal, segmentor):
    for target in ("torch", "keras"):
        (terminal.folder / target).mkdir()
        line = f"emit resnet18 --segmentor {segmentor} --dims 2 --target {target}"
        terminal.succeeds(f"{line} -o {target}/")
    name = f"resnet18_{segmentor}_2d.py"
    assert terminal.succeeds("check .") == f"clean     keras/{name}\nclean     torch/{name}\n"
    terminal.write("edited.py", terminal.read(f"torch/{name}").replace("relu", "silu"))
    done = terminal("check edited.py")
    line = "edited    edited.py: edited since plainnet 0.1.0 wrote it\n"
    assert (done.returncode, done.stdout) == (1, line)


def test_output_is_the_same_for_every_hash_seed_and_folder(terminal):
    line = "emit seresnext50 --target keras -o -"
    elsewhere = terminal.folder / "else" / "where"
    elsewhere.mkdir(parents=True)
    texts = {terminal.succeeds(line, env={"PYTHONHASHSEED": seed}) for seed in ("0", "1", "77")}
    texts.add(Terminal(elsewhere, terminal.environment).succeeds(line))
    assert texts == {compiler.emit("seresnext50", target="keras")}


# --- what is overwritten ------------------------------------------------------------------------


def test_an_untouched_emission_is_replaced(terminal, emitted):
    """The same network with other options is a version of it."""
    terminal.write("net.py", compiler.emit("seresnext50", target="torch", dims=3, num_classes=9))
    terminal.succeeds(f"{SEX50} -o net.py")
    assert terminal.read("net.py") == emitted


OTHERS = {
    "another target": (
        "seresnext50",
        {"target": "keras", "dims": 3},
        "seresnext50 in 3D for keras",
    ),
    "another rank": ("seresnext50", {"target": "torch", "dims": 2}, "seresnext50 in 2D for torch"),
    "another encoder": ("resnet18", {"target": "torch", "dims": 3}, "resnet18 in 3D for torch"),
    "a segmentor": (
        "seresnext50",
        {"target": "torch", "dims": 3, "segmentor": "unet"},
        "seresnext50_unet in 3D for torch",
    ),
    "an encoder of one's own": (
        compiler.custom_encoder("seresnext50", blocks=(1, 1, 1, 1)),
        {"target": "torch", "dims": 3},
        "seresnext50 (custom) in 3D for torch",
    ),
}


@pytest.mark.parametrize("case", OTHERS)
def test_a_file_of_another_network_needs_force(terminal, emitted, case):
    encoder, options, found = OTHERS[case]
    terminal.write("net.py", compiler.emit(encoder, **options))
    assert terminal.fails(f"{SEX50} -o net.py") == (
        f"error: 'net.py' holds {found}, not seresnext50 in 3D for torch\n"
        "  at   -o net.py\n"
        "  hint --force replaces it, -o FILE.py writes another file\n"
    )
    terminal.succeeds(f"{SEX50} -o net.py --force")
    assert terminal.read("net.py") == emitted


@pytest.mark.parametrize("output", ["-o nets/", "-o nets", ""])
def test_both_targets_in_one_folder(terminal, output):
    (terminal.folder / "nets").mkdir()
    line = f"emit resnet18 --dims 3 {output} --target"
    folder = "nets/" if output else ""
    assert terminal.succeeds(f"{line} torch").endswith(f": {folder}resnet18_3d.py\n")
    assert terminal.succeeds(f"{line} keras").endswith(f": {folder}resnet18_3d_keras.py\n")
    for target in ("torch", "keras"):  # again: each finds its own file
        terminal.succeeds(f"{line} {target} --num-classes 7")
    files = {name: text for name, text in terminal.snapshot().items() if text is not None}
    assert files == {
        f"{folder}resnet18_3d{end}.py": compiler.emit(
            "resnet18", target=target, dims=3, num_classes=7
        ).encode()
        for end, target in (("", "torch"), ("_keras", "keras"))
    }
    (terminal.folder / f"{folder}resnet18_3d.py").unlink()
    terminal.succeeds(f"{line} keras")  # the name that it has got stays
    assert terminal.snapshot().keys() - {"nets"} == {f"{folder}resnet18_3d_keras.py"}


@pytest.mark.parametrize("output", ["nets/", "deep/er/nets/"])
def test_a_fresh_folder_is_created(terminal, emitted, output):
    assert terminal.succeeds(f"{SEX50} -o {output}") == f"{SUMMARY}{output}seresnext50_3d.py\n"
    assert terminal.read(f"{output}seresnext50_3d.py") == emitted


def test_output_without_a_suffix(terminal):
    assert terminal.fails(f"{SEX50} -o noslash") == (
        "error: -o noslash has no suffix and is not a folder\n"
        "  hint noslash.py for a file, noslash/ for a folder\n"
    )


@pytest.mark.parametrize("output", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_names_of_stdout_print_the_source_alone(terminal, emitted, output):
    assert terminal.succeeds(f"{SEX50} -o {output}") == emitted
    with open(terminal.folder / "net.py", "w") as file:
        assert terminal(f"{SEX50} -o {output}", stdout=file).returncode == 0
    assert terminal.snapshot() == {"net.py": emitted.encode()}


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "link to a pipe"])
def test_output_to_what_is_no_file(terminal, kind):
    path = terminal.folder / "net.py"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        os.mkfifo(terminal.folder / "pipe")
        path.symlink_to("pipe")
    for force in ("", "--force"):
        complaint = terminal.fails(f"{SEX50} -o net.py {force}", timeout=60)
        assert complaint.startswith("error: 'net.py' is not a regular file\n")


EDITS_OF_OURS = ("edited", "command", "licence")


@pytest.mark.parametrize("edit", [*EDITS_OF_OURS, "foreign", "empty", "binary", "garbled"])
def test_anything_else_needs_force(terminal, emitted, edit):
    text, reason = {
        "foreign": ("print('mine')\n", "was not written by plainnet"),
        "edited": (
            emitted.replace("GROUPS = 32", "GROUPS = 16"),
            "was edited after plainnet wrote it",
        ),
        "command": (
            emitted.replace("--dims 3", "--dims 3 --num-classes 3"),
            "was edited after plainnet wrote it",
        ),
        "licence": (
            f"# Copyright 2026\n{emitted}",
            "has comments above it that plainnet did not write",
        ),
        "empty": ("", "was not written by plainnet"),
        "binary": ("", "cannot be recognized as a file by plainnet: it is not valid UTF-8"),
        "garbled": (
            emitted.replace("# sha256: text", "# md5: text"),
            "cannot be recognized as a file by plainnet: its provenance is garbled",
        ),
    }[edit]
    assert text != emitted
    path = terminal.write("net.py", text)
    if edit == "binary":
        path.write_bytes(bytes(range(256)))
    merges = "`plainnet update` keeps the edits, " * (edit in EDITS_OF_OURS)
    assert terminal.fails(f"{SEX50} -o net.py") == (
        f"error: 'net.py' {reason}\n"
        "  at   -o net.py\n"
        f"  hint {merges}--force replaces it, -o FILE.py writes another file\n"
    )
    terminal.succeeds(f"{SEX50} -o net.py --force")
    assert terminal.read("net.py") == emitted


def test_emit_all_looks_before_it_writes(terminal):
    (terminal.folder / "out" / "keras").mkdir(parents=True)
    terminal.write("out/keras/seresnet18_2d.py", "mine = 1\n")
    assert "'out/keras/seresnet18_2d.py' was not written by" in terminal.fails("emit --all -o out")


def test_a_link_stays_a_link(terminal, emitted):
    terminal.write("real.py", compiler.emit("seresnext50", target="torch", dims=3, num_classes=9))
    link = terminal.folder / "link.py"
    link.symlink_to("real.py")
    terminal.succeeds(f"{SEX50} -o link.py")
    assert link.is_symlink()
    assert terminal.read("real.py") == emitted


def test_the_mode_of_a_file_stays(terminal):
    path = terminal.write(
        "net.py", compiler.emit("seresnext50", target="torch", dims=3, num_classes=9)
    )
    path.chmod(0o640)
    terminal.succeeds(f"{SEX50} -o net.py")
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_killed_process_leaves_the_old_file(terminal):
    old = compiler.emit("seresnext50", target="torch", dims=3, num_classes=9)
    terminal.write("net.py", old)
    kill_at_sync = (
        "import os, signal, sys\n"
        "os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)\n"
        "from compiler.commands.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", kill_at_sync, *SEX50.split(), "-o", "net.py"],
        cwd=terminal.folder,
        env=terminal.environment,
    )
    assert done.returncode == -9
    assert terminal.read("net.py") == old


def test_a_stopped_process_leaves_nothing(terminal):
    stop_at_sync = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored in a background job
        "os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGINT)\n"
        "from compiler.commands.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", stop_at_sync, *SEX50.split()],
        cwd=terminal.folder,
        env=terminal.environment,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr.strip()) == (130, "", "stopped")
    assert terminal.snapshot() == {}


@pytest.mark.parametrize("before", ["", "# mine\n"])
def test_a_disk_that_is_full(terminal, before):
    """Files can grow to a kilobyte here, which is less than the source."""
    if before:
        terminal.write("net.py", before)
    line = f"ulimit -f 1; {' '.join(COMMAND)} {SEX50} -o net.py --force"
    snapshot = terminal.snapshot()
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=terminal.folder,
        env=terminal.environment,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: cannot write: File too large\n")
    assert terminal.snapshot() == snapshot


# --- bad input ----------------------------------------------------------------------------------

BAD = [
    ("emit seresnxt50 --target torch", "unknown encoder 'seresnxt50'. Did you mean 'seresnext50'"),
    (["emit", "", "--target", "torch"], "unknown encoder ''."),
    (["emit", "セレスネット", "--target", "torch"], "unknown encoder 'セレスネット'."),
    (["emit", "../../etc/passwd", "--target", "torch"], "unknown encoder '../../etc/passwd'."),
    ("emit", "no model given"),
    ("emit resnet18", "--target is missing"),
    ("emit resnet18 --target", "option '--target' requires an argument"),
    ("emit resnet18 --target torhc", "--target is 'torhc'. Did you mean 'torch'?"),
    (["emit", "resnet18", "--target", ""], "--target is ''."),
    ("emit resnet18 torch", "got unexpected extra argument (torch)"),
    ("emit resnet18 --target torch --dims 4", "--dims is '4'."),
    (["emit", "resnet18", "--target", "torch", "--dims", ""], "--dims is ''."),
    ("emit resnet18 --target torch --dims 3 --input-shape 64,64,3", "--input-shape 64,64,3 has 3"),
    ("emit resnet18 --target torch --input-shape ,", "--input-shape has '', which is not"),
    ("emit resnet18 --target torch --input-shape 64,64,", "--input-shape has '', which is not"),
    ("emit resnet18 --target torch --input-shape a,64,3", "--input-shape has 'a', which is not"),
    ("emit resnet18 --target torch --input-shape 0,64,3", "--input-shape has 0, which is below 1"),
    ("emit resnet18 --target torch --input-shape -8,64,3", "--input-shape has -8, which is below"),
    ("emit resnet18 --target torch --input-shape 64,64,3 --in-channels 4", "--input-shape 64,64,3"),
    ("emit resnet18 --target torch --in-channels 0", "--in-channels has 0, which is below 1"),
    ("emit resnet18 --target torch --num-classes 0", "--num-classes has 0, which is below 1"),
    (
        f"emit resnet18 --target torch --num-classes {'9' * 400}",
        "--num-classes has a number of 400",
    ),
    (f"emit resnet18 --target torch --num-classes {'9' * 5000}", "the length of --num-classes is"),
    ("emit seresnet18 --target torch --se-ratio 0", "--se-ratio has 0, which is below 1"),
    ("emit resnet18 --target torch --se-ratio 8", "resnet18 has no squeeze-and-excitation"),
    ("emit resnet18 --target torch --pooling avg", "--pooling avg is for a network without a head"),
    (f"{SEGMENTER} --encoder-depth 6", "--encoder-depth is '6'."),
    (f"{SEGMENTER} --decoder-filters 64,32", "--decoder-filters 64,32 has 2 entries, but unet at"),
    (
        f"{SEGMENTER} --decoder-normalization bach",
        "--decoder-normalization is 'bach'. Did you mean",
    ),
    (f"{SEGMENTER} --decoder-activation rely", "--decoder-activation is 'rely'. Did you mean"),
    (f"{SEGMENTER} --segmentor deeplab", "--segmentor is 'deeplab'."),
    (
        f"{SEGMENTER} --features-only",
        "--features-only leaves out the decoder that --segmentor unet",
    ),
    (f"{SEGMENTER} --pooling max", "--pooling max is for a network without a head"),
    (
        "emit resnet18 --target torch --encoder-depth 3",
        "--encoder-depth is an option of segmentors",
    ),
    ("show resnet18 --decoder-block transpose", "--decoder-block is an option of segmentors"),
    ("show resnet18 --segmentor unet --encoder-depth 2", "--encoder-depth is '2'."),
    ("emit resnet18 --target torch --depth 3", "no such option '--depth'"),
    ("emit resnet18 --target torch -o no/net.py", "there is no folder 'no'"),
    ("emit resnet18 --target torch -o /proc/no/", "cannot create the folder: "),
    ("emit resnet18 --target torch -o no", "-o no has no suffix and is not a folder"),
    (["emit", "resnet18", "--target", "torch", "-o", ""], "-o is empty"),
    (f"emit resnet18 --target torch -o {'a' * 300}.py", "cannot write: File name too long"),
    ("emit resnet18 --target torch -o /dev/full", "'/dev/full' is not a regular file"),
    ("emit resnet18 --target torch -o /proc/net.py", "cannot write: "),
    ("emit --all", "--all writes into a folder"),
    ("emit --all -o -", "--all writes into a folder"),
    (["emit", "--all", "-o", ""], "--all writes into a folder"),
    (["emit", "--all", "", "-o", "out"], "--all emits the whole showcase: leave out ''"),
    ("emit --all resnet18 --dims 3 -o out", "--all emits the whole showcase: leave out resnet18, "),
    ("emit --all -o /proc/out", "cannot create the folder: "),
    ("show", "missing argument 'MODEL'"),
    ("show resnet19", "unknown encoder 'resnet19'."),
    ("show resnet18 --dims 1 --json", "--dims is '1'."),
    ("show resnet18 --frame torch", "no such option '--frame'"),
    ("list --family vgg", "--family is 'vgg'."),
    ("list senet", "got unexpected extra argument (senet)"),
    ("check", "missing argument 'PATH...'"),
    ("check nowhere.py", "there is no file or folder 'nowhere.py'"),
    (["check", ""], "there is no file or folder ''"),
    (f"check {'a' * 300}", "there is no file or folder 'aaa"),
    ("chekc", "unknown command 'chekc'. Did you mean 'check'?"),
    ("--frob", "no such option '--frob'"),
]


@pytest.mark.parametrize(("line", "message"), BAD, ids=lambda value: str(value)[:70])
def test_bad_input(terminal, line, message):
    assert terminal.fails(line).startswith(f"error: {message}")


def test_several_problems_at_once(terminal):
    complaint = terminal.fails("emit seresnxt50 --dims 5 --num-classes x --pooling avg")
    errors = [line for line in complaint.splitlines() if line.startswith("error: ")]
    assert [error.split()[1] for error in errors] == [
        "--target",
        "unknown",
        "--dims",
        "--num-classes",
        "--pooling",
    ]


def test_several_problems_of_a_segmentor_at_once(terminal):
    options = "--encoder-depth 6 --decoder-filters 8,0 --decoder-activation rely --features-only"
    complaint = terminal.fails(f"emit seresnet18 --target torch --segmentor unet {options}")
    errors = [line for line in complaint.splitlines() if line.startswith("error: ")]
    assert sorted(error.split()[1] for error in errors) == [
        "--decoder-activation",
        "--decoder-filters",
        "--encoder-depth",
        "--features-only",
    ]


def test_without_a_command_there_is_help(terminal):
    done = terminal("")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Commands:" in done.stderr


def test_output_below_a_file(terminal):
    terminal.write("file", "")
    assert "cannot write: Not a directory" in terminal.fails(f"{SEX50} -o file/net.py")
    assert "cannot write: Not a directory" in terminal.fails(f"{SEX50} -o file/")
    assert "cannot create the folder: Not a directory" in terminal.fails("emit --all -o file")


def test_output_is_a_link_to_itself(terminal):
    (terminal.folder / "loop.py").symlink_to("loop.py")
    assert "cannot write: Too many levels" in terminal.fails(f"{SEX50} -o loop.py")


def test_output_is_a_link_into_nowhere(terminal):
    (terminal.folder / "link.py").symlink_to("no/where.py")
    complaint = terminal.fails(f"{SEX50} -o link.py")
    assert f"error: there is no folder '{terminal.folder / 'no'}'\n" in complaint


def test_the_folder_has_gone(terminal):
    line = f"rmdir ../empty; {' '.join(COMMAND)} {SEX50}"
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=terminal.folder,
        env=terminal.environment,
        capture_output=True,
        text=True,
    )
    message = "error: cannot write: No such file or directory\n  at   seresnext50_3d.py\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message)


# --- streams ------------------------------------------------------------------------------------

PRINTING = [
    "emit resnet18 --target torch -o -",
    "emit resnet18 --target torch",
    "list",
    "list --json",
    "show resnet18",
    "show resnet18 --json",
    f"check {GENERATED / 'torch' / 'seresnet18_2d.py'}",
    "--help",
    "--version",
]


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("line", PRINTING)
def test_stdout_is_full(terminal, line, unbuffered):
    with open("/dev/full", "w") as full:
        done = terminal(line, stdout=full, env={"PYTHONUNBUFFERED": unbuffered})
    message = "error: cannot write: No space left on device\n  at   stdout\n"
    assert (done.returncode, done.stderr) == (2, message)


@pytest.mark.parametrize("line", [*PRINTING, f"check --diff {GENERATED}"])
def test_the_reader_of_a_pipe_has_gone(terminal, line):
    ours, theirs = os.pipe()
    os.close(ours)
    done = terminal(line, stdout=theirs)
    os.close(theirs)
    assert done.returncode != 0
    assert done.stderr == ""


def test_head(terminal, emitted):
    line = f"set -o pipefail; {' '.join(COMMAND)} {SEX50} -o - | head -1"
    done = subprocess.run(
        ["bash", "-c", line], cwd=terminal.folder, env=terminal.environment, capture_output=True
    )
    assert (done.stdout.decode(), done.stderr) == (emitted.splitlines(keepends=True)[0], b"")


def test_stdout_is_closed(terminal):
    line = f"{' '.join(COMMAND)} emit resnet18 --target torch -o - >&-"
    done = subprocess.run(
        ["bash", "-c", line], cwd=terminal.folder, env=terminal.environment, capture_output=True
    )
    assert (done.returncode, done.stderr) == (
        2,
        b"error: cannot write: stdout is closed\n  at   -o -\n",
    )


def test_a_path_that_stdout_cannot_spell(terminal):
    out = terminal.succeeds(f"{SEX50} -o größe.py", env={"PYTHONIOENCODING": "ascii"})
    assert out == f"{SUMMARY}gr\\xf6\\xdfe.py\n"


def test_a_bar_on_a_terminal_and_nothing_in_a_pipe(terminal):
    (terminal.folder / "nets").mkdir()
    terminal.succeeds("emit resnet18 --target torch -o nets/")
    assert terminal.succeeds("check nets") == "clean     nets/resnet18_2d.py\n"  # stderr is empty
    ours, theirs = pty.openpty()
    done = terminal("check nets", stderr=theirs, env={"TERM": "xterm"})
    os.close(theirs)
    assert done.stdout == "clean     nets/resnet18_2d.py\n"
    assert b"checking" in os.read(ours, 10_000)
    os.close(ours)


# --- list and show ------------------------------------------------------------------------------


def test_list(terminal):
    out = terminal.succeeds("list")
    assert "\x1b" not in out
    (row,) = (line for line in out.splitlines() if " seresnext50 " in line)
    for cell in ("senet", "3-4-6-3", "32x4d", "27,559,896", "28,424,755"):
        assert cell in row
    assert sum(" resnet" in line or " resnext" in line for line in out.splitlines()) >= 13


def test_list_of_a_family_as_json(terminal):
    everything = json.loads(terminal.succeeds("list --json"))
    senets = json.loads(terminal.succeeds("list --family senet --json"))
    assert (len(everything), len(senets)) == (54, 26)
    assert [row for row in everything if row["family"] == "senet"] == senets
    (row,) = (row for row in senets if row["model"] == "seresnext50")
    assert row["parameters"] == {"2d": 27_559_896, "3d": 28_424_755}
    assert row["depths"] == [3, 4, 6, 3]


def test_show(terminal):
    out = terminal.succeeds("show seresnext50 --dims 3")
    assert "\x1b" not in out
    for text in ("stem", "stage 0", "stage 3", "P5", "48 x 48 x 48 x 64", "28,424,755", "100", "%"):
        assert text in out


def test_show_as_json(terminal):
    shown = json.loads(terminal.succeeds("show seresnext50 --dims 3 --json"))
    assert shown == compiler.describe("seresnext50", dims=3)
    assert {
        "model",
        "dims",
        "input_shape",
        "parameters",
        "macs",
        "pyramid",
        "output",
        "ledger",
    } <= (shown.keys())
    assert (shown["model"], shown["dims"]) == ("seresnext50", 3)
    assert shown["input_shape"] == [96, 96, 96, 4]
    assert shown["parameters"].keys() == {"trainable", "non_trainable"}
    assert shown["parameters"]["trainable"] == 28_424_755
    assert shown["pyramid"] == {
        "P1": [48, 48, 48, 64],
        "P2": [24, 24, 24, 256],
        "P3": [12, 12, 12, 512],
        "P4": [6, 6, 6, 1024],
        "P5": [3, 3, 3, 2048],
    }
    assert shown["output"] == [3]
    assert {frozenset(row) for row in shown["ledger"]} == {
        frozenset({"path", "kind", "weights", "output", "macs"})
    }
    assert shown["macs"] == sum(row["macs"] for row in shown["ledger"])
    assert shown["ledger"][0]["weights"] == {"weight": [64, 4, 7, 7, 7]}


def test_show_takes_the_options_of_emit(terminal):
    line = "show SEResNet50 --input-shape 65,97,1 --features-only --pooling avg --se-ratio 8 --json"
    shown = json.loads(terminal.succeeds(line))
    assert (shown["dims"], shown["output"]) == (2, [2048])
    assert shown["pyramid"]["P1"] == [33, 49, 64]


def test_version(terminal):
    assert terminal.succeeds("--version") == f"plainnet {compiler.__version__}\n"


@pytest.mark.parametrize("command", ["emit", "list", "show", "check"])
def test_help(terminal, command):
    assert f"plainnet {command} " in terminal.succeeds(f"{command} --help")
    assert f"  {command} " in terminal.succeeds("-h")


# --- check --------------------------------------------------------------------------------------


def test_check_clean(terminal, emitted):
    terminal.write("a.py", emitted)
    assert terminal.succeeds("check a.py") == "clean     a.py\n"
    terminal.write("crlf.py", emitted.replace("\n", "\r\n"))
    assert terminal.succeeds("check crlf.py") == "clean     crlf.py\n"
    terminal.write("older.py", emitted.replace("plainnet 0.1.0", "plainnet 0.0.9"))
    assert terminal.succeeds("check older.py") == "clean     older.py\n"


def test_check_differs(terminal, emitted):
    terminal.write("a.py", emitted.replace("GROUPS = 32", "GROUPS = 16"))
    done = terminal("check a.py")
    line = "edited    a.py: edited since plainnet 0.1.0 wrote it\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, line, "")
    done = terminal("check a.py --diff")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith(f"{line}--- a.py (as emitted)\n+++ a.py\n@@ ")
    assert "\n-GROUPS = 32\n+GROUPS = 16\n" in done.stdout


def test_check_folders(terminal, emitted):
    for name in ("nets/deep", "nothing"):
        (terminal.folder / name).mkdir(parents=True)
    (terminal.folder / "nets" / "folder.py").mkdir()
    terminal.write("nets/a.py", emitted)
    terminal.write("nets/notes.txt", "no network")
    terminal.write("nets/deep/b.py", compiler.emit("resnet18", target="keras"))
    assert terminal.succeeds("check nets nets/a.py") == (
        "clean     nets/a.py\nclean     nets/deep/b.py\n"
    )
    assert terminal.fails("check nothing") == "error: there is no Python file in 'nothing'\n"
    complaint = terminal.fails("check nets nothing gone.py")
    assert complaint == (
        "error: there is no Python file in 'nothing'\n"
        "error: there is no file or folder 'gone.py'\n"
    )


def test_check_in_a_folder_that_was_deleted(tmp_path, monkeypatch):
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    with pytest.raises(compiler.CompileError, match=r"the folder '\.' was deleted"):
        compiler.check(".")


def test_check_does_not_pass_over_a_folder_that_it_cannot_read(tmp_path, monkeypatch, emitted):
    scandir = os.scandir

    def closed(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    (tmp_path / "closed").mkdir()
    (tmp_path / "a.py").write_text(emitted)
    assert len(compiler.check(tmp_path)) == 1
    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(compiler.CompileError, match="cannot read the folder: Permission denied"):
        compiler.check(tmp_path)


COMMAND_LINE = "#     plainnet emit seresnext50 --target torch --dims 3\n"
CALL = (
    '#     plainnet.emit(\n#         plainnet.custom_encoder("net", blocks={}),\n'
    '#         target="torch",\n#     )\n'
)
GARBLED = "its provenance is garbled"
UNREADABLE = f"{GARBLED}: the command cannot be read"


def recommand(command: str):
    return lambda text: text.replace(COMMAND_LINE, command)


def rewords(words: str):
    return recommand(f"#     plainnet emit {words}\n")


NOT_OURS = {
    "foreign": (lambda text: "x = 1\n", "it has no provenance comment of plainnet at its end"),
    "empty": (lambda text: "", "it has no provenance comment of plainnet at its end"),
    "cut": (lambda text: text[:-80], GARBLED),
    "text after": (lambda text: f"{text.rstrip()} x = 1\n", GARBLED),
    "digest": (lambda text: text.replace(", code ", ", code x"), GARBLED),
    "newer": (
        lambda text: text.replace("plainnet 0.1.0", "plainnet 99.0.0"),
        f"it was written by plainnet 99.0.0, newer than this {compiler.__version__}",
    ),
    "version": (lambda text: text.replace("plainnet 0.1.0", "plainnet new"), GARBLED),
    "version of 5000 digits": (
        lambda text: text.replace("plainnet 0.1.0", f"plainnet {'9' * 5000}"),
        GARBLED,
    ),
    "shell": (rewords("resnet18 --target torch; touch pwned"), UNREADABLE),
    "substitution": (rewords("resnet18 --target $(touch pwned)"), GARBLED),
    "backticks": (rewords("`touch pwned` --target torch"), UNREADABLE),
    "redirection": (rewords("resnet18 --target torch > pwned"), UNREADABLE),
    "output": (rewords("resnet18 --target torch -o pwned"), UNREADABLE),
    "quote": (rewords("'resnet18 --target torch"), UNREADABLE),
    "no target": (rewords("resnet18 --dims 2"), UNREADABLE),
    "no model": (rewords("--target torch"), UNREADABLE),
    "no value": (rewords("resnet18 --target torch --dims"), UNREADABLE),
    "huge number": (rewords(f"resnet18 --target torch --num-classes {'9' * 4299}"), GARBLED),
    "unknown model": (rewords("resnet19 --target torch"), f"{GARBLED}: unknown encoder 'resnet19'"),
    "call": (recommand('#     __import__("os").system("touch pwned")\n'), UNREADABLE),
    "inner call": (recommand(CALL.format('__import__("os").system("touch pwned")')), UNREADABLE),
    "comprehension": (recommand(CALL.format("[x for x in (1, 2)]")), UNREADABLE),
    "power": (recommand(CALL.format("(9**9**9**9,)")), UNREADABLE),
    "nesting": (recommand(CALL.format("(" * 5000 + ")" * 5000)), UNREADABLE),
    "minus signs": (recommand(CALL.format("-" * 60_000 + "1")), UNREADABLE),
    "unpacking": (recommand(CALL.format('(1,), **{"groups": 2}')), GARBLED),
    "blocks": (recommand(CALL.format("(100000000, 1, 1, 1)")), f"{GARBLED}: blocks has 100000000"),
    "name": (recommand(CALL.format("(1, 1, 1, 1)").replace('"net"', '"nn.Module"')), GARBLED),
    "flag": (recommand(CALL.format("(1, 1, 1, 1), pre_activation=3")), GARBLED),
}


@pytest.mark.parametrize("case", NOT_OURS)
def test_check_not_ours(terminal, emitted, case):
    change, message = NOT_OURS[case]
    text = change(emitted)
    assert text != emitted
    terminal.write("a.py", text)
    before = terminal.snapshot()
    done = terminal("check a.py")
    assert done.returncode == 2
    assert done.stdout.startswith(f"not ours  a.py: {message}")
    assert done.stdout.count("\n") == 1
    assert done.stderr.startswith(f"error: {message}")
    assert "\n  at   a.py\n" in done.stderr
    assert "Traceback" not in done.stderr
    assert terminal.snapshot() == before  # nothing was run


def test_check_of_what_is_no_text(terminal):
    (terminal.folder / "a.py").write_bytes(bytes(range(256)))
    (terminal.folder / "link.py").symlink_to("gone.py")
    done = terminal("check .")
    assert done.returncode == 2
    assert done.stderr == (
        "error: it is not valid UTF-8\n  at   a.py\n"
        "error: cannot read it: No such file or directory\n  at   link.py\n"
    )


@pytest.mark.parametrize("end", ["", "\n\n", " \n"], ids=repr)
def test_check_of_another_end(terminal, emitted, end):
    terminal.write("a.py", emitted.rstrip("\n") + end)
    assert terminal.succeeds("check a.py") == "reformatted  a.py\n"


@pytest.mark.parametrize("name", [":smile:.py", "[red]a.py", "a b;c.py", "größe.py"])
def test_check_spells_a_path_as_it_is(terminal, emitted, name):
    terminal.write(name, emitted)
    assert terminal.succeeds(["check", name]) == f"clean     {name}\n"
    assert terminal.succeeds([*SEX50.split(), "-o", name]) == f"{SUMMARY}{name}\n"


def test_check_of_a_path_that_is_no_text(terminal, emitted):
    name = os.fsdecode(b"\xff.py")
    terminal.write(name, emitted)
    utf8 = {"PYTHONIOENCODING": "utf-8"}
    assert terminal.succeeds(["check", name], env=utf8) == "clean     \\udcff.py\n"


def test_check_tells_of_every_file(terminal, emitted):
    terminal.write("a.py", emitted)
    terminal.write("b.py", emitted.replace("GROUPS = 32", "GROUPS = 16"))
    terminal.write("c.py", "")
    terminal.write("two.py", emitted + emitted)
    done = terminal("check a.py b.py c.py two.py")
    assert done.returncode == 2  # what could not be compared weighs more than what differs
    assert [line[:16] for line in done.stdout.splitlines()] == [
        "clean     a.py",
        "edited    b.py: ",
        "not ours  c.py: ",
        "not ours  two.py",
    ]


def test_an_encoder_of_ones_own_checks_clean(terminal):
    encoder = compiler.custom_encoder(
        "my_resnext", blocks=(3, 4, 23, 3), groups=64, width_per_group=4, se_ratio=8
    )
    terminal.write("a.py", compiler.emit(encoder, target="keras", dims=3, num_classes=7))
    assert terminal.succeeds("check a.py") == "clean     a.py\n"
    for segmentor in ANYWHERE:
        text = compiler.emit(encoder, target="torch", segmentor=segmentor, encoder_depth=3)
        assert "blocks=(3, 4, 23, 3)" in text  # the stages that are not emitted too
        terminal.write("a.py", text)
        assert terminal.succeeds("check a.py") == "clean     a.py\n"


# --- the wheel ----------------------------------------------------------------------------------


def test_a_wheel_is_complete(tmp_path, environment, emitted):
    build = ["build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    if find_spec("hatchling") is None:
        build = ["pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    built = subprocess.run([sys.executable, "-m", *build], capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = tmp_path.glob("plainnet-*.whl")
    unpacked = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(unpacked)
    for template in (ROOT / "templates").rglob("*.j2"):
        assert f"compiler/_templates/{template.relative_to(ROOT / 'templates')}" in names
    assert not any(name.startswith(("tests/", "generated/", "templates/")) for name in names)
    folder = tmp_path / "empty"
    folder.mkdir()
    site = environment["PYTHONPATH"].split(os.pathsep)[1]
    installed = environment | {"PYTHONPATH": f"{unpacked}{os.pathsep}{site}"}
    out = Terminal(folder, installed).succeeds(SEX50)
    assert out == f"{SUMMARY}seresnext50_3d.py\n"
    assert (folder / "seresnext50_3d.py").read_text(encoding="utf-8") == emitted


def test_show_is_the_same_for_every_target(terminal):
    plain = terminal("show resnet18 --json")
    for target in ("torch", "keras"):
        assert terminal(f"show resnet18 --json --target {target}").stdout == plain.stdout
    wrong = terminal("show resnet18 --target tf")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("error: --target is 'tf'.")
