"""The comment at the end of an emitted file: how to write it again, and digests of what it was.

# Written by plainnet 0.1.0, for you to own. To write it again:
#     python -m compiler emit seresnext50 --target torch --dims 3
# spec sha256:...
# body sha256:...
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import shlex
from dataclasses import asdict, dataclass, fields

from .catalog import ENCODERS
from .errors import CompileError, Problem
from .model import (
    Classifier,
    Encoder,
    Features,
    Model,
    Segmentor,
    SqueezeExcite,
    TransUNet,
    UNet,
)
from .options import BY_NAME, DEFAULT_CLASSES, DEFAULT_SHAPE
from .passes.heads import FIELDS
from .passes.validate import looks_channels_first

_FIRST = "# Written by plainnet "
_BLOCK = re.compile(
    rf"\n\n{_FIRST}(?P<version>\S+), for you to own\. To write it again:\n"
    r"(?P<command>(?:#     .*\n)+)"
    r"# sha256: spec (?P<spec>[0-9a-f]{32}), body (?P<body>[0-9a-f]{32})(?P<end>\s*)\Z"
)
_COMMAND = "python -m compiler emit"


@dataclass(frozen=True)
class Provenance:
    """What the end of a file says: the compiler's version, the command, the two digests."""

    version: str
    command: str
    spec: str
    body: str
    text: str  # the file above the comment

    @property
    def untouched(self) -> bool:
        """Whether the body is still the one that was written."""
        return _digest(self.text) == self.body


def sign(text: str, model: Model, target: str) -> str:
    """The text with its provenance at the end."""
    from . import __version__

    command = "".join(f"#     {line}\n" for line in _command(model, target))
    spec = json.dumps([model.name, asdict(model)], sort_keys=True)
    return (
        f"{text}\n\n{_FIRST}{__version__}, for you to own. To write it again:\n{command}"
        f"# sha256: spec {_digest(spec)}, body {_digest(text)}\n"
    )


def read(text: str) -> Provenance | None:
    """The provenance of a file; None where there is none. Raises `CompileError` if garbled."""
    match = _BLOCK.search(text)
    if match:
        lines = match["command"].replace("#     ", "").splitlines()
        above = text[: match.start()]
        if match["end"] != "\n":  # an editor's doing: a change, but no harm
            above += match["end"] + "\n"
        return Provenance(match["version"], "\n".join(lines), match["spec"], match["body"], above)
    if _FIRST in text:
        hint = "take the last lines from version control; nothing may stand below them"
        raise CompileError(Problem("its provenance is garbled", hint=hint))
    return None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def version_key(version: str) -> tuple[int, ...]:
    """0.1.0 as numbers that compare. Raises `CompileError` where it has other parts."""
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})*", version):
        raise CompileError(Problem(f"its provenance is garbled: version {version!r}"))
    return tuple(map(int, version.split(".")))


def _command(model: Model, target: str) -> list[str]:
    """The command, or for an encoder of one's own the call, in lines."""
    options = spell_options(model)
    if model.encoder.custom:
        return _call(model.encoder, target, options)
    words = [_COMMAND, model.encoder.name, f"--target {target}"]
    for name, value in options.items():
        flag = BY_NAME[name].flag
        values = ",".join(map(str, value)) if isinstance(value, tuple) else value
        words.append(flag if value is True else f"{flag} {values}")
    lines = [""]
    for word in words:
        if len(lines[-1]) + len(word) > 90:
            lines[-1] += " \\"
            lines.append("    ")
        lines[-1] += f" {word}" if lines[-1].strip() else word
    return lines


