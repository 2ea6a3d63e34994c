"""What every emitted file keeps, of whatever kind: line length, whole references, plain words."""

from __future__ import annotations

import ast
import itertools
import re
import subprocess
import sys
from functools import cache

import black
import pytest

from compiler.api import custom_encoder, emit
from compiler.errors import CompileError
from compiler.layout import broken
from compiler.segmentors import SEGMENTORS
from compiler.targets import TARGETS, target_named

SHAPES = {2: (64, 64, 1), 3: (40, 33, 32, 1)}
ALL = {  # options that each add lines
    "encoder": "seresnet50d",
    "num_classes": 3,
    "classifier_activation": "softmax",
    "include_rescaling": True,
    "norm": "layer",
    "activation": "leaky_relu",
    "decoder_block": "transpose",
    "strides": "2/2/2/1/2",
    "drop_path": 0.1,
}
KINDS: dict[str, dict[str, object]] = {
    "classifier": {},
    "basic_vd": {"encoder": "resnet18d", "dialect": "timm"},
    "softmax": {"encoder": "resnet50", "classifier_activation": "softmax", "num_classes": 5},
    "grouped": {"encoder": "seresnext50", "dialect": "cadene"},
    "timm": {"encoder": "seresnext50d_32x4d", "dialect": "timm", "se_activation": "hard_swish"},
    "pre_activation": {"encoder": "seresnet50v2", "include_rescaling": True},
    "features": {"encoder": "resnet50v2", "features_only": True},
    "pooled": {"features_only": True, "pooling": "max"},
    "unet": {"segmentor": "unet"},
    "unet_transposed": {"segmentor": "unet", "decoder_block": "transpose"},
    "unet_layer": {"segmentor": "unet", "decoder_normalization": "layer"},
    "unet_group": {"segmentor": "unet", "decoder_normalization": "group", "encoder_depth": 3},
    "unet_instance": {"segmentor": "unet", "decoder_normalization": "instance"},
    "unet_none": {"segmentor": "unet", "decoder_normalization": "none"},
    "unet_sigmoid": {"segmentor": "unet", "classifier_activation": "sigmoid"},
    "unet_plus_plus": {"segmentor": "unet_plus_plus"},
    "unet_plus_plus_transposed": {"segmentor": "unet_plus_plus", "decoder_block": "transpose"},
    "unet_plus_plus_medicai": {"segmentor": "unet_plus_plus", "compat": "medicai"},
    "attention_unet": {"segmentor": "attention_unet"},
    "attention_unet_transposed": {"segmentor": "attention_unet", "decoder_block": "transpose"},
    "attention_unet_cadene": {
        "encoder": "seresnet50",
        "segmentor": "attention_unet",
        "dialect": "cadene",
    },
    "fpn": {"segmentor": "fpn", "num_classes": 3},
    "fpn_shallow": {"segmentor": "fpn", "encoder_depth": 3, "dialect": "timm"},
    "linknet": {"segmentor": "linknet", "num_classes": 3},
    "trained_unet": {"segmentor": "unet", "deep_supervision": True, "drop_path": 0.1},
    "trained_classifier": {"encoder": "resnet50v2", "dropout": 0.2, "drop_path": 0.1},
    "trans_unet": {"segmentor": "trans_unet", "num_classes": 3},
    "trans_unet_one_class": {"segmentor": "trans_unet"},
    "trans_unet_odd": {"segmentor": "trans_unet", "embed_dim": 100, "heads": 5, "mlp_dim": 33},
    "trans_unet_patched": {"segmentor": "trans_unet", "encoder_depth": 3, "num_classes": 3},
    "trans_unet_longest": {  # all that makes lines: a stem of three, a pooled shortcut, patches
        "encoder": "seresnext50d_32x4d",
        "dialect": "timm",
        "segmentor": "trans_unet",
        "encoder_depth": 4,
        "num_classes": 3,
    },
    "trans_unet_softmax": {
        "segmentor": "trans_unet",
        "classifier_activation": "softmax",
        "num_classes": 3,
    },
    "trans_unet_strides": {"segmentor": "trans_unet", "strides": "2/2/2/1/2", "num_classes": 3},
    "deployed_classifier": {"encoder": "resnet50v2", "dropout": 0.2, "deploy": True},
    "deployed_unet": {"segmentor": "unet", "drop_path": 0.1, "deploy": True},
    "deployed_by_axis": {"segmentor": "unet_plus_plus", "strides": "2/2/2/1/2", "deploy": True},
    "deployed_trans_unet": {"segmentor": "trans_unet", "num_classes": 3, "deploy": True},
    "unet_all": {**ALL, "segmentor": "unet", "deep_supervision": True},
    "unet_plus_plus_all": {**ALL, "segmentor": "unet_plus_plus", "deep_supervision": True},
    "attention_unet_all": {**ALL, "segmentor": "attention_unet", "deep_supervision": True},
    "trans_unet_medicai": {
        "segmentor": "trans_unet",
        "compat": "medicai",
        "encoder_depth": 3,
        "classifier_activation": "softmax",
        "num_classes": 1000,
    },
}
REFERENCE = r" \d{4}\.\d{5}, (Fig\.|Table|Eq\.) \d"


