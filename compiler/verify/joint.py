"""The rows of two files: paired by their own names and shapes, named as in the ledger if possible.

A pair of files may hold what the compiler never wrote, as long as both hold it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..passes.rows import Row
from ..passes.steps import Step
from ..passes.trace import Ledger
from ..weights.keras_variables import WEIGHTS, layer_name, torch_shape
from .conditioning import check_voxels
from .measure import every_output, outputs_of
from .parity import Paired, by_path, channels_first, image, torch_shapes

Shape = tuple[int, ...]
_KINDS = {  # a layer of PyTorch, and the kind of row that has its weights
    "_BatchNorm": "batch_norm",
    "_InstanceNorm": "instance_norm",
    "GroupNorm": "group_norm",
    "LayerNorm": "token_norm",
    "_ConvTransposeNd": "conv_transpose",
    "_ConvNd": "conv",
    "Linear": "dense",
}


def joint_ledger(ledger: Ledger, torch_model: Any, keras_model: Any) -> Ledger:
    """The ledger of what the two models have in common.

    A row stays as it is unless both models change it in the same way. Layers that the ledger does
    not know are paired by name, and those that are left by shape, in the order of each file.
    """
    modules = dict(torch_model.named_modules())
    ours = _grouped(torch_shapes(torch_model))
    theirs: dict[str, dict[str, Shape]] = {}
    for name, variable in by_path(keras_model).items():
        attribute = variable.path.rpartition("/")[2]
        layer = name.removesuffix(f"_{attribute}")
        theirs.setdefault(layer, {})[attribute] = tuple(variable.shape)
    known = {row.path: row for row in ledger.rows}
    rows = []
    unpaired = []
    taken = set(map(layer_name, known))
    for path, shapes in ours.items():
        kinds = _kinds(known.get(path), modules.get(path), shapes)
        layer = layer_name(path)
        row = next((r for k in kinds if (r := _common(path, k, shapes, layer, theirs))), None)
        if row:
            rows.append(row)
            taken.add(layer)
        elif path in known:
            rows.append(known[path])
        else:
            unpaired.append(path)
    for path in unpaired:
        kind, shapes = _kind(modules.get(path)), ours[path]
        for layer in theirs:
            if layer not in taken and (row := _common(path, kind, shapes, layer, theirs)):
                rows.append(row)
                taken.add(layer)
                break
    missing = [
        row for row in ledger.rows if row.path not in ours and layer_name(row.path) in theirs
    ]
    return replace(ledger, rows=(*_in_order(rows, list(ours)), *missing))


def run_once(ledger: Ledger, model: Any, shape: Shape) -> Ledger:
    """The ledger with the shapes that one image has in the PyTorch model, wherever it is seen.

    Raises `CompileError` if the image is too small for an instance norm that both files added.
    """
    import torch

    outputs: dict[str, Shape] = {}

    def keep(path: str) -> Any:
        def hook(_module: Any, _inputs: Any, output: Any) -> None:
            outputs[path] = tuple(output.shape[1:])

        return hook

    def check(_module: Any, inputs: Any) -> None:  # before PyTorch refuses a single voxel itself
        check_voxels(math.prod(inputs[0].shape[2:]), shape)

    modules = dict(model.named_modules())
    hooks = [
        modules[row.path].register_forward_hook(keep(row.path))
        for row in ledger.rows
        if row.path in modules
    ]
    hooks += [
        module.register_forward_pre_hook(check)
        for module in modules.values()
        if _kind(module) == "instance_norm"
    ]
    x = torch.from_numpy(channels_first(image(shape, batch=1)))
    model.eval()
    try:
        with torch.no_grad():
            with every_output(model):
                output, *aux = outputs_of(model(x))
            levels = model.pyramid(x)
    finally:
        for handle in hooks:
            handle.remove()
    known = ledger.level_steps
    return replace(
        ledger,
        rows=tuple(replace(row, output=outputs.get(row.path, row.output)) for row in ledger.rows),
        encoder=tuple(
            Step(name, tuple(level.shape[1:]), known[name].rows if name in known else ())
            for name, level in levels.items()
        ),
        levels=tuple(levels),
        head=replace(ledger.head, output=tuple(output.shape[1:])),
        aux=tuple(Step(f"aux {i}", tuple(x.shape[1:]), ()) for i, x in enumerate(aux)),
    )


def changes(ledger: Ledger, joint: Ledger) -> str:
    """How both files differ from the ledger in the same way; "" if they do not."""
    before = {row.path: (row.kind, row.weights) for row in ledger.rows}
    after = {row.path: (row.kind, row.weights) for row in joint.rows}
    paths = [path for path in (*after, *before) if before.get(path) != after.get(path)]
    names = list(dict.fromkeys(paths))
    if not names:
        return ""
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    return f"edited in both files: {', '.join(names[:2])}{more}"


def _grouped(shapes: Mapping[str, Shape]) -> dict[str, dict[str, Shape]]:
    """Weights by layer. A parameter of any other name is a table of its own."""
    groups: dict[str, dict[str, Shape]] = {}
    for name, shape in shapes.items():
        path, _, attribute = name.rpartition(".")
        if attribute in ("weight", "bias", "running_mean", "running_var"):
            groups.setdefault(path, {})[attribute] = shape
        else:
            groups[name] = {"table": shape}
    return groups


def _kind(module: Any) -> str:
    """The kind of ledger row of a PyTorch module; a weight without a module is a bare parameter."""
    names = [] if module is None else [base.__name__ for base in type(module).__mro__]
    kind = next((kind for name, kind in _KINDS.items() if name in names), "table")
    if kind == "group_norm" and module.num_groups == module.num_channels:
        return "instance_norm"
    return kind


def _kinds(row: Row | None, module: Any, shapes: Mapping[str, Shape]) -> list[str]:
    """The kinds of row that a layer may be, the ledger's first unless both files replaced it."""
    kind = _kind(module)
    if row is None:
        return [kind]
    replaced = dict(row.weights).keys() != shapes.keys()
    return [kind, row.kind] if replaced else [row.kind, kind]


def _common(
    path: str,
    kind: str,
    shapes: dict[str, Shape],
    layer: str,
    theirs: Mapping[str, Mapping[str, Shape]],
) -> Row | None:
    """The row of a layer that both models have with the same weights, or None."""
    if any((kind, name) not in WEIGHTS for name in shapes):
        return None
    found = theirs.get(layer, {})
    names = {WEIGHTS[kind, name][0]: name for name in shapes}
    if kind == "table" and len(found) == 1:  # a bare variable has a name of its own
        names = dict.fromkeys(found, "table")
    if found.keys() != names.keys():
        return None
    row = Row(path, kind, tuple(shapes.items()), (), 0)
    if any(
        torch_shape(kind, names[name], shape) != shapes[names[name]]
        for name, shape in found.items()
    ):
        return None
    if layer == layer_name(path) and kind != "table":
        return row
    variable = next(iter(found)) if kind == "table" else ""
    return Paired(path, kind, row.weights, (), 0, layer, variable)


def _in_order(rows: list[Row], paths: list[str]) -> list[Row]:
    return sorted(rows, key=lambda row: paths.index(row.path))
