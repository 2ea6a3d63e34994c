"""nnU-Net's plans and checkpoints wherever a name is taken: the commands and the API."""

import json
import os
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import compiler
from compiler import CompileError, CompileWarning
from compiler.commands.cli import main
from compiler.emitter import source
from compiler.nnunet.asked import QUESTIONS
from compiler.passes.validate import resolve
from tests.harness import constructor
from tests.test_nnunet_plans import FIXTURES, ORACLE, TINY, saved

EXPECTED = json.loads((TINY.parent / "expected.json").read_text())
PLANS = str(TINY.parent / "plans.json")
FULL = ["--configuration", "3d_fullres"]


def logits(text, weights):
    """Outputs of an emitted file in float64, on the input of the recipe."""
    model = constructor(text)().double().eval()
    model.load_state_dict({name: value.double() for name, value in load_file(weights).items()})
    noise = np.random.default_rng(0).standard_normal(EXPECTED["input_shape"])
    with torch.no_grad():
        return model(torch.from_numpy(noise.astype(np.float32)).double()).numpy()


def away(found):
    """The largest difference from nnU-Net's own output."""
    expected = EXPECTED["outputs"][0]
    assert list(found.shape) == expected["shape"]
    return np.abs(found.ravel()[:32] - expected["first_32"]).max()


def emitted(checkpoint, folder):
    """The file and the weights of a checkpoint, and nothing else."""
    net, weights = str(folder / "net.py"), str(folder / "net.safetensors")
    assert main(["emit", str(checkpoint), "--target", "torch", "-o", net, "--force"]) == 0
    command = ["convert", str(TINY), "--layout", "nnunet", "--to", "torch", "-o", weights]
    assert main([*command, "--model", net, "--force"]) == 0
    return Path(net).read_text(), weights


def test_a_checkpoint_alone_gives_nnunets_numbers(tmp_path):
    assert away(logits(*emitted(TINY, tmp_path))) < 1e-6


def test_a_plan_that_is_misread_is_seen_in_the_numbers(tmp_path):
    """Planted: the same weights in a network of another slope."""
    plans = json.loads((TINY.parent / "plans.json").read_text())
    kwargs = plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    kwargs["nonlin_kwargs"] = {"negative_slope": 0.02}
    other = saved(tmp_path / "other.pth", plans=plans)
    assert away(logits(*emitted(other, tmp_path))) > 1e-3


def test_a_folder_of_results_is_its_checkpoint(tmp_path):
    folder = tmp_path / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    shutil.copytree(TINY.parent, folder / "fold_0")
    shutil.copy(PLANS, folder)
    texts = {
        source(resolve(path, {}), "torch") for path in (TINY, str(TINY), folder, folder / "fold_0")
    }
    assert len(texts) == 1
    assert compiler.emit(TINY, target="torch") in texts


def test_a_fold_alone_is_named_from_beside_it(tmp_path, monkeypatch):
    """Without plans around, and without a separator in the name."""
    (tmp_path / "fold_0").mkdir()
    shutil.copy(TINY, tmp_path / "fold_0")
    monkeypatch.chdir(tmp_path)
    assert compiler.emit("fold_0", target="torch") == compiler.emit(TINY, target="torch")


@pytest.mark.parametrize("name", [n for n in FIXTURES if "old_configuration" in FIXTURES[n]])
def test_old_plans_are_the_same_text(name, tmp_path, capsys):
    fixture = FIXTURES[name]
    new = {"patch_size": fixture["input_shape"][2:], "architecture": fixture["architecture"]}
    texts = []
    for own in (new, fixture["old_configuration"]):
        (tmp_path / "plans.json").write_text(json.dumps({"configurations": {"3d_fullres": own}}))
        command = ["emit", str(tmp_path / "plans.json"), "--target", "torch", "-o", "-"]
        channels = ["--in-channels", str(fixture["input_channels"])]
        assert main([*command, *channels, "--num-classes", str(fixture["num_classes"])]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] and "class " in texts[0]


