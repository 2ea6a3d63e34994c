"""Kernels and strides of each axis: hand-written networks, both targets, every decoder."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import compiler
from compiler.passes.validate import resolve
from tests.harness import (
    build_pair,
    channels_first,
    compare,
    constructor,
    copy_to_keras,
    difference,
    emit_pair,
    image,
    ledger_of,
    randomize,
)

from .sampling import ANYWHERE

STRIDES = ((1, 2, 2), (1, 2, 2), (2, 1, 2), 2)  # P1 to P4
KERNELS = ((1, 3, 3), (1, 3, 3), 3, (3, 1, 5))
TINY = {"blocks": (1, 1, 1), "filters": (8, 8, 8), "strides": (1, 2, 2), "block": "basic"}
TINY |= {"stem_filters": (4,), "stem_kernels": (3,)}
VIT = {"embed_dim": 8, "heads": 2, "mlp_dim": 8, "queries": 4, "vit_layers": 1, "dropout": 0}
SMALL = {  # options that keep a segmentor small
    "unet": {"decoder_filters": (8, 4, 4, 4)},
    "unet_plus_plus": {"decoder_filters": (8, 4, 4), "decoder_block": "transpose"},
    "attention_unet": {"decoder_filters": (8, 4, 4, 4), "decoder_normalization": "group"},
    "trans_unet": {**VIT, "num_classes": 2, "encoder_depth": 3},
    "fpn": {"pyramid_channels": 8, "segmentation_channels": 32, "dropout": 0},
    "linknet": {},
}
BY_AXIS = {"strides": STRIDES, "kernels": KERNELS}


def tiny(**changes):
    return compiler.custom_encoder("tiny", **{**TINY, **changes})


def agree(encoder, shape, change=lambda torch, keras: (torch, keras), **options):
    """None where both targets give the same numbers, else where they diverge."""
    options = {"input_shape": shape, **options}
    ledger = ledger_of(encoder, **options)
    models = build_pair(change(*emit_pair(encoder, **options)), ledger, shape)
    return compare(*models, ledger, image(shape, batch=1), 1e-5)


# -- against networks written by hand --------------------------------------------------------------


class Residual(nn.Module):
    def __init__(self, cin, cout, kernel, stride):
        super().__init__()
        padding = [k // 2 for k in kernel]
        self.conv1 = nn.Conv3d(cin, cout, kernel, stride, padding, bias=False)
        self.bn1 = nn.BatchNorm3d(cout)
        self.conv2 = nn.Conv3d(cout, cout, kernel, 1, padding, bias=False)
        self.bn2 = nn.BatchNorm3d(cout)
        self.shortcut = nn.Sequential()
        if cin != cout or stride != (1, 1, 1):
            self.shortcut.add_module("conv", nn.Conv3d(cin, cout, 1, stride, bias=False))
            self.shortcut.add_module("bn", nn.BatchNorm3d(cout))

    def forward(self, x):
        y = self.bn1(self.conv1(x)).relu()
        return (self.bn2(self.conv2(y)) + self.shortcut(x)).relu()


class Encoder(nn.Module):
    """Strides 1,2,2 / 1,2,2 / 2,2,2 / 1,2,2 and kernels 1,3,3 but in the deepest stage but one."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv3d(2, 4, (1, 5, 5), (1, 2, 2), (0, 2, 2), bias=False)
        self.bn1 = nn.BatchNorm3d(4)
        thin, cube = (1, 3, 3), (3, 3, 3)
        self.stages = nn.ModuleList(
            [
                nn.Sequential(Residual(4, 4, thin, (1, 1, 1))),
                nn.Sequential(Residual(4, 8, cube, (2, 2, 2)), Residual(8, 8, cube, (1, 1, 1))),
                nn.Sequential(Residual(8, 8, thin, (1, 2, 2))),
            ]
        )

    def forward(self, x):
        levels = [self.bn1(self.conv1(x)).relu()]
        x = F.max_pool3d(levels[0], (1, 3, 3), (1, 2, 2), (0, 1, 1))
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        return levels


