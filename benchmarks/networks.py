"""Emitted networks beside those of other libraries, in one run.

    python benchmarks/networks.py
    python benchmarks/networks.py --only "unet, 96^3" --large --markdown
    python benchmarks/networks.py --keras tensorflow

Prints ratios, ours to theirs: below 1, ours is faster or smaller. In each round every variant runs
once, in turn, and the median is over the rounds' ratios, which a machine with other work on it can
measure too, best with `--threads 1 --cpu-time`. Each comparison runs until its share of `--seconds`
is over, two rounds at least. `--large` adds volumes of 96^3 and images of 512^2.
Training is a step on a real loss with SGD; denormals are flushed. "Channels last" is both in
channels-last memory. A library that is not installed is skipped with a line that says so.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import compiler
from compiler.passes.validate import resolve

CLASSES = 2
LARGE = (96, 512)
ROUNDS = 2  # that count, at least
MONAI_SE = (
    "from monai.networks.nets import SEResNext50\n"
    "model = SEResNext50(spatial_dims={dims}, in_channels={channels}, num_classes=2)"
)
MONAI_UNET = (
    "from monai.networks.nets import FlexibleUNet\n"
    "model = FlexibleUNet({channels}, 2, 'resnet50', spatial_dims={dims})"
)
TIMM = "import timm\nmodel = timm.create_model('seresnext50_32x4d', num_classes=2)"
TORCHVISION = "import torchvision\nmodel = torchvision.models.resnext50_32x4d(num_classes=2)"
SMP = (
    "import segmentation_models_pytorch as smp\n"
    "model = smp.Unet('resnext50_32x4d', encoder_weights=None, classes=2)"
)
SMP_3D = (
    "import segmentation_models_pytorch_3d as smp\n"
    "model = smp.Unet('resnext50_32x4d', encoder_weights=None, in_channels=1, classes=2)"
)
MEDICAI = (
    "from medicai.models import SEResNeXt50\n"
    "model = SEResNeXt50(input_shape={shape}, num_classes=2, classifier_activation=None)"
)
MEDICAI_UNET = (
    "from medicai.models import SEResNeXt50, UNet\n"
    "encoder = SEResNeXt50(input_shape={shape}, include_top=False)\n"
    "model = UNet(\n"
    "    encoder=encoder, input_shape={shape}, num_classes=2, classifier_activation=None\n"
    ")"
)


@dataclass(frozen=True)
class Pair:
    """A network of ours and the code that makes theirs. Keras models need their image's shape."""

    encoder: str
    peer: str
    package: str
    code: str
    size: int
    dims: int
    segmentor: str = ""
    batch: int = 1
    keras: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        return (*(self.size,) * self.dims, 1 if self.dims == 3 else 3)

    @property
    def title(self) -> str:
        network = f"{self.encoder} {self.segmentor}".strip()
        return f"{network}, {self.size}^{self.dims}, batch {self.batch}, against {self.peer}"

    def options(self) -> dict[str, object]:
        segmentor = {"segmentor": self.segmentor} if self.segmentor else {}
        return {
            "dims": self.dims,
            "input_shape": self.shape,
            "channels_last": True,
            "num_classes": CLASSES,
            **segmentor,
        }

    def theirs(self) -> str:
        return self.code.format(dims=self.dims, channels=self.shape[-1], shape=self.shape)

    def ours(self, **more: object) -> tuple[str, str]:
        """An emitted file, and the code that makes the model of the file `net.py`."""
        target = "keras" if self.keras else "torch"
        options = {**self.options(), **more}
        text = compiler.emit(self.encoder, target=target, **options)
        name = resolve(self.encoder, options).class_name
        arguments = f"input_shape={self.shape}" if self.keras else f"in_channels={self.shape[-1]}"
        return text, f"from net import {name}\nmodel = {name}({arguments}, num_classes={CLASSES})"


PAIRS = (
    *(Pair("seresnext50", "MONAI", "monai", MONAI_SE, size, 3, batch=2) for size in (64, 96)),
    *(Pair("resnet50", "MONAI", "monai", MONAI_UNET, size, 3, "unet") for size in (64, 96)),
    *(
        Pair("resnext50", "segmentation_models_pytorch_3d", "segmentation_models_pytorch_3d",
             SMP_3D, size, 3, "unet")
        for size in (64, 96)
    ),
    *(Pair("seresnext50", "MONAI", "monai", MONAI_SE, size, 2, batch=4) for size in (224, 512)),
    *(Pair("resnet50", "MONAI", "monai", MONAI_UNET, size, 2, "unet") for size in (224, 512)),
    *(Pair("seresnext50", "timm", "timm", TIMM, size, 2, batch=4) for size in (224, 512)),
    *(
        Pair("resnext50", "torchvision", "torchvision", TORCHVISION, size, 2, batch=4)
        for size in (224, 512)
    ),
    *(
        Pair("resnext50", "segmentation_models_pytorch", "segmentation_models_pytorch",
             SMP, size, 2, "unet")
        for size in (224, 512)
    ),
    *(
        Pair("seresnext50", "medicai", "medicai", code, size, dims, segmentor, keras=True)
        for size, dims in ((64, 3), (224, 2))
        for code, segmentor in ((MEDICAI, ""), (MEDICAI_UNET, "unet"))
    ),
)  # fmt: skip


