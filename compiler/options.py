"""The options of `emit` and `show`: one table for the command line, the API and the provenance."""

from __future__ import annotations

from dataclasses import dataclass

from .limits import AXIS, CHANNELS, EMBED_DIM, HEADS, NUMBER, QUERIES, VIT_LAYERS, Limit

RANKS = (2, 3)
UNETS = ("unet", "unet_plus_plus", "attention_unet")
TRANS_UNET = ("trans_unet",)
FPN = ("fpn",)
MEDICAI = (*UNETS, *TRANS_UNET)  # the segmentors that medicai has
SEGMENTORS = (*MEDICAI, *FPN, "linknet")
DEPTHS = ("3", "4", "5")
DEFAULT_SHAPE = {2: (224, 224, 3), 3: (96, 96, 96, 4)}
DEFAULT_CLASSES = {2: 1000, 3: 3}


@dataclass(frozen=True)
class Option:
    """One option.

    `kind` is `count`, `counts`, `share`, `shape`, `choice` or `flag`; `of` names the segmentors
    that take it (empty if every model does); `limit` is that of each of its numbers.
    """

    name: str
    kind: str
    help: str
    choices: tuple[str, ...] = ()
    of: tuple[str, ...] = ()
    limit: Limit = NUMBER

    @property
    def flag(self) -> str:
        """The option as it is typed: `--in-channels`."""
        return "--" + self.name.replace("_", "-")


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
    Option("segmentor", "choice", "Add this decoder instead of a classifier.", SEGMENTORS),
    Option(
        "encoder_depth",
        "choice",
        "Number of pyramid levels used; deeper stages are omitted. Default: 5.",
        DEPTHS,
        SEGMENTORS,
    ),
    Option(
        "decoder_block",
        "choice",
        "How a decoder stage upsamples. Default: upsampling.",
        ("upsampling", "transpose"),
        UNETS,
    ),
    Option(
        "decoder_filters",
        "counts",
        "Filters of each decoder stage, deepest first. Default: 256,128,64,32,16.",
        (),
        UNETS,
        CHANNELS,
    ),
    Option(
        "decoder_normalization",
        "choice",
        "Normalization in the decoder. Default: batch.",
        ("batch", "instance", "group", "layer", "none"),
        UNETS,
    ),
    Option("decoder_activation", "choice", "Activation in the decoder. Default: relu.", (), UNETS),
    Option(
        "vit_layers", "count", "Transformer blocks. Default: 12.", (), TRANS_UNET, limit=VIT_LAYERS
    ),
    Option("heads", "count", "Attention heads. Default: 8.", (), TRANS_UNET, limit=HEADS),
    Option("queries", "count", "Learned queries. Default: 100.", (), TRANS_UNET, limit=QUERIES),
    Option(
        "embed_dim",
        "count",
        "Width of tokens and queries. Default: 512.",
        (),
        TRANS_UNET,
        limit=EMBED_DIM,
    ),
    Option(
        "mlp_dim", "count", "Width inside the MLPs. Default: 1024.", (), TRANS_UNET, limit=CHANNELS
    ),
    Option(
        "dropout",
        "share",
        "Dropout rate, of a transformer or of FPN's channels. Default: 0.1 and 0.2.",
        (),
        (*TRANS_UNET, *FPN),
    ),
    Option(
        "pyramid_channels",
        "count",
        "Channels of FPN's levels. Default: 256.",
        (),
        FPN,
        CHANNELS,
    ),
    Option(
        "segmentation_channels",
        "count",
        "Channels of FPN's paths to P2. Default: 128.",
        (),
        FPN,
        CHANNELS,
    ),
    Option(
        "compat",
        "choice",
        "Match medicai where its segmentors differ from ours.",
        ("medicai",),
        MEDICAI,
    ),
    Option("se_ratio", "count", "Squeeze ratio of the SE gate. Default: 16."),
    Option("se_activation", "choice", "Activation inside the SE gate. Default: relu."),
    Option(
        "dialect",
        "choice",
        "Library whose checkpoints the encoder matches. Default: medicai.",
        ("medicai", "timm", "cadene", "torchvision"),
    ),
    Option("features_only", "flag", "Leave out the head and return the last pyramid level."),
    Option("pooling", "choice", "Pool the features, with --features-only.", ("avg", "max")),
    Option("include_rescaling", "flag", "Divide the image by 255 before the stem."),
    Option(
        "classifier_activation",
        "choice",
        "Activation after the head. Default: none (logits).",
        ("none", "sigmoid", "softmax"),
    ),
)
BY_NAME = {option.name: option for option in OPTIONS}
