"""What a network costs to run, for Python: the functions of `show --cost` and `plan`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar, Unpack

from .api import channels_last, warn
from .errors import CompileError, Problem, raise_all, shown
from .keywords import ModelOptions
from .limits import BATCH, MEMORY, TEXT
from .model import Encoder
from .names import FilePath
from .nnunet.asked import read_sizes, read_spacing
from .passes.cost import OPTIMIZERS, Cost, cost_of
from .passes.fitting import Choice, Data, Fits, Request, fits_of
from .passes.lint import Note, notes_of
from .passes.tape import DEVICES, PRECISIONS
from .passes.validate import resolve
from .passes.values import choice, count, whole

UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
MEMORY_WORDS = re.compile(
    r"\s*([0-9]{1,16}(?:\.[0-9]{1,9})?)\s*([kmgt]?)(i?)(b?)\s*", re.IGNORECASE
)
SMALLEST = 2**20  # bytes of a memory
SPACED = "--spacing"
Value = TypeVar("Value")


def cost(
    model: FilePath | Encoder,
    *,
    batch: int | str = 1,
    precision: str = "fp32",
    optimizer: str = "adamw",
    device: str = "cpu",
    **options: Unpack[ModelOptions],
) -> Cost:
    """Compute what the network's PyTorch file costs to train and to run, in bytes.

    Takes the model and options of `emit`, the size of a `batch`, a `precision` (`"fp32"`, or
    `"bf16"` and `"fp16"` under `torch.autocast`, with weights in 32 bits) and an `optimizer`
    (`"adamw"`, or `"sgd"` with momentum), on a `device` (`"cpu"` or `"cuda"`). Nothing is run, and
    no framework is imported. Returns a `Cost` with `macs` of one item, `parameters`, and bytes of
    `weights`, `gradients`, `optimizer_state`, of what is `saved` for the backward pass, and of the
    peaks of `training` and `inference`; `steps` has the share of each step.

    Raises `CompileError` with every problem of the arguments.
    """
    problems: list[Problem] = []
    setting = find_setting(batch, precision, optimizer, problems, device)
    resolved = resolve(model, options, problems)
    warn(resolved)
    return cost_of(resolved, *setting)


def find_setting(
    batch: object,
    precision: object,
    optimizer: object,
    problems: list[Problem],
    device: object = "cpu",
) -> tuple[int, str, str, str]:
    """Batch size, precision, optimizer and device; what is wrong with them is noted."""
    return (
        _noted(problems, 1, lambda: count("--batch", batch, BATCH)),
        _noted(problems, "fp32", lambda: choice("--precision", precision, PRECISIONS)),
        _noted(problems, "adamw", lambda: choice("--optimizer", optimizer, OPTIMIZERS)),
        _noted(problems, "cpu", lambda: choice("--device", device, DEVICES)),
    )


def _noted(problems: list[Problem], otherwise: Value, read: Callable[[], Value]) -> Value:
    """What `read` returns; what is wrong with it is noted."""
    try:
        return read()
    except CompileError as error:
        problems += error.problems
        return otherwise


def lint(model: FilePath | Encoder, **options: Unpack[ModelOptions]) -> tuple[Note, ...]:
    """Look for what may be better about a network, with figures.

    Takes the model and options of `emit`. Returns a `Note` each for the warnings of `emit`, for a
    step that has most of the parameters or MACs, for image sizes that levels do not divide evenly,
    for a decoder that is wider than its encoder, and for a receptive field smaller than the image:
    its `kind`, its `message` with the figures, a `hint`, and the `steps` that it is about.

    Raises `CompileError` with every problem of the arguments.
    """
    return notes_of(resolve(model, options))


def cost_description(cost: Cost) -> dict[str, object]:
    """The cost as a dict, as `show --cost --json` prints it: shapes channels last."""
    steps = [asdict(step) | {"output": channels_last(step.output)} for step in cost.steps]
    return asdict(cost) | {"steps": steps}


def find_memory(memory: object) -> int:
    """Bytes, from a number of them or from text such as `24GiB`. Raises `CompileError`.

    A `GB` is a billion bytes, and `24G` is a GPU that is sold as one of 24 GB: 24 GiB.
    """
    hint = "as 24GiB, 16GB or 512MiB"
    number = None if isinstance(memory, str) else whole(memory)
    if number is None:
        text = str.__str__(memory) if isinstance(memory, str) else ""
        found = MEMORY_WORDS.fullmatch(text[: TEXT.largest])
        if not found:
            raise CompileError(Problem(f"--memory is {shown(memory)}", hint=hint))
        digits, letter, binary, byte = found.groups()
        unit = 1000 if byte and not binary else 1024
        number = int(float(digits) * unit ** UNITS[letter.lower()])
    raise_all(MEMORY.problems("--memory", number))
    if number < SMALLEST:
        raise CompileError(Problem(f"--memory is {shown(memory)}, less than a MiB", hint=hint))
    return number


def plan(
    model: FilePath | Encoder,
    *,
    memory: int | str,
    batch: int | str | None = None,
    precision: str = "fp32",
    optimizer: str = "adamw",
    device: str = "cpu",
    shape: Sequence[int] | str | None = None,
    **options: Unpack[ModelOptions],
) -> Fits:
    """Find the patch and batch sizes that fit into a memory, in training and in inference.

    Takes the model and options of `emit`, a `memory` (`"24GiB"`, or bytes), and `precision`,
    `optimizer` and `device` of `cost`. Patches are multiples of how much smaller the deepest level
    is than the image. With the `shape` of the data (its sizes, without channels) and its `spacing`,
    they have its proportions and end where they cover it. Without a `batch`, several are tried.
    With `input_shape`, the patch is that one, and the largest batch is looked for. Returns `Fits`:
    the largest choice that fits, its parts in bytes, the next larger one, which does not, and the
    `notes` of `lint` about the network at the largest patch.

    Raises `CompileError` with every problem of the arguments.
    """
    asked: dict[str, object] = {"memory": memory, "batch": batch, "shape": shape}
    asked |= {"precision": precision, "optimizer": optimizer, "device": device}
    return fits_of(find_request(model, asked, dict(options)))


def find_request(
    model: FilePath | Encoder, asked: Mapping[str, object], options: dict[str, Any]
) -> Request:
    """What `plan` is asked. Raises `CompileError` with every problem."""
    problems: list[Problem] = []
    memory = _noted(problems, SMALLEST, lambda: find_memory(asked["memory"]))
    batch = asked["batch"]
    size, precision, optimizer, device = find_setting(
        1 if batch is None else batch,
        asked["precision"],
        asked["optimizer"],
        problems,
        asked.get("device", "cpu"),
    )
    fixed = any(options.get(name) is not None for name in ("input_shape", "patch_size"))
    shape, spacing = asked["shape"], options.get("spacing")
    if options.get("patch_size") is None:  # for which nnU-Net's planner takes the spacing too
        options.pop("spacing", None)
    sizes: tuple[int, ...] = ()
    each: tuple[float, ...] = ()
    if shape is not None:
        sizes = _noted(problems, sizes, lambda: read_sizes("--shape", shape))
    if spacing is not None:
        each = _noted(problems, each, lambda: read_spacing(SPACED, spacing))
    if fixed and shape is not None:
        message = "--shape is of the data that patches are taken from, and the patch is given"
        problems.append(Problem(message, hint="leave out one of the two"))
    resolved = resolve(model, options, problems)
    for flag, given in (("--shape", sizes), (SPACED, each)):
        if given and len(given) != resolved.dims:
            message = f"{flag} has {len(given)} axes, but {resolved.title} has {resolved.dims}"
            raise CompileError(Problem(message, hint=f"add --dims {len(given)}"))
    batches = () if batch is None else (size,)
    data = Data(sizes, each)
    return Request(resolved, memory, precision, optimizer, device, batches, fixed, data)


def fits_description(fits: Fits) -> dict[str, object]:
    """The plan as a dict, as `plan --json` prints it."""

    def described(choice: Choice | None) -> dict[str, object] | None:
        return asdict(choice) | {"total": choice.total} if choice else None

    found = {
        name: [{"largest": described(fit.largest), "next": described(fit.next)} for fit in each]
        for name, each in (("training", fits.training), ("inference", fits.inference))
    }
    return asdict(fits) | found | {"notes": [note.described() for note in fits.notes]}