@cache
def text_of(kind: str, dims: int, target: str) -> str:
    options = {"input_shape": SHAPES[dims], **KINDS[kind]}
    encoder = str(options.pop("encoder", "seresnet18"))
    return emit(encoder, target=target, **options)


@pytest.mark.parametrize("dims, target", itertools.product((2, 3), ("torch", "keras")))
def test_lines_fit_and_references_are_whole(dims, target):
    for kind in KINDS:
        text = text_of(kind, dims, target)
        assert [line for line in text.splitlines() if len(line) > 100] == [], kind
        assert "arXiv" in text, kind
        for reference in text.split("arXiv")[1:]:
            assert re.match(REFERENCE, reference), (kind, reference[:40])
        notes = text[: text.index('"""', 3)].splitlines()
        assert not [line for line in notes if line.endswith((":", ",", "arXiv"))], kind
        longest = 300 if "segmentor" in KINDS[kind] else 150  # with the provenance
        assert len(text.splitlines()) <= longest, kind


@pytest.mark.parametrize("segmentor", [None, "unet", "trans_unet"])
@pytest.mark.parametrize("target", ["torch", "keras"])
def test_long_names_fit_too(target, segmentor):
    encoder = custom_encoder(
        "a_residual_encoder_with_a_name_that_is_long", blocks=(1, 1, 1, 1), groups=8
    )
    shape = (64, 64, 70, 1)
    text = emit(encoder, target=target, segmentor=segmentor, input_shape=shape, num_classes=12345)
    assert [line for line in text.splitlines() if len(line) > 100] == []


LONG_LINES = {  # and whether black leaves alone what comes of it
    f"blocks += [Bottleneck({'channels, ' * 7}1) for _, i in enumerate(depths[:-1]) if i]": True,
    f"x = norm({'activation, ' * 9}eps=1e-5)": True,
    f"x = table[{'activation + ' * 9}1]": False,  # a comma at the end would make a tuple
    f"x = ({'activation * ' * 9}1)": False,
    f"x = all({'activation and ' * 8}y for y in x)": False,
}


@pytest.mark.parametrize("line", LONG_LINES)
def test_breaking_a_long_line_keeps_its_meaning(line):
    text = broken(f"{line}\n")
    assert len(line) > 100 and text.count("\n") > 1
    assert ast.dump(ast.parse(text)) == ast.dump(ast.parse(line))
    mode = black.Mode(line_length=100)
    assert black.format_str(text, mode=mode) == black.format_str(line, mode=mode)
    assert (black.format_str(text, mode=mode) == text) is LONG_LINES[line]


def test_a_docstring_is_not_code_to_break():
    long = f'"""\n    block 0  (N,  256, 24,  6,  6){" word" * 20}\n"""\n'
    assert broken(long) == long


@pytest.mark.parametrize("target", ["torch", "keras"])
def test_a_long_row_of_the_table_goes_on_below_its_text(target):
    strides = ((1, 2, 2), (1, 2, 2), 2, 2, 2)
    text = emit("resnet50_attention_unet", target=target, dims=3, strides=strides)
    rows = text.splitlines()
    at = next(i for i, row in enumerate(rows) if row.startswith("    block 0"))
    start = rows[at].index("upsample P5")
    assert rows[at + 1].lstrip() in "upsample P5, concat gated P4, two 3x3x3 convolutions"
    assert rows[at + 1].strip() and not rows[at + 1][:start].strip()
    assert max(map(len, text.splitlines())) <= 100


def test_blocks_with_many_arguments_fit():
    text = emit("resnet50", target="torch", drop_path=0.1, kernels=(7, 3, 3, 5, 5))
    assert "            blocks += [\n" in text


