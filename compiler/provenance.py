"""The comment at the end of an emitted file: the command that writes it again, and its digests.

# Written by plainnet 0.1.0 with black 26.10.1, for you to own. To write it again:
#     plainnet emit seresnext50 --target torch --dims 3
# sha256: text ..., code ...

`text` is the digest of everything above the comment, and of the command. `code` is that of the
same without its layout, so that a file is still known after a formatter has been over it.
"""

from __future__ import annotations

import ast
import hashlib
import re
import shlex
from dataclasses import dataclass

from .arguments import spell_options
from .errors import CompileError, Problem
from .limits import PROVENANCE_BYTES
from .model import Encoder, Model
from .options import BY_NAME
from .passes.custom import custom_arguments
from .syntax import comparable
from .tidying import sorted_imports, split_header

_FIRST = "# Written by plainnet "
_BLOCK = re.compile(
    r"# Written by plainnet (?P<version>\S+)(?: with (?P<writer>black \S+))?, for you to own\."
    r" To write it again:\n"
    r"(?P<command>(?:#     .*\n)+)"
    r"# sha256: (?:text (?P<text>[0-9a-f]{32}), code (?P<code>[0-9a-f]{32})"
    r"|spec [0-9a-f]{32}, body (?P<body>[0-9a-f]{32}))(?P<end>\s*)"
)
_COMMANDS = ("plainnet emit ", "python -m compiler emit ")  # the second is what 0.1.0 first wrote
_CALLS = ("plainnet", "compiler")


@dataclass(frozen=True)
class Provenance:
    """What the end of a file says, the text above it, and what somebody wrote below it.

    `writer` is the formatter with its version. The first version of plainnet wrote no `writer` and
    no digest of the code, and its digest of the text did not cover the command.
    """

    version: str
    writer: str
    command: str
    text: str
    text_digest: str
    code_digest: str
    below: str = ""

    @property
    def untouched(self) -> bool:
        """Whether the text and the command are still as they were written, to the byte."""
        if self.below:
            return False
        command = self.command if self.code_digest else ""
        return _digest(self.text + command) == self.text_digest

    @property
    def unedited(self) -> bool:
        """Whether they are as they were written, or only tools have changed the layout."""
        if self.untouched or not self.code_digest or self.below:
            return self.untouched
        ways = (self.text, sorted_imports(split_header(self.text)[1]))
        return any(_code_digest(way, self.command) == self.code_digest for way in ways)


def sign(text: str, model: Model, target: str, writer: str) -> str:
    """The text with its provenance at the end.

    `writer` is the formatter, `black 26.10.1`; "" for none.
    """
    from . import __version__

    lines = _command(model, target)
    command = "\n".join(lines)
    comment = "".join(f"#     {line}\n" for line in lines)
    formatter = f" with {writer}" if writer else ""
    return (
        f"{text}\n\n{_FIRST}{__version__}{formatter}, for you to own. To write it again:\n"
        f"{comment}"
        f"# sha256: text {_digest(text + command)}, code {_code_digest(text, command)}\n"
    )


def read(text: str) -> Provenance | None:
    """The provenance of a file; None if there is none. Raises `CompileError` if it is garbled."""
    start = 0 if text.startswith(_FIRST) else text.rfind(f"\n{_FIRST}") + 1
    if not text.startswith(_FIRST, start):
        return None
    match = _BLOCK.match(text, start, start + PROVENANCE_BYTES.largest)
    below = text[match.end() :] if match else ""
    if match is None or (below and not match["end"].endswith("\n")):
        hint = "restore the comment at its end from version control"
        raise CompileError(Problem("its provenance is garbled", hint=hint))
    lines = match["command"].replace("#     ", "").splitlines()
    above = text[:start]
    if above.endswith("\n\n\n"):
        above = above[:-2]
    else:  # blank lines were added or removed: a change, but a harmless one
        above += "\n"
    if below:
        below = match["end"][1:] + below
    elif match["end"] != "\n":  # an editor's doing, likewise
        above += match["end"] + "\n"
    return Provenance(
        version=match["version"],
        writer=match["writer"] or "",
        command="\n".join(lines),
        text=above,
        text_digest=match["text"] or match["body"],
        code_digest=match["code"] or "",
        below=below,
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _code_digest(text: str, command: str) -> str:
    """The digest of the code, without the layout that Python ignores, and of the command."""
    return _digest(f"{comparable(text)}\n{command}")


def digest_of(emission: str) -> str:
    """The digest of an emission's text, which its footer names."""
    found = read(emission)
    assert found is not None
    return found.text_digest


def command_of(model: Model, target: str) -> str:
    """The command that emits the model, as a provenance has it."""
    return "\n".join(_command(model, target))


def call_of(model: Model, target: str) -> str:
    """The call in Python that emits the model."""
    return "\n".join(_call(model.encoder, target, spell_options(model)))


def footer(text: str) -> str:
    """The end of an emission, from the blank lines above its provenance on."""
    return text[text.rfind(f"\n\n\n{_FIRST}") + 1 :]


def written_as(text: str, provenance: Provenance) -> bool:
    """Whether a text, in this layout or another, is what the digests of a footer are of."""
    with_command = text + (provenance.command if provenance.code_digest else "")
    if _digest(with_command) == provenance.text_digest:
        return True
    return _code_digest(text, provenance.command) == provenance.code_digest


def networks(text: str) -> int:
    """How many provenance comments the text has."""
    return len(_BLOCK.findall(text))


def version_key(version: str) -> tuple[int, ...]:
    """0.1.0 as numbers that compare. Raises `CompileError` where it has other parts."""
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})*", version):
        raise CompileError(Problem(f"its provenance is garbled: version {version!r}"))
    return tuple(map(int, version.split(".")))