class Two(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.conv1 = nn.Conv3d(cin, cout, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm3d(cout, eps=1e-3)
        self.conv2 = nn.Conv3d(cout, cout, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm3d(cout, eps=1e-3)

    def forward(self, x):
        return self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())).relu()


def repeated(x, scale, size):
    """Nearest upsampling as repetition, then a crop: not as the emitted file does it."""
    for axis, times in enumerate(scale, start=2):
        x = x.repeat_interleave(times, axis)
    return x[:, :, : size[0], : size[1], : size[2]]


SCALES = ((1, 2, 2), (2, 2, 2), (1, 2, 2), (1, 2, 2))  # P4 up to the image


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = Encoder()
        self.decoder = nn.Module()
        widths = ((8 + 8, 8), (8 + 4, 4), (4 + 4, 4), (4, 4))
        self.decoder.blocks = nn.ModuleList(Two(*width) for width in widths)
        self.head = nn.Conv3d(4, 1, 1)

    def forward(self, image):
        *skips, x = self.encoder(image)
        for block, scale, skip in zip(self.decoder.blocks, SCALES, reversed(skips)):
            x = block(torch.cat([repeated(x, scale, skip.shape[2:]), skip], 1))
        return self.head(self.decoder.blocks[3](repeated(x, SCALES[3], image.shape[2:])))


class Gate(nn.Module):
    def __init__(self, skip, channels, filters, scale):
        super().__init__()
        self.scale = scale
        self.theta = nn.Conv3d(skip, filters, 1, scale)
        self.phi = nn.Conv3d(channels, filters, 1)
        self.psi = nn.Conv3d(filters, 1, 1)

    def forward(self, skip, x):
        gate = self.psi((self.theta(skip) + self.phi(x)).relu()).sigmoid()
        return skip * repeated(gate, self.scale, skip.shape[2:])


class One(nn.Module):
    def __init__(self, conv, cout):
        super().__init__()
        self.conv, self.bn = conv, nn.BatchNorm3d(cout, eps=1e-3)

    def forward(self, x):
        return self.bn(self.conv(x)).relu()


def doubling(cin, cout, scale):
    """A transposed convolution: kernel 4 and padding 1 where it doubles, nothing where not."""
    window = {1: (1, 0), 2: (4, 1)}
    kernel, padding = zip(*(window[s] for s in scale))
    return nn.ConvTranspose3d(cin, cout, kernel, scale, padding)


class AttentionUNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = Encoder(), nn.Module()
        widths = tuple(zip((8, 4, 4), (8, 8, 4), (8, 4, 4), SCALES))  # skip, x, filters, scale
        ups = [One(doubling(x, out, scale), out) for _, x, out, scale in widths]
        convs = [nn.Conv3d(out + skip, out, 3, 1, 1, bias=False) for skip, _, out, _ in widths]
        last = nn.Conv3d(4, 4, 3, 1, 1, bias=False)
        self.decoder.gates = nn.ModuleList(Gate(*width) for width in widths)
        self.decoder.ups = nn.ModuleList([*ups, One(doubling(4, 4, SCALES[3]), 4)])
        blocks = [One(conv, conv.out_channels) for conv in (*convs, last)]
        self.decoder.blocks = nn.ModuleList(blocks)
        self.head = nn.Conv3d(4, 1, 1)

    def forward(self, image):
        *skips, x = self.encoder(image)
        decoder = self.decoder
        for up, gate, block, skip in zip(decoder.ups, decoder.gates, decoder.blocks, skips[::-1]):
            depth, height, width = skip.shape[2:]
            larger = up(x)[:, :, :depth, :height, :width]
            x = block(torch.cat([larger, gate(skip, x)], 1))
        depth, height, width = image.shape[2:]
        return self.head(decoder.blocks[3](decoder.ups[3](x)[:, :, :depth, :height, :width]))


ORACLES = {
    "unet": (UNet, {}),
    "attention_unet": (AttentionUNet, {"decoder_block": "transpose"}),
}


@pytest.mark.parametrize("segmentor", ORACLES)
def test_outputs_are_those_of_a_network_written_by_hand(segmentor):
    """On an image of 16 x 130 x 127, whose sizes no level divides."""
    shape, (oracle, own) = (16, 130, 127, 2), ORACLES[segmentor]
    options = {
        "segmentor": segmentor,
        "decoder_filters": (8, 4, 4, 4),
        "input_shape": shape,
        **own,
        "strides": "1,2,2/1,2,2/2/1,2,2",
        "kernels": "1,5,5/1,3,3/3/1,3,3",
    }
    encoder = tiny(blocks=(1, 2, 1), filters=(4, 8, 8))
    ledger, texts = ledger_of(encoder, **options), emit_pair(encoder, **options)
    ours, theirs = constructor(texts[0])(2).eval(), oracle().eval()
    randomize(ours)
    theirs.load_state_dict(ours.state_dict())  # by name
    other = constructor(texts[1])(shape)
    copy_to_keras(ours, other, ledger)
    x = image(shape, batch=1)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(x).movedim(-1, 1)).numpy()
        assert difference(ours(torch.from_numpy(x).movedim(-1, 1)).numpy(), expected) < 1e-5
        assert difference(channels_first(other(x, training=False)), expected) < 1e-5


