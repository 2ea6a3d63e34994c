"""Read PyTorch checkpoints: safetensors, and pickles that contain only tensors."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import CompileError, Problem, counted
from .archives import check_archive, check_legacy, read_records, refuse_foreign
from .checkpoints import DIALECT, Tensor, need, shown
from .headers import check_header
from .pickles import ALONE
from .stored import entries, tensors

WRAPPERS = ("state_dict", "model_state_dict", "model", "state_dict_ema", "model_ema")
NNUNET = "network_weights"
DEEPEST = 4  # nested wrappers, which may refer to one another in a circle
AVERAGED = "n_averaged"  # the counter of torch.optim.swa_utils.AveragedModel
# Added by data-parallel, compiled, sharded and averaged models, and by training modules.
PREFIXES = (
    "module.",
    "_orig_mod.",
    "_fsdp_wrapped_module.",
    "ema_model.",
    "model.",
    "net.",
    "network.",
)


def read_safetensors(path: Path, stack: contextlib.ExitStack) -> tuple[dict[str, Tensor], str]:
    """The tensors in a `.safetensors` file, and the dialect that it declares."""
    need("safetensors", "torch")
    from safetensors import safe_open

    check_header(path)
    names = {"F16": "float16", "F32": "float32", "F64": "float64", "BF16": "bfloat16"}
    file = stack.enter_context(safe_open(path, framework="numpy"))
    found = {}
    for name in list(file.keys()):
        piece = file.get_slice(name)
        dtype = names.get(piece.get_dtype(), piece.get_dtype())
        if dtype == "bfloat16":
            need("ml_dtypes", "torch")

        def load(name: str = name) -> Any:
            return file.get_tensor(name)

        found[name] = Tensor(name, tuple(piece.get_shape()), dtype, load)
    return found, str((file.metadata() or {}).get(DIALECT, ""))


def read_pickle(path: Path, notes: list[str]) -> dict[str, Tensor]:
    """The tensors in a file of `torch.save`, read by PyTorch's restricted unpickler.

    nnU-Net's checkpoints, which that one refuses for the numbers in their log, are read by ours.
    """
    archive = zipfile.is_zipfile(path)
    if not archive:
        check_legacy(path)
    else:
        if not check_archive(path):
            notes.append("the file has no checksums, so damaged values would go unnoticed")
        records = read_records(path)
        content = entries(records.content, str(path))
        if weights := entries(content.get(NNUNET), str(path)):
            rest = ", ".join(shown(str(name)) for name in [*content][:8] if name != NNUNET)
            notes.insert(0, f"used the weights under {NNUNET!r}{rest and f', {rest} omitted'}")
            return tensors(path, records, weights)
        refuse_foreign(path, records)
    need("torch", "torch")
    import pickle

    import torch

    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=archive)
    except pickle.UnpicklingError as error:
        if "weights_only" not in str(error).lower():
            raise
        message = "it contains more than tensors, and loading it could run code; nothing was run"
        raise CompileError(Problem(message, str(path), ALONE)) from None
    state = _unwrapped(loaded, notes)
    if state is None:
        there = ", ".join(map(shown, list(loaded)[:8])) if isinstance(loaded, dict) else ""
        problem = Problem(
            f"it contains no state dict, but {there or type(loaded).__name__}",
            str(path),
            hint=f"save a state dict, on its own or under {', '.join(WRAPPERS)}",
        )
        raise CompileError(problem)
    if not all(isinstance(name, str) for name in state):
        raise CompileError(Problem("one of its tensors has a name that is not a string", str(path)))
    return {name: _from_torch(name, value) for name, value in state.items()}


def _unwrapped(content: object, notes: list[str], deep: int = 0) -> Mapping[Any, Any] | None:
    import torch

    if not isinstance(content, Mapping) or deep > DEEPEST:
        return None
    if content and all(isinstance(value, torch.Tensor) for value in content.values()):
        return content
    for wrapper in WRAPPERS:
        if wrapper in content:
            state = _unwrapped(content[wrapper], notes, deep + 1)
            if state is not None:
                rest = [shown(str(name)) for name in content if name != wrapper]
                left = f", {', '.join(rest[:8])} omitted" if rest else ""
                notes.insert(0, f"used the weights under {wrapper!r}{left}")
                return state
    return None


def _from_torch(name: str, value: Any) -> Tensor:
    import torch

    dtype = str(value.dtype).removeprefix("torch.")
    if value.layout != torch.strided or value.device.type != "cpu" or value.is_quantized:
        dtype = "not dense"

    def load() -> Any:
        dense = value.detach().contiguous()
        if dtype != "bfloat16":
            return dense.numpy()
        need("ml_dtypes", "torch")
        import ml_dtypes

        return dense.view(torch.int16).numpy().view(ml_dtypes.bfloat16)

    return Tensor(name, tuple(value.shape), dtype, load)


def without_prefix(
    tensors: dict[str, Tensor], notes: list[str]
) -> tuple[dict[str, Tensor], list[str]]:
    """Strip the prefixes and extra entries that wrappers add, and report them.

    Also returns the names of the tensors that a training module holds beside its network, such as
    the states of metrics: those that lack a prefix which most names have.
    """
    if AVERAGED in tensors:
        tensors = {name: tensor for name, tensor in tensors.items() if name != AVERAGED}
        notes.append(f"omitted {AVERAGED!r}: the weights are an average")
    beside: list[str] = []
    while prefix := next((p for p in PREFIXES if _of_most(p, tensors)), ""):
        others = [name for name in tensors if not name.startswith(prefix)]
        beside += others
        tensors = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        if others:
            listed = ", ".join(map(shown, others))
            notes.append(f"omitted {counted(len(others), 'tensor')} outside {prefix!r}: {listed}")
        notes.append(f"stripped the prefix {prefix!r} from every {'other ' * bool(beside)}name")
    return tensors, beside


def _of_most(prefix: str, names: Iterable[str]) -> bool:
    below = [name.startswith(prefix) and name != prefix for name in names]
    return sum(below) > len(below) / 2
