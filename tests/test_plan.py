"""What fits into a memory: it does run in so much of it, and the next larger choice does not."""

from __future__ import annotations

import json
import subprocess
import sys
from math import prod

import pytest

import compiler
from compiler.commands.cli import main
from compiler.costs import find_memory
from compiler.errors import CompileError
from compiler.passes.fitting import Data, patches_of, training_choice
from compiler.passes.validate import resolve

from .harness import tiny

LIMITED = """
import json, resource, sys, types
import torch

torch.set_num_threads(1)


def train(model, image):
    optimizer = torch.optim.AdamW(model.parameters())
    for _ in range(2):
        model(image).mean().backward()
        optimizer.step()


def infer(model, image):
    with torch.no_grad():
        model.eval()(image)


def run(source, work, shape):
    module = types.ModuleType("emitted")
    exec(source, module.__dict__)
    work(getattr(module, module.__all__[0])(), torch.zeros(shape))


def limit(more):
    pages = int(open("/proc/self/statm").read().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more, -1))


for source, work, small, *choices in json.load(sys.stdin):
    work = {"training": train, "inference": infer}[work]
    run(source, work, small)  # threads and kernels are there from now on
    for memory, shape in choices:
        limit(memory)
        try:
            run(source, work, shape)
            print("runs")
        except (MemoryError, RuntimeError) as error:
            assert "allocate memory" in str(error) or isinstance(error, MemoryError), error
            print("does not")
        resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
"""


DEEP = compiler.custom_encoder(  # whose tensors take much more than a convolution's workspace
    "deep",
    block="basic",
    blocks=(8, 8),
    filters=(8, 8),
    strides=(1, 1),
    stem_filters=(8,),
    stem_kernels=(3,),
    stem_stride=1,
    stem_pool=1,
)
VOLUMES = {"dims": 3, "in_channels": 2, "shape": (64, 64, 64)}
CASES = (  # the first two are planned by patch, the last by batch
    ("training", tiny(), {"segmentor": "unet", "decoder_filters": (8, 8, 8, 8, 8), **VOLUMES}),
    ("inference", tiny(), {"segmentor": "linknet", **VOLUMES}),
    ("training", DEEP, {"input_shape": (256, 256, 2), "features_only": True}),
)