def main(arguments: list[str] | None = None, pairs: Iterable[Pair] = PAIRS) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="", help="pairs whose title holds this text")
    parser.add_argument("--large", action="store_true", help="pairs of 96^3 and 512^2 as well")
    parser.add_argument("--seconds", type=float, default=300, help="of all comparisons together")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--cpu-time", action="store_true", help="for a machine with other work")
    parser.add_argument("--keras", default="torch", help="backend of the Keras pairs, or none")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--child", type=int, default=-1, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    chosen = [
        pair
        for pair in pairs
        if asked.only in pair.title and (asked.large or pair.size not in LARGE)
        if not (pair.keras and asked.keras == "none")
    ]
    if asked.child >= 0:  # Keras' backend is chosen once per process
        pair = chosen[asked.child]
        print(json.dumps(compared(pair, asked)))
        return
    there = [pair for pair in chosen if found(pair.package)]
    print(machine(asked.threads, {pair.package for pair in there}), flush=True)
    for name in dict.fromkeys(pair.peer for pair in chosen if pair not in there):
        print(f"skipped: {name} is not installed", flush=True)
    if not there:
        parser.error("nothing to compare: install one of the libraries, or choose other pairs")
    each = asked.seconds / len(there)
    for pair in there:
        if pair.keras:
            index = str(chosen.index(pair))
            given = sys.argv[1:] if arguments is None else arguments
            rows = child([*given, "--child", index, "--seconds", str(each)], asked.keras)
        else:
            rows = compared(pair, asked, each)
        rows = {"import and build": started(pair, asked.keras), **rows}
        report(pair, rows, asked.keras, asked.markdown)