# -- both targets ----------------------------------------------------------------------------------


@pytest.mark.parametrize("segmentor", ANYWHERE)
def test_decoders_undo_the_strides_in_both_targets(segmentor):
    """Outputs of each step, and gradients."""
    size = (5, 33, 30) if segmentor != "trans_unet" else (3, 9, 24)
    options = {"segmentor": segmentor, **BY_AXIS, **SMALL[segmentor]}
    report = compiler.verify(tiny(), size=size, in_channels=1, dims=3, **options)
    assert report.passed, report.why


PER_AXIS = {  # encoders, and the dialect of each
    "pooled shortcuts": ({"block": "basic_vd", "strides": ((1, 2, 2), (2, 1, 2), 2)}, "medicai"),
    "pre-activation": ({"pre_activation": True, "stem_pool": (2, 1, 2)}, "medicai"),
    "a pool that rounds down": ({"se_ratio": 4, "stem_pool": (1, 2, 2)}, "cadene"),
    "no pool": ({"stem_pool": 1, "stem_stride": (1, 2, 3), "strides": (1, (1, 2, 4), 3)}, "timm"),
    "kernels of all axes": ({"kernels": (3, 5, 1), "block": "bottleneck", "groups": 2}, "medicai"),
    "pooled shortcuts of equal strides": (
        {"block": "basic_vd", "kernels": ((1, 3, 3), 3, 3), "strides": (1, 2, 2)},
        "medicai",
    ),
    "one kernel": ({"kernels": ((1, 3, 3),) * 3, "block": "bottleneck_vd"}, "timm"),
}


@pytest.mark.parametrize("name", PER_AXIS)
def test_encoders_agree(name):
    arguments, dialect = PER_AXIS[name]
    assert agree(tiny(**arguments), (7, 18, 29, 1), dialect=dialect) is None


def test_two_dimensions_agree():
    options = {"strides": "1,2/2,1/2/1,2", "kernels": "1,3/3/5,1/3", "segmentor": "attention_unet"}
    assert agree(tiny(), (9, 37, 3), **options, **SMALL["attention_unet"]) is None


def test_a_pool_that_rounds_down_is_undone_with_its_gates():
    """P1 has the odd size 19, of which the pool leaves 9."""
    options = {"strides": ((1, 2, 2), (1, 2, 2), (2, 1, 2), 2), "dialect": "cadene"}
    options |= {"segmentor": "attention_unet", **SMALL["attention_unet"]}
    assert agree(tiny(se_ratio=4), (5, 37, 30, 1), **options) is None


