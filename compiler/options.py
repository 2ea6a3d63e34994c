"""The options of `emit` and `show`: one table for the command line, the API and the provenance."""

from __future__ import annotations

from .dialect import DIALECTS
from .limits import AXIS, CHANNELS, KERNEL, STRIDE
from .model import NORMS, Classifier
from .option import Option, options_of
from .segmentors import SEGMENTORS

RANKS = (2, 3)
DEFAULT_SHAPE = {2: (224, 224, 3), 3: (96, 96, 96, 4)}
DEFAULT_CLASSES = {2: 1000, 3: 3}
COMPAT = {name: row.compat for name, row in SEGMENTORS.items() if row.compat}

OPTIONS = (
    Option("dims", "choice", "Spatial dimensions. Default: 2.", tuple(map(str, RANKS))),
    Option(
        "input_shape",
        "shape",
        "Shape of the image, channels last: 96,96,96,4.",
        limit=AXIS,
    ),
    Option(
        "channels_last",
        "flag",
        "Read --input-shape as channels last even if it looks like channels first.",
    ),
    Option("in_channels", "count", "Channels of the image.", limit=CHANNELS),
    Option(
        "num_classes",
        "count",
        "Number of classes. Default: 1000 in 2D, 3 in 3D, 1 for segmentors.",
        limit=CHANNELS,
    ),
    Option("segmentor", "choice", "Add this decoder instead of a classifier.", (*SEGMENTORS,)),
    *options_of([(Classifier.name, Classifier), *((n, row.head) for n, row in SEGMENTORS.items())]),
    Option(
        "compat",
        "choice",
        "Match medicai where our segmentors differ from it.",
        tuple(dict.fromkeys(library for libraries in COMPAT.values() for library in libraries)),
        tuple(COMPAT),
    ),
    Option(
        "strides",
        "axes",
        "Strides of P1/P2/..., or of stem/pool/stage 0/...; as 2 or per axis: 1,2,2.",
        limit=STRIDE,
    ),
    Option(
        "kernels",
        "axes",
        "Kernels of stem/stage 0/...; odd, as 3 or per axis: 1,3,3.",
        limit=KERNEL,
    ),
    Option(
        "norm",
        "choice",
        "Normalization in the encoder, and in the decoder where none is chosen. Default: batch.",
        NORMS,
    ),
    Option("activation", "choice", "Activation in the encoder. Default: relu."),
    Option("se_ratio", "count", "Squeeze ratio of the SE gate. Default: 16."),
    Option("se_activation", "choice", "Activation inside the SE gate. Default: relu."),
    Option(
        "dialect",
        "choice",
        "Library whose checkpoints the encoder matches. Default: medicai.",
        (*DIALECTS,),
    ),
    Option(
        "init",
        "choice",
        "Initial weights: PyTorch's where a norm follows; He over fan-out; or nnU-Net's. Default:"
        " nnunet for nnU-Net, else pytorch.",
        ("pytorch", "he", "nnunet"),
    ),
    Option(
        "drop_path",
        "share",
        "Stochastic depth: rate in the last residual block, linear over depth from 0. Default: 0.",
    ),
    Option(
        "checkpointing",
        "flag",
        "Recompute each stage in the backward pass: less memory in training. PyTorch only.",
    ),
    Option(
        "training_memory",
        "choice",
        "What training keeps: lean recomputes all but convolutions in the backward pass. PyTorch"
        " only. Default: standard.",
        ("standard", "lean"),
        also="--memory",
    ),
    Option(
        "deploy",
        "flag",
        "Inference only: batch norms folded, upsampling fused. `convert` makes the weights.",
    ),
    Option(
        "fuse",
        "choice",
        "With --deploy: fuse upsampling with the convolution after it. Default: yes in PyTorch, no"
        " in Keras.",
        ("yes", "no"),
    ),
    Option("features_only", "flag", "Leave out the head and return the last pyramid level."),
    Option("pooling", "choice", "With --features-only: pool the last level.", ("avg", "max")),
    Option("include_rescaling", "flag", "Divide the image by 255 before the stem."),
    Option(
        "classifier_activation",
        "choice",
        "Activation after the head. Default: none (logits).",
        ("none", "sigmoid", "softmax"),
    ),
)
BY_NAME = {option.name: option for option in OPTIONS}