def found(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def machine(threads: int, packages: Iterable[str]) -> str:
    names = ("torch", "keras", "tensorflow-cpu", "tensorflow", "jax", *sorted(packages))
    versions = ", ".join(f"{n} {importlib.metadata.version(n)}" for n in names if found(n))
    return f"{platform.machine()}, {os.cpu_count()} cores, {threads} threads; {versions}"


def child(arguments: list[str], backend: str) -> dict[str, dict[str, float]]:
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def interleaved(
    runs: dict[str, Callable[[], object]],
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of each run, round by round; the first round is not counted."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    start = time.perf_counter()
    done = -1
    while done < ROUNDS or (time.perf_counter() - start < seconds and done < 30):
        for name, run in runs.items():
            before = clock()
            run()
            if done >= 0:
                taken[name].append(clock() - before)
        done += 1
    return taken


def ratio(taken: dict[str, list[float]], ours: str, theirs: str = "theirs") -> float:
    return statistics.median(a / b for a, b in zip(taken[ours], taken[theirs], strict=True))


def started(pair: Pair, backend: str) -> dict[str, float]:
    """Import and build, as a process: ours from a file that imports its framework only."""
    text, ours = pair.ours()
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "net.py").write_text(text)

        def process(code: str) -> Callable[[], object]:
            command = [sys.executable, "-c", code]
            return lambda: subprocess.run(
                command, cwd=folder, env=environment, check=True, capture_output=True
            )

        codes = {"ours": ours, "theirs": pair.theirs()}
        taken = interleaved({name: process(code) for name, code in codes.items()}, 0)
    return {"ours": ratio(taken, "ours")}


def made(code: str, text: str = ""):
    """The model that some code makes. It imports `net`, whose text this is."""
    import types

    if text:
        sys.modules["net"] = module = types.ModuleType("net")
        exec(text, module.__dict__)
    names: dict = {}
    exec(code, names)
    return names["model"]


@dataclass
class Runs:
    """Variants to compare in turn: a row of the report, and its column."""

    rows: dict[str, dict[str, Callable[[], object]]] = field(default_factory=dict)

    def add(self, row: str, column: str, run: Callable[[], object]) -> None:
        self.rows.setdefault(row, {})[column] = run


def compared(
    pair: Pair, asked: argparse.Namespace, seconds: float = 0.0
) -> dict[str, dict[str, float]]:
    """Rows of ratios."""
    runs, rows = (keras_runs if pair.keras else torch_runs)(pair, asked.threads)
    clock = time.process_time if asked.cpu_time else time.perf_counter
    seconds = seconds or asked.seconds
    for row, columns in runs.rows.items():
        taken = interleaved(columns, seconds / len(runs.rows), clock=clock)
        rows[row] = {name: ratio(taken, name) for name in columns if name != "theirs"}
    return rows


def torch_runs(pair: Pair, threads: int) -> tuple[Runs, dict[str, dict[str, float]]]:
    import copy

    import torch

    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    layout = torch.channels_last_3d if pair.dims == 3 else torch.channels_last
    text, code = pair.ours()
    lean, _ = pair.ours(training_memory="lean")
    deploy, _ = pair.ours(deploy=True)
    models = {"ours": made(code, text), "theirs": made(pair.theirs())}
    image = torch.randn(pair.batch, pair.shape[-1], *pair.shape[:-1])
    shape = (pair.batch, *pair.shape[:-1]) if pair.segmentor else (pair.batch,)
    truth = torch.randint(0, CLASSES, shape)

    def trainer(model, x):
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

        def step():
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model.train()(x), truth).backward()
            optimizer.step()

        return step

    def server(model, x):
        def run():
            with torch.inference_mode():
                model.eval()(x)

        return run

    runs = Runs()
    given = {"": image, "channels last": image.to(memory_format=layout)}
    for kind, x in given.items():
        for who, model in (*models.items(), ("lean", made(code, lean))):
            own = copy.deepcopy(model)
            own = own.to(memory_format=layout) if kind else own
            name = f"{who} {kind}".strip()
            if who != "lean":
                runs.add("training step", name, trainer(own, x))
            elif not kind:
                runs.add("training step", "--training-memory lean", trainer(own, x))
    for kind, x in given.items():
        for who, model in (*models.items(), ("inference file", made(code, deploy))):
            own = copy.deepcopy(model)
            own = own.to(memory_format=layout) if kind else own
            runs.add("inference", f"{who} {kind}".strip(), server(own, x))
    theirs = saved(models["theirs"], image)
    measured, least = (
        compiler.cost(pair.encoder, batch=pair.batch, **pair.options(), **more).saved
        for more in ({}, {"training_memory": "lean"})
    )
    numbers = [sum(p.numel() for p in model.parameters()) for model in models.values()]
    return runs, {
        "MACs": {"ours": macs(models["ours"], image) / macs(models["theirs"], image)},
        "parameters": {"ours": numbers[0] / numbers[1]},
        "saved bytes of a training step": {
            "ours": measured / theirs,
            "--training-memory lean": least / theirs,
        },
    }


def macs(model, image) -> float:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        model(image)
    return counter.get_total_flops() / 2


def saved(model, image) -> int:
    """Bytes that autograd holds when the forward pass has ended, weights aside."""
    import torch

    found: dict[int, int] = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = model.train()(image)
    own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    assert output is not None
    return sum(size for place, size in found.items() if place not in own)


def keras_runs(pair: Pair, threads: int) -> tuple[Runs, dict[str, dict[str, float]]]:
    import keras
    import numpy as np

    if keras.backend.backend() == "torch":
        import torch

        torch.set_num_threads(threads)
        torch.set_flush_denormal(True)
    text, code = pair.ours()
    models = {"ours": made(code, text), "theirs": made(pair.theirs())}
    models["inference file"] = made(code, pair.ours(deploy=True)[0])
    rng = np.random.default_rng(0)
    image = rng.standard_normal((pair.batch, *pair.shape), "float32")
    shape = (pair.batch, *pair.shape[:-1]) if pair.segmentor else (pair.batch,)
    truth = rng.integers(0, CLASSES, shape)
    runs = Runs()
    for name, model in models.items():
        if name != "inference file":
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            model.compile(keras.optimizers.SGD(1e-3, momentum=0.9), loss)
            runs.add("training step", name, lambda m=model: m.train_on_batch(image, truth))
        runs.add("inference", name, lambda m=model: m.predict_on_batch(image))
    count = [models[name].count_params() for name in ("ours", "theirs")]
    return runs, {"parameters": {"ours": count[0] / count[1]}}


def report(pair: Pair, rows: dict[str, dict[str, float]], backend: str, markdown: bool) -> None:
    title = pair.title + f", Keras on {backend}" * pair.keras
    print(f"\n{title}\n" if markdown else f"\n{title}")
    if markdown:
        print("| ours to theirs | ratio |\n|---|--:|")
    for row, columns in rows.items():
        for name, value in columns.items():
            what = row if name == "ours" else f"{row}, {name.removeprefix('ours ')}"
            print(f"| {what} | {value:.2f} |" if markdown else f"  {what:58}{value:6.2f}")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
