"""The options as keywords of the Python API, so that a type checker finds a misspelt one.

A test holds this class and the table in `options` together.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypedDict

from .segmentors import SegmentorOptions


class PlansOptions(TypedDict, total=False):
    """Keywords beside plans of nnU-Net, or beside the name of one of its networks."""

    configuration: str | None
    dataset: str | os.PathLike[str] | None
    patch_size: Sequence[int] | str | None
    spacing: Sequence[float] | str | None


class ModelOptions(SegmentorOptions, PlansOptions, total=False):
    """Keywords of every function that takes a model.

    A number or sequence may also be text, as it is typed on the command line. None means that the
    option is not given.
    """

    dims: int | str | None
    input_shape: Sequence[int] | str | None
    channels_last: bool | None
    in_channels: int | str | None
    num_classes: int | str | None
    segmentor: str | None
    compat: str | None
    strides: Sequence[int | Sequence[int]] | str | None
    kernels: Sequence[int | Sequence[int]] | str | None
    norm: str | None
    activation: str | None
    se_ratio: int | str | None
    se_activation: str | None
    dialect: str | None
    init: str | None
    drop_path: float | str | None
    checkpointing: bool | None
    training_memory: str | None
    deploy: bool | None
    fuse: str | None
    features_only: bool | None
    pooling: str | None
    include_rescaling: bool | None
    classifier_activation: str | None
