"""What an inference file saves: one network as its training file and as its inference file.

    python benchmarks/deploy.py
    python benchmarks/deploy.py resnet18 --segmentor unet --dims 2 --size 256
    python benchmarks/deploy.py --target keras

Prints the time of a forward pass in ratios to the training file, which are what a machine with
other work on it can measure: in each round every variant runs once, in turn, and the median is
over the rounds' ratios. "Folded" is an inference file without the fused upsampling.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from compiler.api import traced
from compiler.emitter import source
from compiler.passes.validate import resolve
from compiler.targets.runtime import runtime_of
from compiler.verify.loading import Source
from compiler.verify.parity import image, ledger_shapes, random_values
from compiler.weights.deployed import fold_weights


def main() -> None:
    asked = arguments()
    model = resolve(asked.encoder, options(asked))
    runtime = runtime_of(asked.target)
    runtime.prepare(asked.backend)
    networks = {"training file": built(runtime, model, asked)}
    networks["folded"] = built(runtime, deployed(model, "no"), asked)
    networks["folded and fused"] = built(runtime, deployed(model, "yes"), asked)
    x = image(model.input_shape, asked.batch).astype("float32")
    runs = {name: runner(asked, network, x) for name, network in networks.items()}
    if asked.target == "torch":
        for name, network in list(networks.items()):
            runs[f"{name}, channels last"] = runner(asked, network, x, channels_last=True)
    report(asked, model, measured(runs, asked))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("encoder", nargs="?", default="resnext50")
    parser.add_argument("--segmentor", default="unet")
    parser.add_argument("--dims", type=int, default=3)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--cpu-time", action="store_true")
    parser.add_argument("--target", default="torch")
    parser.add_argument("--backend", default="torch", help="of Keras")
    return parser.parse_args()


def options(asked: argparse.Namespace) -> dict[str, object]:
    shape = (*(asked.size,) * asked.dims, 1)
    segmentor = {"segmentor": asked.segmentor} if asked.segmentor else {}
    return {"dims": asked.dims, "input_shape": shape, "channels_last": True, **segmentor}


def deployed(model, fuse: str):
    return resolve(model.encoder, options(arguments()) | {"deploy": True, "fuse": fuse})


def built(runtime, model, asked):
    """The network of a model, with random weights that are those of the training file."""
    training, ledger = traced(model.training)[1], traced(model)[1]
    values = dict(random_values(ledger_shapes(training), 0))
    if model.deploy:
        reads = {name: (lambda value=value: value) for name, value in values.items()}
        folded = fold_weights(model, reads, ledger_shapes(ledger))
        values = {name: read() for name, read in folded.items()}
    with runtime.computing("float32"):
        network = runtime.build(Source(source(model, asked.target)), model, "float32")
    runtime.assign(network, ledger, values)
    return network


def runner(asked, network, x, channels_last: bool = False):
    """A function that runs the network once."""
    if asked.target == "keras":
        return lambda: network.predict_on_batch(x)
    import copy

    import torch

    torch.set_flush_denormal(True)
    network = copy.deepcopy(network).eval() if channels_last else network.eval()
    image = torch.from_numpy(x).movedim(-1, 1).contiguous()
    if channels_last:
        layout = torch.channels_last_3d if asked.dims == 3 else torch.channels_last
        network, image = network.to(memory_format=layout), image.to(memory_format=layout)

    def run():
        with torch.inference_mode():
            return network(image)

    return run


def measured(runs, asked) -> dict[str, list[float]]:
    """Seconds of each variant, round by round; the first round is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    clock = time.process_time if asked.cpu_time else time.perf_counter
    for i in range(asked.rounds + 1):
        for name, run in runs.items():
            start = clock()
            run()
            if i:
                seconds[name].append(clock() - start)
    return seconds


def report(asked, model, seconds: dict[str, list[float]]) -> None:
    first = next(iter(seconds))
    threads = os.environ.get("OMP_NUM_THREADS", "as many as there are")
    size = "x".join(map(str, model.input_shape[:-1]))
    where = f", Keras on {asked.backend}" if asked.target == "keras" else ""
    print(f"{model.title}, {size}, batch {asked.batch}, {asked.target}{where}")
    print(f"{platform.machine()}, {os.cpu_count()} cores, {threads} threads, {asked.rounds} rounds")
    for name, times in seconds.items():
        ratios = [own / base for own, base in zip(times, seconds[first], strict=True)]
        median, least, most = statistics.median(ratios), min(ratios), max(ratios)
        print(f"{name:34}{median:6.2f}  ({least:.2f} to {most:.2f})  {min(times):8.3f} s at best")


if __name__ == "__main__":
    main()