def refuse_newer(provenance: Provenance) -> None:
    """Raise `CompileError` if a newer plainnet wrote the file, or its version cannot be read."""
    from . import __version__

    if version_key(provenance.version) > version_key(__version__):
        raise CompileError(
            Problem(
                f"it was written by plainnet {provenance.version}, newer than this {__version__}",
                hint="upgrade plainnet",
            )
        )


def _command(model: Model, target: str) -> list[str]:
    """The command, or for an encoder of one's own the call, in lines."""
    options = spell_options(model)
    if model.encoder.custom:
        return _call(model.encoder, target, options)
    words = [_COMMANDS[0].rstrip(), model.encoder.name, f"--target {target}"]
    for name, value in options.items():
        flag = BY_NAME[name].flag
        words.append(flag if value is True else f"{flag} {BY_NAME[name].typed(value)}")
    lines = [""]
    for word in words:
        if len(lines[-1]) + len(word) > 90:
            lines[-1] += " \\"
            lines.append("    ")
        lines[-1] += f" {word}" if lines[-1].strip() else word
    return lines


def _call(encoder: Encoder, target: str, options: dict[str, object]) -> list[str]:
    lines = ["plainnet.emit("]
    if encoder.custom:
        lines += ["    plainnet.custom_encoder(", f'        "{encoder.name}",']
        for name, value in custom_arguments(encoder).items():
            lines.append(f"        {name}={value!r},")
        lines.append("    ),")
    else:
        lines.append(f'    "{encoder.name}",')
    lines.append(f'    target="{target}",')
    lines += [f"    {name}={value!r}," for name, value in options.items()]
    return [*lines, ")"]


@dataclass(frozen=True)
class Request:
    """A command that was read back: what to emit, and with which options."""

    name: str
    target: str
    options: dict[str, object]
    custom: dict[str, object] | None = None

    @property
    def subject(self) -> str:
        """As `subject` has it for a model."""
        segmentor = self.options.get("segmentor")
        name = f"{self.name}_{segmentor}" if segmentor else self.name
        deploy = bool(self.options.get("deploy"))
        custom = self.custom is not None
        return _subject(name, self.options.get("dims"), self.target, custom, deploy)


def subject(model: Model, target: str) -> str:
    """What a file holds, in words. Two files with the same subject are versions of one network."""
    return _subject(model.name, model.dims, target, model.encoder.custom, model.deploy)


def _subject(name: str, dims: object, target: str, custom: bool, deploy: bool) -> str:
    inference = ", inference only" * deploy
    return f"{name}{' (custom)' if custom else ''} in {dims}D for {target}{inference}"


def parse_command(command: str) -> Request:
    """The command of a provenance, read back without running anything. Raises `CompileError`."""
    try:
        for start in _COMMANDS:
            if command.startswith(start):
                return _parse_words(shlex.split(command[len(start) :].replace("\\\n", " ")))
        return _parse_call(command)
    except (
        ValueError,
        SyntaxError,
        KeyError,
        IndexError,
        StopIteration,
        RecursionError,
        MemoryError,  # as deep nesting ends in Python's parser
    ):
        raise CompileError(
            Problem(
                "its provenance is garbled: the command cannot be read",
                hint="restore the last lines from version control",
            )
        ) from None


def _parse_words(words: list[str]) -> Request:
    flags = {option.flag: option for option in BY_NAME.values()}
    rest = iter(words)
    name = next(rest)
    options: dict[str, object] = {}
    for word in rest:
        if word == "--target":
            options["target"] = next(rest)
        else:
            option = flags[word]
            options[option.name] = True if option.kind == "flag" else next(rest)
    return Request(name, str(options.pop("target")), options)


def _parse_call(source: str) -> Request:
    tree = ast.parse(source, mode="eval").body
    match tree:
        case ast.Call(func=emit, args=[ast.Call(func=custom, args=[name], keywords=fields)]):
            called = (ast.unparse(emit), ast.unparse(custom))
            if called in {(f"{name}.emit", f"{name}.custom_encoder") for name in _CALLS}:
                options = _literals(tree.keywords)
                target = options.pop("target")
                return Request(
                    ast.literal_eval(name), str(target), options, custom=_literals(fields)
                )
    raise ValueError(source)


def _literals(keywords: list[ast.keyword]) -> dict[str, object]:
    return {str(item.arg): ast.literal_eval(item.value) for item in keywords}
