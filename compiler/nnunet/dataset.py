"""How many channels go into a network of nnU-Net and come out of it, by its `dataset.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import counted, shown
from .documents import Table

IGNORE = "ignore"  # its voxels take no part in the loss, and have no channel


def channels(dataset: Table) -> int:
    """Number of image channels. Raises `CompileError`."""
    keys = [key for key in ("modality", "channel_names") if key in dataset.values]
    if not keys:
        dataset.refuse("", "it has no 'channel_names', nor the older 'modality'")
    counts = []
    for key in keys:
        value = dataset.values[key]
        if not isinstance(value, Mapping | Sequence) or isinstance(value, str) or not value:
            dataset.refuse(key, f"{key} is {shown(value)}", "a table with one entry per channel")
        counts.append(len(value))
    if len(set(counts)) > 1:
        dataset.refuse("", f"'modality' has {counts[0]} entries, but 'channel_names' {counts[1]}")
    return counts[0]


def labels(dataset: Table) -> tuple[int, int]:
    """Number of channels of the logits, and of foreground labels. Raises `CompileError`.

    Without regions, each label has a channel, the background too. Regions are lists of labels: if
    one has more than one, each has a channel, and the background none.
    """
    table = dataset.table("labels")
    values = {name: _label(table, name) for name in table.values if name != IGNORE}
    if table.values.get("background") != 0:
        table.refuse("background", "the label 'background' is not 0")
    distinct = {label for region in values.values() for label in region}
    ignored = table.values.get(IGNORE)
    if ignored is not None and (type(ignored) is not int or ignored != max(distinct) + 1):
        hint = f"nnU-Net demands the label after the highest, which is {max(distinct) + 1}"
        table.refuse(IGNORE, f"the label 'ignore' is {shown(ignored)}", hint)
    foreground = len(distinct - {0})
    if not any(len(value) > 1 for value in values.values()):
        return len(distinct), foreground
    regions = [value for value in values.values() if set(value) != {0}]
    order = dataset.values.get("regions_class_order")
    if not isinstance(order, Sequence) or len(order) != len(regions):
        message = f"regions_class_order is {shown(order)}"
        hint = f"it orders the {counted(len(regions), 'region')} among the labels"
        dataset.refuse("regions_class_order", message, hint)
    return len(regions), foreground


def _label(table: Table, name: str) -> tuple[int, ...]:
    """The value of a label, or the values that make a region."""
    value = table.values[name]
    values = tuple(value) if isinstance(value, list | tuple) else (value,)
    for each in values:
        if type(each) is not int or each < 0:
            table.refuse(name, f"the label {shown(name)} is {shown(value)}", "a number from 0 on")
    if not values:
        table.refuse(name, f"the region {shown(name)} has no label")
    return values
