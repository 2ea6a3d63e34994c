"""Plan -> text: the only importer of jinja2 and black."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import black
import jinja2

from .lower import lower
from .model import Classifier, Features, Head, Model, TransUNet, UNet
from .passes.specialize import specialize
from .passes.trace import trace
from .provenance import sign
from .targets import target_named

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
    network = specialize(model)
    target = target_named(target_name)
    plan = lower(network, trace(network))
    names = {**target.context(plan), **_templates(model.head)}
    environment = _environment(target_name)
    body = environment.get_template("body.py.j2").render(names)
    text = environment.get_template("file.py.j2").render(
        names, body=body, imports=target.imports(body)
    )
    text = black.format_str(text, mode=black.Mode(line_length=100))
    return sign(text, model, target_name)


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