def test_options_replace_what_the_plans_say():
    planned = resolve(PLANS, {"configuration": "3d_fullres"})
    assert (planned.input_shape, planned.head.num_classes) == ((12, 48, 40, 2), 2)
    assert planned.encoder.strides == (1, (1, 2, 2), (1, 2, 2), 2)
    asked = {"configuration": "3d_fullres", "num_classes": "5", "input_shape": "8,64,64,3"}
    other = resolve(PLANS, asked)
    assert (other.input_shape, other.head.num_classes) == ((8, 64, 64, 3), 5)
    assert other.encoder == planned.encoder
    assert not planned.head.lower_heads and resolve(TINY, {}).head.lower_heads
    supervised = resolve(TINY, {"deep_supervision": True}).head
    assert (supervised.deep_supervision, supervised.lower_heads) == (True, False)


def test_networks_by_name_are_planned():
    options = {"dims": 3, "input_shape": "20,256,224,1", "spacing": "5,1.56,1.56"}
    made = resolve("nnunet_resenc", options)
    preset = json.loads((ORACLE / "presets.json").read_text())
    kwargs = preset["Dataset901_CardiacLike|nnUNetPlannerResEncL|3d_fullres"]["arch"]["arch_kwargs"]
    plans = {"patch_size": [20, 256, 224], "architecture": {"arch_kwargs": kwargs}}
    assert list(made.encoder.depths) == kwargs["n_blocks_per_stage"]
    assert made.encoder.strides == ((1), (1, 2, 2), 2, 2, (1, 2, 2), (1, 2, 2))
    assert made.encoder.kernels == ((1, 3, 3), 3, 3, 3, 3, 3)
    assert made.input_shape == (*plans["patch_size"], 1)
    patch = {"patch_size": (20, 256, 224), "spacing": (5, 1.56, 1.56), "in_channels": 1}
    assert resolve("nnunet_resenc", patch) == made
    flat = resolve("nnunet_plain", {"patch_size": "512,512", "num_classes": 4})
    assert flat.encoder.filters == (32, 64, 128, 256, 512, 512, 512, 512)
    assert (flat.dims, flat.head.num_classes) == (2, 4)


def test_other_heads_stand_on_the_encoder_of_plans():
    made = resolve(PLANS, {"configuration": "2d", "features_only": True})
    assert type(made.head).__name__ == "Features"


