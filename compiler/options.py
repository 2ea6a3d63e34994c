"""The options of `emit` and `show`: one table for the command line, the API and the provenance."""

from __future__ import annotations

from dataclasses import dataclass

TARGETS = ("torch", "keras")
RANKS = (2, 3)
DEFAULT_SHAPE = {2: (224, 224, 3), 3: (96, 96, 96, 4)}
DEFAULT_CLASSES = {2: 1000, 3: 3}


@dataclass(frozen=True)
class Option:
    """One option. `kind` is `count`, `shape`, `choice` or `flag`; `help` is for the person."""

    name: str
    kind: str
    help: str
    choices: tuple[str, ...] = ()

    @property
    def flag(self) -> str:
        """As it is typed: `--in-channels`."""
        return "--" + self.name.replace("_", "-")


OPTIONS = (
    Option("dims", "choice", "Spatial dimensions. Default: 2.", tuple(map(str, RANKS))),
    Option("input_shape", "shape", "Sizes and channels, channels last: 96,96,96,4."),
    Option("in_channels", "count", "Channels of the image."),
    Option("num_classes", "count", "Classes. Default: 1000 in 2D, 3 in 3D."),
    Option("se_ratio", "count", "Squeeze ratio of the SE gate. Default: 16."),
    Option("se_activation", "choice", "Activation inside the SE gate. Default: relu."),
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