def spell_options(model: Model) -> dict[str, object]:
    """The options that make this model of its encoder's name, defaults left out but for dims."""
    options: dict[str, object] = {"dims": model.dims}
    default = DEFAULT_SHAPE[model.dims]
    if model.input_shape[:-1] != default[:-1]:
        options["input_shape"] = model.input_shape
        if looks_channels_first(model.input_shape):
            options["channels_last"] = True
    elif model.in_channels != default[-1]:
        options["in_channels"] = model.in_channels
    match model.head:
        case Classifier(num_classes=classes, activation=activation):
            if classes != DEFAULT_CLASSES[model.dims]:
                options["num_classes"] = classes
            if activation != "none":
                options["classifier_activation"] = activation
        case Features(pooling=pooling):
            options["features_only"] = True
            if pooling != "none":
                options["pooling"] = pooling
        case UNet() | TransUNet():
            options |= _segmentor_options(model.head, len(model.encoder.levels))
    if model.compat:
        options["compat"] = model.compat
    if model.include_rescaling:
        options["include_rescaling"] = True
    if model.encoder.dialect != _usual_dialect(model.encoder):
        options["dialect"] = model.encoder.dialect
    se, usual = model.encoder.se, _usual_se(model.encoder)
    if se and usual and se.ratio != usual.ratio:
        options["se_ratio"] = se.ratio
    if se and usual and se.activation != usual.activation:
        options["se_activation"] = se.activation
    return options


def _segmentor_options(head: Segmentor, levels: int) -> dict[str, object]:
    options: dict[str, object] = {"segmentor": head.name}
    if head.num_classes != 1:
        options["num_classes"] = head.num_classes
    if head.activation != "none":
        options["classifier_activation"] = head.activation
    usual = {field.name: field.default for field in fields(head)} | {"depth": min(5, levels)}
    for option, field in FIELDS.items():
        value = getattr(head, field, usual.get(field))
        if value != usual.get(field):
            options[option] = value
    return options


def _usual_dialect(encoder: Encoder) -> str:
    return "medicai" if encoder.custom else ENCODERS[encoder.name].dialect


def _usual_se(encoder: Encoder) -> SqueezeExcite | None:
    """What the encoder has without options: a custom one says its own."""
    return encoder.se if encoder.custom else ENCODERS[encoder.name].se


def custom_arguments(encoder: Encoder) -> dict[str, object]:
    """The keywords that make an encoder of one's own with `custom_encoder`."""
    return {
        "blocks": encoder.depths,
        "block": encoder.block,
        "filters": encoder.filters,
        "strides": encoder.strides,
        "stem_filters": encoder.stem.filters,
        "stem_kernels": encoder.stem.kernels,
        "pre_activation": encoder.pre_activation,
        "groups": encoder.groups,
        "width_per_group": encoder.width_per_group,
        "se_ratio": encoder.se.ratio if encoder.se else None,
        "se_activation": encoder.se.activation if encoder.se else "relu",
    }


def _call(encoder: Encoder, target: str, options: dict[str, object]) -> list[str]:
    lines = ["compiler.emit(", "    compiler.custom_encoder(", f'        "{encoder.name}",']
    for name, value in custom_arguments(encoder).items():
        lines.append(f"        {name}={value!r},")
    lines += ["    ),", f'    target="{target}",']
    lines += [f"    {name}={value!r}," for name, value in options.items()]
    return [*lines, ")"]


@dataclass(frozen=True)
class Request:
    """A command that was read back: what to emit, and with which options."""

    name: str
    target: str
    options: dict[str, object]
    custom: dict[str, object] | None = None


def parse_command(command: str) -> Request:
    """The command of a provenance, read back without running anything. Raises `CompileError`."""
    try:
        if command.startswith(_COMMAND + " "):
            return _parse_words(shlex.split(command.replace("\\\n", " "))[4:])
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
                hint="take the last lines from version control",
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
            if (ast.unparse(emit), ast.unparse(custom)) == (
                "compiler.emit",
                "compiler.custom_encoder",
            ):
                options = _literals(tree.keywords)
                target = options.pop("target")
                return Request(
                    ast.literal_eval(name), str(target), options, custom=_literals(fields)
                )
    raise ValueError(source)


def _literals(keywords: list[ast.keyword]) -> dict[str, object]:
    return {str(item.arg): ast.literal_eval(item.value) for item in keywords}