def test_what_fits_runs_and_the_next_larger_does_not():
    """In a process whose address space has the planned memory left.

    A plan that forgot a third of the deep network's tensors would not run.
    """
    cases, expected = [], []
    for work, encoder, options in CASES:
        roomy = compiler.plan(encoder, memory="4GiB", batch=1, **options)
        wanted = getattr(roomy, work)[0].largest
        options = {name: value for name, value in options.items() if name != "shape"}
        batch = {} if "input_shape" in options else {"batch": 1}
        (fit,) = getattr(compiler.plan(encoder, memory=wanted.total, **batch, **options), work)
        assert fit.largest == wanted and fit.next.total > wanted.total
        assert (fit.next.batch, fit.next.patch) == ((1, (96,) * 3) if batch else (2, (256, 256)))
        choices = [(wanted.total, wanted), (wanted.total, fit.next)]
        if encoder == DEEP:
            choices.append((wanted.total - wanted.tensors // 3, wanted))
        expected += ["runs"] + ["does not"] * (len(choices) - 1)
        runs = [(memory, (choice.batch, 2, *choice.patch)) for memory, choice in choices]
        source = compiler.emit(encoder, target="torch", **options)
        cases.append([source, work, (2, 2, *(33 for _ in wanted.patch)), *runs])
    done = subprocess.run(
        [sys.executable, "-c", LIMITED],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        env={"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split("\n")[:-1] == expected


def total(encoder, batch=1, **options):
    cost = compiler.cost(encoder, batch=batch, **options)
    return training_choice(cost, ()).total


@pytest.mark.parametrize(
    ("encoder", "options"),
    [
        (tiny(), {}),
        (tiny(pre_activation=True), {"segmentor": "unet_plus_plus", "checkpointing": True}),
        (tiny(), {"segmentor": "fpn", "norm": "instance"}),
        ("seresnet18", {"segmentor": "trans_unet", "vit_layers": 2}),
        ("nnunet_plain", {}),
    ],
)
def test_a_larger_batch_and_a_larger_patch_take_more(encoder, options):
    model = resolve(encoder, {**options, "input_shape": (64, 64, 3)})
    patches = patches_of(model, Data((256, 224)))
    assert patches[-1] == (256, 224)
    sizes = [total(encoder, **options, input_shape=(*patch, 3)) for patch in patches]
    assert sizes == sorted(set(sizes))
    batches = [total(encoder, batch, **options, input_shape=(64, 64, 3)) for batch in range(1, 7)]
    assert batches == sorted(set(batches))
    plan = compiler.plan(encoder, memory="2GiB", **options, in_channels=3)
    fits = [fit.largest for fit in plan.training]
    assert [choice.batch for choice in fits] == [1, 2, 4, 8]
    volumes = [prod(choice.patch) for choice in fits]
    assert volumes == sorted(volumes, reverse=True)
    for fit in (*plan.training, *plan.inference):
        assert fit.largest.total <= 2 * 2**30 < fit.next.total


def test_patches_have_the_proportions_of_the_data():
    model = resolve("resnet18_unet", {"dims": 3, "strides": "1,2,2/2/2/2/2", "in_channels": 1})
    assert model.divisors[-1] == (16, 32, 32)
    patches = patches_of(model, Data((40, 512, 512), (5.0, 0.8, 0.8)))
    assert patches[0] == (32, 64, 64) and patches[-1] == (48, 512, 512)  # which covers the data
    assert all(patch[1] == patch[2] for patch in patches)
    # An axis is 32 voxels or reaches as far as the others, but for one step of the divisor.
    for depth, height, _ in patches[6:-8]:
        assert depth in (32, 48) and (depth == 48 or (height - 32) * 0.8 <= depth * 5)
    assert patches_of(model)[:2] == [(32, 64, 64), (48, 96, 96)]
    flat = patches_of(model, Data((40, 512, 256)))
    assert flat[-1] == (48, 512, 256)
    narrow = [patch for patch in flat if patch[1] >= 256]
    assert all(patch[1] >= 1.5 * patch[2] for patch in narrow)


@pytest.mark.parametrize(
    ("text", "size"),
    [("24GiB", 24 * 2**30), ("24G", 24 * 2**30), ("16 gb", 16 * 10**9), ("1.5MiB", 1572864)]
    + [(2**40, 2**40), ("1048576", 2**20), ("12g", 12 * 2**30)],
)
def test_memory_is_read_as_people_write_it(text, size):
    assert find_memory(text) == size


@pytest.mark.parametrize("text", ["", "24 apples", "-1GiB", "24", "1e3G", None, 2.5, "9999TB", 10])
def test_what_is_no_memory_is_an_error(text):
    with pytest.raises(CompileError, match="--memory"):
        find_memory(text)


def test_what_is_wrong_with_a_plan_is_said_at_once():
    with pytest.raises(CompileError) as caught:
        compiler.plan("resnet18", memory="much", shape=(2, -3), spacing="0,1", num_classes=0)
    assert len(caught.value.problems) == 4
    for options, message in (
        ({"shape": (64, 64, 64)}, "--shape has 3 axes, but ResNet-18 has 2"),
        ({"shape": (64, 64), "input_shape": (64, 64, 3)}, "the patch is given"),
    ):
        with pytest.raises(CompileError, match=message):
            compiler.plan("resnet18", memory="1GiB", **options)


def test_memory_is_the_machines_here_and_that_of_training_elsewhere(capsys):
    def said(*words):
        assert main(list(words)) == 0
        return capsys.readouterr().out

    emit = ("emit", "resnet18", "--target", "torch", "-o", "-")
    lean = said(*emit, "--training-memory", "lean")
    assert said(*emit, "--memory", "lean") == lean != said(*emit)
    plan = ("plan", "resnet18", "--memory", "1GiB", "--input-shape", "224,224,3", "--json")
    assert said(*plan, "--training-memory", "lean") != said(*plan)


def test_where_nothing_fits_the_smallest_choice_is_shown(capsys):
    assert main(["plan", "resnet50", "--memory", "64MiB", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    (row,) = plan["training"]
    assert row["largest"] is None and row["next"]["patch"] == [64, 64]
    assert row["next"]["total"] > plan["memory"] == 64 * 2**20
    assert main(["plan", "resnet50", "--memory", "64MiB"]) == 0
    printed = capsys.readouterr().out
    assert "does not fit" in printed and "multiples of 32 x 32" in printed


def test_an_inference_file_is_planned_for_inference():
    plan = compiler.plan("resnet18", memory="1GiB", deploy=True, batch=16)
    assert not plan.training
    (fit,) = plan.inference
    assert fit.largest.batch == 16 and fit.largest.gradients == fit.largest.saved == 0


def test_nnunets_network_is_planned_for_its_patch(capsys):
    words = ["plan", "nnunet_plain", "--dims", "3", "--patch-size", "32,96,96", "--memory", "8G"]
    assert main([*words, "--spacing", "3,1,1", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    largest = plan["training"][0]["largest"]
    assert largest["patch"] == [32, 96, 96] and largest["batch"] > 2
