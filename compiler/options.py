"""The options of `emit` and `show`: one table for the command line, the API and the provenance."""

from __future__ import annotations

from dataclasses import dataclass

TARGETS = ("torch", "keras")
RANKS = (2, 3)
UNETS = ("unet", "unet_plus_plus", "attention_unet")
SEGMENTORS = (*UNETS, "trans_unet")
TRANS_UNET = ("trans_unet",)
DEPTHS = ("3", "4", "5")
DEFAULT_SHAPE = {2: (224, 224, 3), 3: (96, 96, 96, 4)}
DEFAULT_CLASSES = {2: 1000, 3: 3}


@dataclass(frozen=True)
class Option:
    """One option.

    `kind` is `count`, `counts`, `share`, `shape`, `choice` or `flag`; `help` is for the person;
    `of` names the segmentors that take it (none: every model does).
    """

    name: str
    kind: str
    help: str
    choices: tuple[str, ...] = ()
    of: tuple[str, ...] = ()

    @property
    def flag(self) -> str:
        """As it is typed: `--in-channels`."""
        return "--" + self.name.replace("_", "-")


OPTIONS = (
    Option("dims", "choice", "Spatial dimensions. Default: 2.", tuple(map(str, RANKS))),
    Option("input_shape", "shape", "Sizes and channels, channels last: 96,96,96,4."),
    Option("in_channels", "count", "Channels of the image."),
    Option("num_classes", "count", "Classes. Default: 1000 in 2D, 3 in 3D; of a segmentor 1."),
    Option("segmentor", "choice", "A decoder on the encoder, instead of a classifier.", SEGMENTORS),
    Option("encoder_depth", "choice", "Levels that it uses. Default: 5.", DEPTHS, SEGMENTORS),
    Option(
        "decoder_block",
        "choice",
        "How it doubles sizes. Default: upsampling.",
        ("upsampling", "transpose"),
        UNETS,
    ),
    Option("decoder_filters", "counts", "Deepest first. Default: 256,128,64,32,16.", (), UNETS),
    Option(
        "decoder_normalization",
        "choice",
        "Default: batch.",
        ("batch", "instance", "group", "layer", "none"),
        UNETS,
    ),
    Option("decoder_activation", "choice", "Default: relu.", (), UNETS),
    Option("vit_layers", "count", "Transformer blocks. Default: 12.", (), TRANS_UNET),
    Option("heads", "count", "Attention heads. Default: 8.", (), TRANS_UNET),
    Option("queries", "count", "Learned queries. Default: 100.", (), TRANS_UNET),
    Option("embed_dim", "count", "Width of tokens and queries. Default: 512.", (), TRANS_UNET),
    Option("mlp_dim", "count", "Width inside the MLPs. Default: 1024.", (), TRANS_UNET),
    Option("dropout", "share", "Default: 0.1.", (), TRANS_UNET),
    Option("compat", "choice", "Keep its behaviour where ours is another.", ("medicai",)),
    Option("se_ratio", "count", "Squeeze ratio of the SE gate. Default: 16."),
    Option("se_activation", "choice", "Activation inside the SE gate. Default: relu."),
    Option(
        "dialect",
        "choice",
        "Whose encoder it is, for whose checkpoints. Default: medicai.",
        ("medicai", "timm", "cadene", "torchvision"),
    ),
    Option("features_only", "flag", "No head: the last pyramid level."),
    Option("pooling", "choice", "Pooled features, with --features-only.", ("avg", "max")),
    Option("include_rescaling", "flag", "Divide the image by 255 first."),
    Option(
        "classifier_activation",
        "choice",
        "After the head. Default: none (logits).",
        ("none", "sigmoid", "softmax"),
    ),
)
BY_NAME = {option.name: option for option in OPTIONS}
