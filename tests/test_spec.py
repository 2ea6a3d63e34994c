"""Spec files: every network of the catalog can be said in one, and everything wrong has a line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import compiler
from compiler.catalog import ENCODERS
from compiler.commands.cli import main
from compiler.errors import CompileError
from compiler.limits import BLOCKS
from compiler.options import OPTIONS
from compiler.passes.validate import resolve
from compiler.provenance import read
from compiler.spec.definition import Spec, place
from compiler.spec.writing import spec_text
from compiler.vendoring.request import model_of

from .sampling import ANYWHERE

ROOT = Path(__file__).parents[1]
HEADS = [{}, {"features_only": True}, *({"segmentor": name} for name in ANYWHERE)]
TINY = """\
name = "tiny"
input_shape = [32, 32, 32, 2]
block = "bottleneck"
groups = 4
stages = [
    { depth = 1, width = 8, channels = 16 },
    { depth = 2, width = 12, channels = 30 },
]
[stem]
filters = [8]
kernels = [3]
"""


@pytest.fixture
def spec(tmp_path):
    """Write a text as a spec. Returns its path."""

    def write(text, name="net.toml"):
        path = tmp_path / name
        path.write_text(text) if isinstance(text, str) else path.write_bytes(text)
        return path

    return write


@pytest.fixture
def wrong(spec, tmp_path, monkeypatch):
    """What is said about a spec, as `net.toml` in the working folder."""

    def said(text, **options):
        spec(text)
        monkeypatch.chdir(tmp_path)
        with pytest.raises(CompileError) as error:
            compiler.describe("net.toml", **options)
        return str(error.value).splitlines()

    return said


# -- the catalog -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ENCODERS)
def test_every_network_of_the_catalog_can_be_said(name, spec):
    """The model is the same, so that every text is: it is a function of the model."""
    for dims in (2, 3):
        for head in HEADS:
            model = resolve(name, {"dims": dims, **head})
            assert resolve(spec(spec_text(model)), {}) == model


@pytest.mark.parametrize(
    "options",
    [
        {"dialect": "cadene", "se_ratio": 8, "se_activation": "silu", "input_shape": (48, 64, 1)},
        {"features_only": True, "pooling": "max", "include_rescaling": True, "in_channels": 1},
        {"input_shape": (3, 64, 64), "channels_last": True, "classifier_activation": "softmax"},
        {
            "segmentor": "unet_plus_plus",
            "dims": 3,
            "encoder_depth": 3,
            "decoder_filters": (9, 6, 3),
            "decoder_block": "transpose",
            "decoder_normalization": "group",
            "decoder_activation": "gelu",
            "compat": "medicai",
        },
        {"strides": "1,2,2/2,2,2/2/2/1,2,2", "kernels": "1,3,3/3/3/3/1,3,3", "dims": 3},
        {"segmentor": "trans_unet", "vit_layers": 2, "queries": 4, "dropout": 0.25},
        {"segmentor": "fpn", "pyramid_channels": 64, "dropout": 0.0, "num_classes": 4},
    ],
)
def test_every_option_can_be_said(options, spec):
    model = resolve("seresnext50", options)
    assert resolve(spec(spec_text(model)), {}) == model


@pytest.mark.parametrize("target", ["torch", "keras"])
@pytest.mark.parametrize("words", [["resnet18", "--dims", "3"], ["seresnext50_unet"]])
def test_new_then_emit_is_the_text_of_the_name(words, target, tmp_path, capsys):
    path = str(tmp_path / "net.toml")
    assert main(["new", *words, "-o", path]) == 0
    assert main(["emit", path, "--target", target, "-o", str(tmp_path / "a.py")]) == 0
    assert main(["emit", *words, "--target", target, "-o", str(tmp_path / "b.py")]) == 0
    assert (tmp_path / "a.py").read_text() == (tmp_path / "b.py").read_text()
    assert "error" not in capsys.readouterr().err


def test_a_custom_encoder_can_be_said(spec):
    encoder = compiler.custom_encoder(
        "mine",
        blocks=(1, 2),
        filters=(8, 16),
        strides=(2, 1),
        stem_filters=(8, 9),
        stem_kernels=(5, 3),
        pre_activation=True,
        groups=4,
        widths=(12, 20),
        channels=(30, 50),
        se_ratio=4,
    )
    emitted = compiler.emit(spec(spec_text(resolve(encoder, {"dims": 3}))), target="torch")
    model = resolve(encoder, {"dims": 3})
    assert (
        compiler.describe(encoder, dims=3)["ledger"]
        == compiler.describe(spec(spec_text(model)))["ledger"]
    )
    assert "widths=(12, 20)" in emitted and "channels=(30, 50)" in emitted


# -- extends, options beside a spec ----------------------------------------------------------------


def test_extends_changes_only_what_differs(spec):
    same = resolve(spec('extends = "seresnext50"'), {})
    assert same == resolve("seresnext50", {})
    text = 'extends = "seresnext50"\nstages = [{}, {}, {depth = 9}, {channels = 64}]\nse = false'
    encoder = resolve(spec(text), {}).encoder
    assert encoder.name == "seresnext50_custom" and encoder.custom and encoder.se is None
    assert encoder.depths == (3, 4, 9, 3) and encoder.groups == 32
    assert encoder.stage_channels == (256, 512, 1024, 64)
    assert encoder.stage_widths == (128, 256, 512, 32)
    ratio = resolve(spec('extends = "seresnext50"\n[se]\nratio = 8'), {})
    assert ratio == resolve("seresnext50", {"se_ratio": 8})


def test_the_gate_has_a_position_and_a_divisor_of_its_own(spec):
    """Numbers of the ledger: 30 channels by 4 are 7, and 8 as a multiple of 8."""
    text = TINY + '[se]\nratio = 4\nposition = "after_norm"\ndivisor = 8\n'
    own = compiler.emit(spec(text), target="torch")
    assert "max(8, (channels // SE_RATIO + 4) // 8 * 8)" in own
    timm = compiler.emit(spec('dialect = "timm"\n' + TINY + "[se]\nratio = 4\n"), target="torch")
    (body,) = (line for line in timm.splitlines() if "self.se(" in line)
    assert body in own and body not in compiler.emit(spec(TINY + "[se]"), target="torch")
    facts = compiler.describe(spec(text))
    (weights,) = (
        r["weights"] for r in facts["ledger"] if r["path"].endswith("stages.1.0.se.conv1")
    )
    assert next(iter(weights.values()))[:2] == [8, 30]
    same = spec('extends = "seresnet50d"\n[se]\nposition = "after_norm"\ndivisor = 8')
    assert resolve(same, {}) == resolve("seresnet50d", {})
    with pytest.raises(CompileError, match="the dialect timm says where the gate stands"):
        resolve(spec('extends = "seresnet50d"\n[se]\nposition = "before_norm"'), {})
    encoder = resolve(spec(text), {}).encoder
    assert resolve(spec(spec_text(resolve(encoder, {}))), {}).encoder == encoder


def test_options_replace_those_of_the_spec(spec):
    path = spec(spec_text(resolve("seresnet18_unet", {"dims": 3, "decoder_filters": "9,8,7,6,5"})))
    model = resolve(path, {"num_classes": "4", "in_channels": "1", "se_ratio": 8})
    assert model.head.num_classes == 4 and model.input_shape == (96, 96, 96, 1)
    assert model.head.decoder_filters == (9, 8, 7, 6, 5) and model.encoder.se.ratio == 8
    assert resolve(path, {"dims": 2}).input_shape == (224, 224, 4)
    assert resolve(path, {"input_shape": "32,40,48,2"}).input_shape == (32, 40, 48, 2)
    other = resolve(path, {"segmentor": "fpn", "num_classes": 3}).head
    assert other == resolve("seresnet18_fpn", {"num_classes": 3, "dims": 3}).head
    features = resolve(path, {"features_only": True, "pooling": "avg"})
    assert features == resolve("seresnet18", {"features_only": True, "pooling": "avg", "dims": 3})


def test_a_spec_is_taken_wherever_a_name_is(spec, tmp_path, capsys):
    path = spec(TINY)
    facts = compiler.describe(path)
    assert facts["pyramid"]["P3"] == [4, 4, 4, 30]
    assert main(["show", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == facts
    assert main(["emit", str(path), "--target", "torch", "-o", str(tmp_path / "t.py")]) == 0
    path.unlink()  # the file alone can be checked
    assert main(["check", str(tmp_path / "t.py")]) == 0


def test_new_takes_a_spec_and_an_emitted_file(spec, tmp_path, capsys):
    path, emitted = spec(TINY), tmp_path / "t.py"
    emitted.write_text(compiler.emit(path, target="keras", num_classes=7))
    for source, words in ((path, ["--num-classes", "7"]), (emitted, [])):
        again = tmp_path / f"{source.suffix[1:]}.toml"
        assert main(["new", str(source), *words, "-o", str(again)]) == 0
        assert resolve(again, {}) == resolve(path, {"num_classes": 7})
    capsys.readouterr()
    assert main(["new", "resnet18"]) == 0
    assert capsys.readouterr().out == spec_text(resolve("resnet18", {}))


def test_new_keeps_what_is_there(spec, tmp_path, capsys):
    path = spec("mine")
    edited = tmp_path / "own.py"
    edited.write_text("x = 1")
    for words, message in {
        ("resnet18", "-o", str(path)): "exists",
        ("resnet18", "-o", str(tmp_path / "net")): "has no suffix .toml",
        ("resnet18", "-o", str(tmp_path / "no" / "net.toml")): "there is no folder",
        (str(edited),): "it has no provenance of plainnet at its end",
        ("resnet1", "-o", str(path)): "unknown encoder 'resnet1'",
    }.items():
        assert main(["new", *words]) == 2
        assert message in capsys.readouterr().err
    assert path.read_text() == "mine"
    assert main(["new", "resnet18", "-o", str(path), "--force"]) == 0


def test_the_schema_knows_what_the_reader_knows(capsys):
    assert main(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    tables = schema["$defs"]
    assert tables["Spec"]["properties"].keys() == {*Spec.__struct_fields__}
    for table in tables.values():
        assert table["additionalProperties"] is False
        for key in table["properties"].values():
            assert "description" in key or "$ref" in str(key)
    assert tables["Stage"]["properties"]["depth"]["maximum"] == BLOCKS.largest
    assert set(tables["Head"]["properties"]["activation"]["enum"]) == {"none", "sigmoid", "softmax"}
    said = json.dumps(schema)
    for option in OPTIONS:
        *outer, key = place(option)
        table = {"se": "SqueezeExcite"}.get(*outer, outer[0].title()) if outer else "Spec"
        assert key in tables[table]["properties"], option.name
        assert option.flag not in said


def test_the_page_is_current(capsys):
    """`plainnet schema --markdown > docs/spec.md` writes it again."""
    assert main(["schema", "--markdown"]) == 0
    assert capsys.readouterr().out == (ROOT / "docs/spec.md").read_text()


def test_a_file_of_the_version_before_specs_is_still_read(tmp_path):
    """Its encoder was made in Python, and its command is a call."""
    old = (ROOT / "tests/oracle/custom_encoder_0.1.0.txt").read_text()
    (tmp_path / "tiny.py").write_text(old)
    assert main(["new", str(tmp_path / "tiny.py"), "-o", str(tmp_path / "net.toml")]) == 0
    encoder = compiler.custom_encoder(
        "tiny",
        blocks=(1, 2),
        filters=(8, 16),
        strides=(1, 2),
        stem_filters=(8,),
        stem_kernels=(3,),
        groups=4,
        width_per_group=32,
        se_ratio=4,
        se_activation="silu",
    )
    expected = resolve(encoder, {"dims": 3, "num_classes": 2, "in_channels": 1})
    (verdict,) = compiler.check(tmp_path / "tiny.py")
    assert verdict.state in ("clean", "stale")
    assert model_of(read(old)) == (expected, "torch")
    described = compiler.describe(tmp_path / "net.toml")
    assert described == compiler.describe(encoder, dims=3, num_classes=2, in_channels=1)


THIN = ROOT / "examples/thin_slice.toml"


def test_the_example_trains_a_step_in_torch():
    import torch

    scope = {}
    exec(compiler.emit(THIN, target="torch"), scope)
    torch.manual_seed(0)
    model = scope["ThinSliceUNet"]()
    optimizer = torch.optim.SGD(model.parameters(), 1e-2)
    image, classes = torch.rand(1, 1, 4, 32, 32), torch.randint(3, (1, 4, 32, 32))
    losses = []
    for _ in range(2):
        losses.append(torch.nn.functional.cross_entropy(model(image), classes))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[1] < losses[0]


def test_the_example_trains_a_step_in_keras():
    import keras
    import numpy as np

    scope = {}
    exec(compiler.emit(THIN, target="keras"), scope)
    keras.utils.set_random_seed(0)
    (build,) = (make for name, make in scope.items() if name.lower() == "thinsliceunet")
    model = build((4, 32, 32, 1))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(1e-2), loss)
    batch = np.random.rand(1, 4, 32, 32, 1), np.random.randint(3, size=(1, 4, 32, 32))
    first, second = (float(model.train_on_batch(*batch)) for _ in range(2))
    assert second < first


def test_verify_and_convert_take_a_spec(spec, tmp_path):
    import torch

    path = spec(TINY.replace("input_shape = [32, 32, 32, 2]", "dims = 2\nin_channels = 2"))
    report = compiler.verify(path, size=16)
    assert report.passed
    scope = {}
    exec(compiler.emit(path, target="torch"), scope)
    torch.save(scope["Tiny"]().state_dict(), tmp_path / "w.pt")
    done = compiler.convert(tmp_path / "w.pt", tmp_path / "w.safetensors", path)
    weights = [name for name in scope["Tiny"]().state_dict() if "num_batches" not in name]
    assert done.target == "torch" and done.tensors == len(weights)


# -- what is wrong ---------------------------------------------------------------------------------


def test_all_problems_of_a_file_with_their_lines(wrong):
    text = (
        TINY.replace("groups = 4", "groups = 32\ngrops = 3")
        .replace("width = 12", "width = 48")
        .replace("depth = 1", "depth = true")
        .replace("width = 8,", "width = 32,")
        .replace("kernels = [3]", "kernels = [4]")
    )
    said = wrong(text + '[se]\nratio = 0\n[segmentor]\nname = "unett"\nheads = 2\n')
    assert [line for line in said if not line.startswith("  hint")] == [
        "error: unknown key 'grops'. Did you mean 'groups'?",
        "  at   net.toml:5, grops",
        "error: depth is true",
        "  at   net.toml:7, stages[0].depth",
        "error: groups=32 does not divide the width 48",
        "  at   net.toml:8, stages[1].width",
        "error: stem.kernels has 4, which is even: it cannot be padded alike on both sides",
        "  at   net.toml:12, stem.kernels[0]",
        "error: ratio is 0",
        "  at   net.toml:14, se.ratio",
        "error: name is 'unett'. Did you mean 'unet' or 'nnunet'?",
        "  at   net.toml:16, segmentor.name",
    ]
    assert "  hint use 32 or 64, or groups=16" in said


WRONG = {
    "": ("name is missing", "net.toml, name"),
    'name = "n"': ("stages is missing", "net.toml, stages"),
    "name = ": ("it is not valid TOML: invalid value", "net.toml"),
    "a = 1\na = 2\n": ("it is not valid TOML: cannot overwrite a value", "net.toml:2"),
    "x = " + "9" * 5000: ("it is not valid TOML: Exceeds the limit", "net.toml"),
    "x = " + "[" * 20000: ("its tables and lists nest too deeply", "net.toml"),
    'extends = "seresnext5"': ("extends is 'seresnext5'. Did you mean", "net.toml:1, extends"),
    'extends = "resnet18"\ngroups = 4': ("basic blocks have no groups", "net.toml:2, groups"),
    'extends = "resnet18"\nstages = [{width = 8}]': (
        "the blocks of a basic encoder have one width, but width=8 and channels=64",
        "net.toml:2, stages[0].width",
    ),
    'name = "é"\nextends = "resnet18"': ("name 'é' cannot name a class", "net.toml:1, name"),
    'extends = "resnet18"\ninput_shape = [1, 2]': ("input_shape is [1, 2]", "net.toml:2"),
    'extends = "resnet18"\ndims = 3\ninput_shape = [8, 8, 1]': (
        "input_shape 8,8,1 has 3 numbers, but a 3D network takes 3 sizes plus channels",
        "net.toml:3, input_shape",
    ),
    'extends = "resnet18"\nse.ratio = 4096': ("se.ratio 4096 is larger than any", "net.toml:2"),
    'extends = "resnet18"\ndialect = "cadene"': ("resnet18 does not exist in", "net.toml:2, dial"),
    'extends = "resnet18"\n[segmentor]\nheads = 3': (
        "the segmentor has no name",
        "net.toml:2, seg",
    ),
    'extends = "resnet18"\n[segmentor]\nname = "fpn"\ndropout = nan': (
        "dropout is nan",
        "net.toml:4",
    ),
    'extends = "resnet18"\nstages = 1979-05-27': ("stages is datetime.date(1979", "net.toml:2"),
    'extends = "resnet50"\nwidth_per_group = 32\nstages = [{width = 64}]': (
        "width=64, but groups=1 and width_per_group=32 make 32",
        "net.toml:3, stages[0].width",
    ),
    'name = "n"\nstages = [{depth = 1000, channels = 8}, {depth = 1000, channels = 8}, '
    "{depth = 1, channels = 8}]": ("the sum of blocks is 2,001, above", "net.toml:2, stages"),
    'extends = "resnet18"\ndims = 3\nstages = [{stride = [1, 2]}, {}, {}, {}]': (
        "1,2 has 2 axes, but the network is 3D",
        "net.toml:3, stages[0].stride",
    ),
    'extends = "resnet18"\nstages = [{}, {stride = 3}, {}, {}]\nsegmentor.name = "unet"': (
        "stage 1 of resnet18 makes P3 3 times smaller than P2, but unet upsamples by 1 or 2",
        "net.toml:2, stages[1].stride",
    ),
    'extends = "resnet18"\nstages = [{}]\nsegmentor.name = "unet"': (
        "resnet18_custom ends at P2, but unet at depth 3 needs P1..P3",
        "net.toml:2, stages",
    ),
    'extends = "resnet18"\ninput_shape = [3, 224, 224]': (
        "input_shape 3,224,224 has two readings",
        "net.toml:2, input_shape",
    ),
    'extends = "seresnet50v2"\nse.position = "after_norm"': (
        "pre-activation blocks end with a convolution, so that no norm comes before a gate",
        "net.toml:2, se.position",
    ),
    'extends = "resnet18"\ninput_shape = [1048576, 1048576, 1]': (
        "the product of the sizes of input_shape is 1,099,511,627,776, above the limit",
        "net.toml:2, input_shape",
    ),
}


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_wrong(text, wrong):
    said = wrong(text)
    message, at = WRONG[text]
    assert said[0].startswith(f"error: {message}"), said
    assert said[1].startswith(f"  at   {at}"), said


def test_a_wrong_option_beside_a_spec_is_not_placed_in_it(wrong):
    said = wrong('extends = "seresnet18"\n[se]\nratio = 4', se_ratio=4096)
    assert said[0].startswith("error: --se-ratio 4096") and not said[1].startswith("  at")


def test_a_catalog_emission_imports_nothing_for_specs():
    code = (
        "import sys; from compiler.commands.cli import main;"
        "main(['emit', 'seresnext50', '--target', 'torch', '-o', '-']);"
        "sys.exit(any(name in sys.modules for name in ('msgspec', 'compiler.spec.loading')))"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE).returncode == 0
