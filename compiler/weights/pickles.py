"""Find out what a PyTorch pickle would build, without building it.

PyTorch's restricted unpickler runs no code, but a few bytes can make it allocate gigabytes. So the
opcodes are first interpreted over placeholders: only the calls that state dicts need are allowed,
every storage has a known size, and steps, depth and tensors stay within `compiler/limits.py`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from ..errors import CompileError, Problem
from ..limits import CHECKPOINT_ENTRIES, PICKLE_BYTES, PICKLE_DEPTH, PICKLE_OPCODES, Limit
from .checkpoints import shown

AGAIN = "the file is damaged: copy or download it again"
ALONE = "save the weights alone: torch.save(model.state_dict(), path)"
REBUILDERS = tuple(
    f"torch._utils._rebuild_{name}"
    for name in (
        *("tensor", "tensor_v2", "tensor_v3", "parameter", "parameter_with_state"),
        *("qtensor", "sparse_tensor", "meta_tensor_no_storage"),
    )
)
PLAIN = "torch._utils._rebuild_tensor"  # also with a version, as in _v2
FROM_TYPE = "torch._tensor._rebuild_from_type_v2"  # a tensor with attributes
CALLED = {
    *(*REBUILDERS, FROM_TYPE),
    *("collections.OrderedDict", "collections.Counter", "builtins.set", "builtins.complex"),
    *("torch.nn.parameter.Parameter", "torch.Size", "torch.device"),
    "torch.serialization._get_layout",
}
# NumPy's numbers, in the log of a training run: nothing reads what they make.
INERT = {f"numpy.{core}.multiarray.scalar" for core in ("_core", "core")}
INERT |= {"numpy.dtype", "_codecs.encode"}
STORAGE = re.compile(r"torch\.(?:storage\.)?([A-Z]\w*)Storage")
# A storage, dtype or quantization scheme.
NAMED = re.compile(rf"{STORAGE.pattern}|torch\.[a-z]\w*|torch\.Tensor")
ITEM_BYTES = {
    "ComplexDouble": 16,
    **dict.fromkeys(("Double", "Long", "ComplexFloat"), 8),
    **dict.fromkeys(("Float", "Int", "QInt32"), 4),
    **dict.fromkeys(("Half", "BFloat16", "Short"), 2),
    **dict.fromkeys(("Char", "Byte", "Bool", "QInt8", "QUInt8", "QUInt4x2", "QUInt2x4"), 1),
    "Untyped": 1,
}
MOVED = {"__builtin__": "builtins"}  # pickle protocol 2 uses the module names of Python 2
LONGEST_LINE = 1000


@dataclass(frozen=True)
class Name:
    """A class, function or constant that the pickle refers to."""

    text: str


def refuse_call(text: str, at: str) -> NoReturn:
    """Raise `CompileError` for a function that a pickle calls."""
    called = f"it calls {shown(text.removeprefix('builtins.'))}, which no state dict needs"
    raise CompileError(Problem(f"{called}; nothing was run", at, ALONE))


@dataclass
class Node:
    """A container, a tensor, or another object that a call makes (with empty `items`).

    Items of a dict are keys and values in turn; those of a tensor are the key and type of its
    storage, offset, shape and strides. `weight` is how many values a tuple holds at all depths:
    shared ones take memory once, but a hash visits each. Mutable objects weigh 1.
    """

    kind: str
    items: list[Any] = field(default_factory=list)
    weight: int = 1
    depth: int = 1


class Scan:
    """Interprets the pickles in `data`, one after the other. `load` raises `CompileError`.

    `storages` maps the key of each storage to its number of items and the bytes per item.
    `foreign` is the first of the `INERT` functions that the pickle calls, "" if it calls none.
    """

    def __init__(self, data: Any, at: str):
        self.data, self.at, self.place = data, at, 0
        self.steps = self.made = 0
        self.storages: dict[str, tuple[int, int]] = {}
        self.foreign = ""
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def load(self) -> Any:
        """A placeholder for the content of the next pickle; `place` moves to its end."""
        if self.data[self.place : self.place + 1] != b"\x80":
            if self.data[:2] == b"PK":  # the list of its parts is at the end
                raise ValueError("the archive is truncated")
            raise ValueError("it is neither an archive nor a pickle written by PyTorch")
        self.stack, self.marks, self.memo = [], [], {}
        try:
            while (code := self.data[self.place]) != STOP:
                self.place += 1
                self.steps += 1
                if self.steps > PICKLE_OPCODES.largest:
                    self.spend(0)
                if (step := STEPS.get(code)) is None:
                    message = f"its pickle has the opcode {bytes([code])!r}, which no state dict"
                    self.refuse(f"{message} needs; nothing was run", ALONE)
                step(self)
            self.place += 1
            return self.stack.pop()
        except (IndexError, KeyError, struct.error):
            raise ValueError("its pickle is damaged or truncated") from None

    def refuse(self, message: str, hint: str = "") -> NoReturn:
        raise CompileError(Problem(message, self.at, hint))

    def bound(self, limit: Limit, what: str, value: int) -> None:
        if value > limit.largest:
            raise CompileError(*limit.problems(what, value, self.at))

    def spend(self, steps: int) -> None:
        self.steps += steps
        self.bound(PICKLE_OPCODES, "the work that its pickle asks for", self.steps)

    def take(self, count: int) -> bytes:
        end = self.place + count
        self.bound(PICKLE_BYTES, "the length of its pickle", end)
        if end > len(self.data):
            raise IndexError
        piece = bytes(self.data[self.place : end])
        self.place = end
        return piece

    def number(self, layout: str) -> int:
        (value,) = struct.unpack(layout, self.take(struct.calcsize(layout)))
        return int(value)

    def line(self) -> str:
        end = self.data.find(b"\n", self.place, self.place + LONGEST_LINE)
        if end < 0:
            raise IndexError
        return self.take(end + 1 - self.place)[:-1].decode("utf-8", "replace")

    def text(self, layout: str) -> None:
        self.stack.append(self.take(self.number(layout)).decode("utf-8", "surrogatepass"))

    def fetch(self, layout: str) -> None:
        value = self.memo[self.number(layout)]
        if isinstance(value, Node):
            self.spend(value.weight)
        self.stack.append(value)

    def keep(self, layout: str) -> None:
        self.memo[self.number(layout)] = self.stack[-1]

    def mark(self) -> None:
        self.bound(PICKLE_DEPTH, "the depth of its pickle", len(self.marks) + 1)
        self.marks.append(len(self.stack))

    def marked(self) -> list[Any]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def last(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise IndexError
        items = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return items

    def tuple_of(self, items: list[Any]) -> None:
        node = Node("tuple")
        self.put(node, items)
        node.weight += sum(i.weight if isinstance(i, Node) else 1 for i in items)
        self.spend(len(items))
        self.bound(PICKLE_OPCODES, "the work that its pickle asks for", node.weight)
        self.stack.append(node)

    def add(self, items: list[Any]) -> None:
        self.put(self.stack[-1], items)

    def put(self, into: Any, items: list[Any]) -> None:
        if not isinstance(into, Node):
            raise IndexError
        below = max((i.depth for i in items if isinstance(i, Node)), default=0)
        into.depth = max(into.depth, below + 1)
        self.bound(PICKLE_DEPTH, "the depth of its pickle", into.depth)
        into.items += items

    def refer(self) -> None:
        module, name = self.line(), self.line()
        text = f"{MOVED.get(module, module)}.{name}"
        if text not in CALLED | INERT and not NAMED.fullmatch(text):
            refuse_call(text, self.at)
        self.stack.append(Name(text))

    def call(self) -> None:
        function, arguments = self.last(2)
        text = function.text if isinstance(function, Name) else ""
        if not isinstance(arguments, Node) or text not in CALLED | INERT:
            refuse_call(text or "an object of its own", self.at)
        self.foreign = self.foreign or (text if text in INERT else "")
        if text == FROM_TYPE:
            function, _, inner = arguments.items[:3]
            if function not in map(Name, REBUILDERS) or not isinstance(inner, Node):
                self.refuse("it builds a tensor in a way that no state dict needs", ALONE)
            text, arguments = function.text, inner
        made = Node("object")
        if text.startswith(PLAIN):
            made = self.tensor(arguments.items)
        elif text.endswith("._rebuild_parameter") and isinstance(arguments.items[0], Node):
            made = arguments.items[0]
        self.spend(sum(len(i.items) for i in arguments.items if isinstance(i, Node)))
        if text == "collections.OrderedDict":
            made = Node("object" if arguments.items else "dict")
        elif text not in INERT:
            self.made += 1
            self.bound(CHECKPOINT_ENTRIES, "the number of its tensors", self.made)
        self.stack.append(made)

    def tensor(self, arguments: list[Any]) -> Node:
        """A tensor that lies within its storage: PyTorch enlarges legacy storages to fit."""
        match arguments:
            case [
                Node(kind="storage", items=[key, kind]),
                int(offset),
                Node(kind="tuple", items=shape),
                Node(kind="tuple", items=strides),
                *_,
            ] if len(shape) == len(strides) and all(
                isinstance(n, int) and n >= 0 for n in (offset, *shape, *strides)
            ):
                reach = offset + 1 + sum((n - 1) * by for n, by in zip(shape, strides))
                count, item = self.storages[key]
                if 0 not in shape and reach > count:
                    message = f"its storage {shown(key)} has {count * item:,} bytes"
                    self.refuse(f"{message}, but its tensors need {reach * item:,}", AGAIN)
                return Node("tensor", [key, kind, offset, tuple(shape), tuple(strides)])
            case _:
                message = "one of its tensors is not described by storage, offset and shape"
                self.refuse(message, AGAIN)

    def build(self) -> None:
        (state,) = self.last(1)
        self.spend(len(state.items) if isinstance(state, Node) else 1)

    def storage(self) -> None:
        (reference,) = self.last(1)
        match reference.items if isinstance(reference, Node) else ():
            case ["storage", Name(text=text), str(key), _, int(count), *_] if count >= 0:
                found = STORAGE.fullmatch(text)
                if found is None or found[1] not in ITEM_BYTES:
                    self.refuse(f"its storage {shown(key)} has the unknown type {shown(text)}")
                self.stack.append(Node("storage", [key, found[1]]))
                size = count, ITEM_BYTES[found[1]]
                if self.storages.setdefault(key, size) != size:
                    self.refuse(f"its storage {shown(key)} is declared with two sizes", AGAIN)
                self.bound(CHECKPOINT_ENTRIES, "the number of its tensors", len(self.storages))
            case _:
                self.refuse("its pickle refers to something other than a storage", ALONE)


def _push(value: Any) -> Callable[[Scan], None]:
    return lambda scan: scan.stack.append(value)


def _container(kind: str) -> Callable[[Scan], None]:
    return lambda scan: scan.stack.append(Node(kind))


STOP = ord(".")
STEPS: dict[int, Callable[[Scan], Any]] = {
    ord(code): step
    for code, step in {
        "\x80": lambda scan: scan.take(1),  # the protocol
        "c": Scan.refer,
        "R": Scan.call,
        "\x81": Scan.call,
        "b": Scan.build,
        "Q": Scan.storage,
        "N": _push(None),
        "\x88": _push(True),
        "\x89": _push(False),
        "J": lambda scan: scan.stack.append(scan.number("<i")),
        "K": lambda scan: scan.stack.append(scan.number("<B")),
        "M": lambda scan: scan.stack.append(scan.number("<H")),
        "\x8a": lambda scan: scan.stack.append(
            int.from_bytes(scan.take(scan.number("<B")), "little", signed=True)
        ),
        "G": lambda scan: scan.stack.append(struct.unpack(">d", scan.take(8))[0]),
        "X": lambda scan: scan.text("<I"),
        "U": lambda scan: scan.text("<B"),
        "h": lambda scan: scan.fetch("<B"),
        "j": lambda scan: scan.fetch("<I"),
        "q": lambda scan: scan.keep("<B"),
        "r": lambda scan: scan.keep("<I"),
        "(": Scan.mark,
        ")": lambda scan: scan.tuple_of([]),
        "t": lambda scan: scan.tuple_of(scan.marked()),
        "\x85": lambda scan: scan.tuple_of(scan.last(1)),
        "\x86": lambda scan: scan.tuple_of(scan.last(2)),
        "\x87": lambda scan: scan.tuple_of(scan.last(3)),
        "]": _container("list"),
        "}": _container("dict"),
        "\x8f": _container("set"),
        "a": lambda scan: scan.add(scan.last(1)),
        "s": lambda scan: scan.add(scan.last(2)),
        "e": lambda scan: scan.add(scan.marked()),
        "u": lambda scan: scan.add(scan.marked()),
    }.items()
}
