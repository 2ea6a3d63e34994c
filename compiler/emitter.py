"""Plan -> text: the only importer of jinja2 and black."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import assert_never

import black
import jinja2

from .lower import lower
from .model import Classifier, Features, Head, Model, TransUNet, UNet
from .passes.specialize import specialize
from .passes.trace import Ledger, trace
from .provenance import sign
from .targets import target_named

WRITER = f"black {black.__version__}"  # type: ignore[attr-defined]
_MODE = black.Mode(line_length=100)
_HERE = Path(__file__).parent
# Beside the package in the repository, inside of it in a wheel.
_TEMPLATES = [_HERE / "_templates", _HERE.parent / "templates"]


@cache
def _environment(target: str) -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder / target for folder in _TEMPLATES]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )


def source(model: Model, target_name: str) -> str:
    """The emitted file, provenance included, formatted by black at 100 columns."""
    return compiled(model, target_name)[0]


def compiled(model: Model, target_name: str) -> tuple[str, Ledger]:
    """The emitted file, and the ledger that it was written from."""
    network = specialize(model)
    target = target_named(target_name)
    ledger = trace(network)
    plan = lower(network, ledger)
    names = {**target.context(plan), **_templates(model.head)}
    environment = _environment(target_name)
    body = environment.get_template("body.py.j2").render(names)
    text = environment.get_template("file.py.j2").render(
        names, body=body, imports=target.imports(body)
    )
    text = black.format_str(text, mode=_MODE)
    return sign(text, model, target_name, WRITER), ledger


def formatted(text: str) -> str:
    """Somebody's text in the layout of an emitted file; as it is if black cannot read it."""
    try:
        return black.format_str(text, mode=_MODE)
    except Exception:  # of many kinds, for a text that may be anything
        return text


def _templates(head: Head) -> dict[str, str]:
    """The templates of a head: what follows the encoder."""
    match head:
        case Classifier():
            return {"head_template": "classifier.py.j2"}
        case Features():
            return {"head_template": "features.py.j2"}
        case TransUNet():
            return {"head_template": "trans_unet.py.j2"}
        case UNet():
            decoder = "unet_plus_plus" if head.name == "unet_plus_plus" else "unet"
            return {
                "head_template": "segmentor.py.j2",
                "decoder_template": f"{decoder}.py.j2",
            }
        case _:
            assert_never(head)