def test_every_command_takes_them(capsys):
    assert main(["show", PLANS, *FULL, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["input_shape"] == [12, 48, 40, 2]
    described = compiler.describe(PLANS, configuration="3d_fullres")
    assert described["divisors"]["P4"] == [2, 8, 8]
    assert main(["verify", str(TINY)]) == 0
    said = capsys.readouterr().out
    assert "34 x 32 x 48" in said  # the usual size, padded to the strides
    assert "output aux 1" in said  # heads that training alone has are compared
    assert main(["verify", PLANS, *FULL, "--size", "33"]) == 2
    assert "must be multiples of 2x8x8" in capsys.readouterr().err
    assert compiler.verify(Path(PLANS), configuration="2d", size=(32, 24)).passed


def test_a_doubtful_trainer_is_a_warning(tmp_path, capsys):
    path = str(saved(tmp_path / "x.pth", trainer_name="MyTrainer"))
    assert main(["emit", path, "--target", "torch", "-o", "-"]) == 0
    said = capsys.readouterr()
    assert said.out == compiler.emit(TINY, target="torch")
    (line,) = said.err.splitlines()
    assert line.startswith(f"warning: {path}: the trainer 'MyTrainer' is not one of nnU-Net's own")
    with pytest.warns(CompileWarning, match="MyTrainer"):
        compiler.emit(path, target="torch")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compiler.emit(TINY, target="torch")


def circular(plans):
    plans["configurations"]["2d"]["inherits_from"] = "3d_fullres"
    plans["configurations"]["3d_fullres"]["inherits_from"] = "2d"


def kwargs_of(plans):
    return plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]


HOSTILE = {
    "a circle": (circular, "inherit in a circle: '3d_fullres' -> '2d' -> '3d_fullres'"),
    "no stride": (lambda p: kwargs_of(p).update(strides=0), "strides[0] is 0"),
    "a stride of 10^9": (lambda p: kwargs_of(p).update(strides=[1, 10**9, 1, 1]), "is 1000000000"),
    "10^6 stages": (lambda p: kwargs_of(p).update(n_stages=10**6), "n_stages is 1000000"),
    "text": (lambda p: kwargs_of(p).update(n_blocks_per_stage="1346"), "is '1346'"),
    "another class": (
        lambda p: p["configurations"]["3d_fullres"]["architecture"].update(
            network_class_name="dynamic_network_architectures.architectures.primus.Primus"
        ),
        "architectures.primus.Primus'",
    ),
    "other axes": (
        lambda p: p["configurations"]["3d_fullres"].update(patch_size=[64, 64]),
        "patch_size is [64, 64], but the network has 3 axes",
    ),
    "an odd patch": (
        lambda p: p["configurations"]["3d_fullres"].update(patch_size=[11, 48, 40]),
        "multiples of 2x8x8",
    ),
    "a huge patch": (
        lambda p: p["configurations"]["3d_fullres"].update(patch_size=[10**9] * 3),
        "above",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_plans_write_nothing(name, tmp_path, capsys):
    change, message = HOSTILE[name]
    plans = json.loads(Path(PLANS).read_text())
    change(plans)
    (tmp_path / "plans.json").write_text(json.dumps(plans))
    shutil.copy(TINY.parent / "dataset.json", tmp_path)
    out = tmp_path / "net.py"
    command = ["emit", str(tmp_path / "plans.json"), *FULL, "--target", "torch", "-o", str(out)]
    assert main(command) == 2
    said = capsys.readouterr()
    assert message in said.err and not said.out and not out.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x.json"], "No such file"),
        (["x.pth"], "No such file"),
        ([PLANS], "there are '2d', '3d_fullres'"),
        ([PLANS, "--configuration", "3d"], "there is no configuration '3d'"),
        ([PLANS, *FULL, "--dataset", "x.json"], "No such file"),
        ([PLANS, *FULL, "--spacing", "1,1,1"], "--spacing plans a network by name"),
        ([PLANS, *FULL, "--dims", "2"], "3"),
        (["resnet18", *FULL], "--configuration is for a plans file of nnU-Net"),
        (["resnet18", "--dataset", "a.json"], "--dataset is for a plans file of nnU-Net"),
        (["resnet18", "--spacing", "1,1"], "--spacing is for nnunet_plain and nnunet_resenc"),
        (["nnunet_plain", "--patch-size", "7,7"], "a patch of 7 x 7 is too small"),
        (["nnunet_plain", "--patch-size", "x"], "--patch-size is 'x'"),
        (["nnunet_plain", "--patch-size", "64,64", "--spacing", "1,1,1"], "has 3 numbers"),
        (["nnunet_plain", "--patch-size", "65,64"], "multiples of"),
        ([str(TINY), "--configuration", "2d"], "it is of the configuration '3d_fullres'"),
        ([str(ORACLE)], "it has neither checkpoints nor plans"),
    ],
)
def test_what_is_wrong_on_the_command_line(arguments, message, capsys):
    assert main(["show", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_spec_has_no_plans(tmp_path, capsys):
    (tmp_path / "net.toml").write_text('encoder = "resnet18"\n')
    assert main(["show", str(tmp_path / "net.toml"), *FULL]) == 2
    assert "--configuration says nothing of a spec" in capsys.readouterr().err


def test_a_folder_hides_no_name(tmp_path, monkeypatch):
    (tmp_path / "resnet18").mkdir()
    monkeypatch.chdir(tmp_path)
    assert resolve("resnet18", {}).encoder.name == "resnet18"
    with pytest.raises(CompileError, match="it has neither checkpoints nor plans"):
        resolve(f"resnet18{os.sep}", {})


def test_questions_are_keywords_and_flags():
    from compiler.keywords import PlansOptions

    assert [*PlansOptions.__annotations__] == [question.name for question in QUESTIONS]