FAULTS = {  # a change of the text of either target, in a network that has the line
    "the pool mixes slices": (
        "max_pool3d(x, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))",
        "max_pool3d(x, 3, stride=(1, 2, 2), padding=1)",
    ),
    "the shortcut's pool mixes slices": ("min(2, stride[1])", "2"),
    "the shortcut's pool in Keras": ("[min(2, s) for s in stride]", "2"),
    "padding on one side": ("if stride != 1 and kernel != 1", "if False"),
    "upsampled past the skip": ("UpSampling3D(scale,", "UpSampling3D([2 * s for s in scale],"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found(name):
    right, wrong = FAULTS[name]
    found = []

    def change(*texts):
        found.extend(text for text in texts if right in text)
        return tuple(text.replace(right, wrong) for text in texts)

    options = {**BY_AXIS, "segmentor": "unet", **SMALL["unet"]}
    encoder = tiny(block="basic_vd", stem_pool=(1, 2, 2))
    assert agree(encoder, (6, 33, 30, 1), change, **options) is not None
    assert len(found) == 1


# -- words -----------------------------------------------------------------------------------------


def test_a_file_says_the_divisor_of_each_axis_and_how_to_write_it_again(tmp_path):
    strides, kernels = "1,2,2/1,2,2/2/2,2,2/2", "1,7,7/1,3,3/3/3/3"
    options = {"dims": 3, "segmentor": "unet", "strides": strides, "kernels": kernels}
    for target in ("torch", "keras"):
        text = compiler.emit("resnet18", target=target, **options)
        assert "P4 /4x16x16" in text and "P5 is 8x32x32 times smaller than the image." in text
        assert "--strides 1,2,2/1,2,2/2/2/2" in text and "--kernels 1,7,7/1,3,3/3/3/3" in text
        (tmp_path / f"{target}.py").write_text(text)
        own = compiler.emit(tiny(), target=target, dims=3, **BY_AXIS)
        assert "strides=(1, (2, 1, 2), 2)" in own and "stem_pool=(1, 2, 2)" in own
        (tmp_path / f"{target}_own.py").write_text(own)
    assert {verdict.state for verdict in compiler.check(tmp_path)} == {"clean"}
    assert compiler.describe("resnet18", **options)["divisors"]["P5"] == [8, 32, 32]


def test_equal_axes_are_one_number():
    usual = resolve("resnet18", {"dims": 3})
    typed = {"strides": "2,2,2/2,2,2/2,2,2/2/2", "kernels": "7,7,7/3/3,3,3/3/3"}
    assert resolve("resnet18", {"dims": 3, **typed}) == usual
    assert resolve("resnet18", {"dims": 3, "strides": (2, 2, 1, (2, 2, 2), 2, 2)}) == usual


def test_warnings_follow_the_axes():
    options = {"input_shape": (4, 32, 32, 1), "strides": "1,2,2/1,2,2/2/2/2"}
    with pytest.warns(compiler.CompileWarning, match="9 or more on D, 33 or more on H or 33"):
        compiler.describe("resnet18", **options)


BOTH = "  hint give 5, for P1, P2, P3, P4, P5; or 6, for the stem, its pool and each stage"
WRONG = [
    (
        {"strides": "2/2/2"},
        "error: --strides has 3 entries, but resnet18 has 5 levels and 4 stages",
        BOTH,
    ),
    (
        {"kernels": (3, 3)},
        "error: --kernels has 2 entries, but resnet18 has a stem and 4 stages",
        "  hint give 5: the stem's, then one for each stage",
    ),
    (
        {"strides": "1,2,2/2/2/2/2"},
        "error: 1,2,2 has 3 axes, but the network is 2D",
        "  hint add --dims 3, or give one number for all axes",
    ),
    (
        {"kernels": "7/3,4/3/3/3"},
        "error: --kernels has 4, which is even: it cannot be padded alike" " on both sides",
        "  hint use 3 or 5",
    ),
    (
        {"strides": "2/3/2/2/2"},
        "error: --strides has the stride 3 for the stem's pool, which" " strides by 1 or 2",
        "  hint stride over the rest in the stem or in stage 0",
    ),
    (
        {"strides": "2/2,x/2/0/2"},
        "error: --strides has 'x', which is not a whole number",
        "error: --strides has 0, which is below 1",
    ),
    (
        {"strides": "2/1,1,1,1/2/2/2"},
        "error: --strides has ['1', '1', '1', '1'], which is not for 2" " or 3 axes",
        "  hint as 2, or with a number for each axis: (1, 2, 2)",
    ),
    (
        {"strides": "1/1/2/3/2", "segmentor": "unet"},
        "error: stage 2 of resnet18 makes P4 3 times"
        " smaller than P3, but unet upsamples by 1 or 2 from level to level",
        "  hint use strides that make 1 or 2 of each axis, as 2 or (1, 2)",
    ),
]


@pytest.mark.parametrize("case", WRONG, ids=str)
def test_errors(case):
    options, *lines = case
    with pytest.raises(compiler.CompileError) as caught:
        compiler.describe("resnet18", **options)
    assert str(caught.value) == "\n".join(lines)
