"""Advice about networks: its figures are the network's, and it is silent where all is well."""

from __future__ import annotations

import json

import pytest
import torch

import compiler
from compiler.commands.cli import main
from compiler.errors import CompileError
from compiler.passes.fields import receptive_field
from compiler.passes.lint import KINDS
from compiler.passes.specialize import specialize
from compiler.passes.validate import resolve

from .harness import ledger_of, load, tiny

PLAIN = {"name": "nn", "block": "plain", "blocks": (2, 1, 2), "filters": (4, 4, 4)}


def seen(encoder, options):
    """How many positions of the image the value in the middle of the deepest level depends on."""
    module = load(compiler.emit(encoder, target="torch", **options))
    model = getattr(module, module.__all__[0])().double().eval()
    *sizes, channels = options["input_shape"]
    image = torch.rand(1, channels, *sizes, dtype=torch.float64, requires_grad=True)
    level = list(model.pyramid(image).values())[-1]
    middle = tuple(size // 2 for size in level.shape[2:])
    level[(0, slice(None), *middle)].sum().backward()
    places = image.grad.abs().sum((0, 1)).nonzero()
    return tuple((places.max(0).values - places.min(0).values + 1).tolist())


@pytest.mark.parametrize(
    ("encoder", "options"),
    [
        (tiny(stem_pool=1, se_ratio=None), {"input_shape": (300, 200, 3)}),
        (tiny(stem_pool=1, se_ratio=None, block="basic_vd"), {"input_shape": (300, 300, 3)}),
        (tiny(stem_pool=1, se_ratio=None, pre_activation=True), {"input_shape": (300, 300, 3)}),
        (
            tiny(stem_pool=1, se_ratio=None),
            {"input_shape": (96, 200, 1), "strides": "1,2/1,1/2/2/1", "kernels": "3,5/3/1,3/3/3"},
        ),
        (
            compiler.custom_encoder(**PLAIN, strides=(1, 2, (2, 1, 2))),
            {"dims": 3, "input_shape": (64, 64, 64, 1), "segmentor": "nnunet", "norm": "batch"},
        ),
    ],
)
def test_receptive_fields_are_where_gradients_reach(encoder, options):
    """In a network without pools and gates, and with an activation that is never flat."""
    options = {**options, "activation": "tanh"}
    field = receptive_field(specialize(resolve(encoder, options)))
    assert field == seen(encoder, options)
    assert max(field) < min(options["input_shape"][:-1])  # which the image does not cut


def test_receptive_fields_of_published_networks():
    """Of torchvision's, as Araujo et al. count them (Distill 2019), with the stride in the 3x3."""
    fields = {"resnet18": 435, "resnet34": 899, "resnet50": 427, "resnet101": 971}
    for name, field in fields.items():
        assert receptive_field(specialize(resolve(name, {}))) == (field, field)


def kinds(encoder, **options):
    return {note.kind: note for note in compiler.lint(encoder, **options)}


def test_a_network_without_faults_gets_no_advice():
    assert compiler.lint("resnet50_unet", dims=3) == ()
    assert "sizes" not in kinds("resnet50", input_shape=(224, 224, 3))


def test_steps_with_most_of_something():
    note = kinds("resnet18_unet", dims=3)["share"]
    ledger = ledger_of("resnet18", segmentor="unet", dims=3)
    assert note.steps == ("stage 3",) and "58% of the parameters and " in note.message
    assert note.hint == "--encoder-depth 4 leaves it out."
    assert ledger.encoder[-1].name == "stage 3"
    assert kinds("resnet18")["share"].hint == ""  # which a classifier needs


def test_sizes_that_levels_do_not_divide():
    notes = compiler.lint("resnet18_unet", input_shape=(47, 100, 3))
    note, other = [note for note in notes if note.kind == "sizes"]
    assert other.message.startswith("W is 100, not a multiple of 32: the levels have 50, 25, 13, 7")
    assert note.message.startswith("H is 47, not a multiple of 32: the levels have 24, 12, 6, 3, 2")
    assert "cover 64" in note.message and note.hint.startswith("32 or 64")
    (both,) = [n for n in compiler.lint("resnet18", input_shape=(40, 40, 3)) if n.kind == "sizes"]
    assert both.message.startswith("H and W are 40")


def test_a_decoder_wider_than_its_encoder():
    assert "decoder" not in kinds("resnet18_unet")
    note = kinds("resnet18_unet", decoder_filters=(256, 128, 128, 64, 16))["decoder"]
    assert note.steps == ("block 2",) and "128 channels and P2 64" in note.message
    assert "decoder" in kinds("resnet18_unet_plus_plus", compat="medicai")


def test_a_receptive_field_smaller_than_the_image():
    note = kinds("resnet18", input_shape=(512, 256, 3))["field"]
    assert note.message.endswith("435 of 512 pixels along H.") and note.steps == ("stage 3",)
    assert "field" not in kinds("resnet18_trans_unet", input_shape=(512, 512, 3))


def test_warnings_are_notes_too():
    note = kinds("resnet18", input_shape=(32, 32, 3))["warning"]
    assert "P5 is a single pixel" in note.message
    assert set(kinds("resnet18_unet", input_shape=(20, 600, 3))) <= {*KINDS}


def test_commands_print_the_same_notes(capsys):
    words = ["resnet18", "--input-shape", "512,100,3"]
    notes = compiler.lint("resnet18", input_shape=(512, 100, 3))
    assert main(["lint", *words]) == 0
    assert capsys.readouterr().out == "".join(f"Advice: {note}\n" for note in notes)
    assert main(["lint", *words, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [note["message"] for note in printed] == [note.message for note in notes]
    assert main(["show", *words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["notes"] == printed
    assert main(["show", *words]) == 0
    assert all(f"Advice: {note}\n" in capsys.readouterr().out for note in notes[:1])
    plan = compiler.plan("resnet18", memory="4GiB", input_shape=(512, 100, 3))
    assert plan.notes == notes
    with pytest.raises(CompileError):
        compiler.lint("resnet18", input_shape=(512, 100))