@pytest.mark.parametrize("target", ["torch", "keras"])
def test_no_encoder_takes_a_name_of_a_file(target):
    names = set()
    for kind, dims in itertools.product(KINDS, (2, 3)):
        tree = ast.parse(text_of(kind, dims, target))
        names |= {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names |= {alias.asname or alias.name for alias in node.names}
            elif isinstance(node, ast.Name):
                names.add(node.id)
    # A class has a capital first and no underscore; that of a model begins with its family.
    possible = {name for name in names if name[0].isupper() and "_" not in name}
    taken = {name for name in possible if not name.startswith(("ResNet", "SEResNe"))}
    assert len(taken) > 10
    for name in sorted(taken):
        with pytest.raises(CompileError, match=f"name '{name}' is taken"):
            custom_encoder(name, blocks=(1, 1, 1, 1))


# Clipped or coined phrases that stood in emitted files once (the left of STYLE's table).
CLIPPED = (
    "as good as",
    "goes to all its",
    "fix its size",
    "has it.",
    "cut to the size",
    "To the size",
    "may look",
    "looks at",
    "look at",
    "the same\n",
    "-> same.",
    "Twice as large",
    "Weighs",
)


@pytest.mark.parametrize("target", ["torch", "keras"])
def test_no_file_has_a_clipped_phrase(target):
    for kind, dims in itertools.product(KINDS, (2, 3)):
        text = text_of(kind, dims, target)
        assert [phrase for phrase in CLIPPED if phrase in text] == [], kind


# Parts of PyTorch that take mypy most of its time, and whose types no emitted file sees.
ASIDE = (
    *("_decomp", "_dynamo", "_export", "_functorch", "_higher_order_ops", "_inductor", "_logging"),
    *("_prims", "_refs", "_subclasses", "ao", "compiler", "distributed", "distributions", "export"),
    *("fx", "jit", "masked", "onnx", "package", "profiler", "quantization", "sparse", "testing"),
)


def test_torch_files_pass_mypy_and_keras_files_as_far_as_its_stubs_go(tmp_path):
    """Keras ships no types: what comes from it is `Any`, and a subclass of it is one too."""
    loose = []
    for kind in KINDS:
        for target in ("torch", "keras"):
            (tmp_path / f"{target}_{kind}.py").write_text(text_of(kind, 3, target))
        loose.append(f"[mypy-keras_{kind}]\nallow_subclassing_any = true\n")
    options = {"segmentor": "attention_unet", "deep_supervision": True, "drop_path": 0.1}
    text = emit("seresnet18", target="torch", dims=3, checkpointing=True, **options)
    assert len(text.splitlines()) <= 300
    (tmp_path / "torch_checkpointed.py").write_text(text)
    lean = {"segmentor": "unet_plus_plus", "training_memory": "lean", "dims": 3}
    (tmp_path / "torch_lean.py").write_text(emit("resnet18", target="torch", **lean))
    missing = "[mypy-keras.*]\nignore_missing_imports = true\n"
    aside = ",".join(f"torch.{name}.*" for name in ASIDE)
    missing += f"[mypy-{aside},sympy.*,numpy.*]\nfollow_imports = skip\n"
    (tmp_path / "mypy.ini").write_text("[mypy]\nstrict = true\n" + missing + "".join(loose))
    result = subprocess.run(
        [sys.executable, "-m", "mypy", "."], cwd=tmp_path, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"no issues found in {2 * len(KINDS) + 2} source files" in result.stdout


SITTING = 300  # lines that a person reads at once
TRAINED = {"drop_path": 0.2, "norm": "group"}
THIN = {"strides": "1,2,2/2/2/2/2", "kernels": "1,7,7/3/3/3/3"}


@pytest.mark.parametrize("target", TARGETS)
def test_a_file_is_read_in_one_sitting(target):
    """With every option at once; some in PyTorch with fewer of them."""
    options = {"dims": 3, "target": target, **TRAINED, **THIN}
    if "training_memory" not in target_named(target).lacks:
        options["training_memory"] = "lean"
    found = {}
    for encoder, name in itertools.product(("seresnext50", "seresnet50vd"), SEGMENTORS):
        head = SEGMENTORS[name].head
        if not head.exact:
            supervised = {"deep_supervision": True} if hasattr(head, "deep_supervision") else {}
            text = emit(encoder, segmentor=name, **options, **supervised)
            found[name] = max(found.get(name, 0), text.count("\n"))
    long = {name: lines for name, lines in found.items() if lines >= SITTING}
    if target == "keras":
        assert not long
    else:
        assert long.keys() == {"attention_unet", "unet_plus_plus", "trans_unet"}
        assert long.pop("trans_unet") < 365 and max(long.values()) < 320
        few = ({}, {"drop_path": 0.2}, {"norm": "group"}, THIN)
        cases = [("trans_unet", options) for options in few]
        cases += [(name, {"training_memory": "lean"}) for name in long]
        for name, options in cases:
            text = emit("seresnext50", target=target, dims=3, segmentor=name, **options)
            assert text.count("\n") < SITTING, (name, options)
