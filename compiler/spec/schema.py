"""Writes the JSON Schema of specs and docs/spec.md, both from the typed definition."""

from __future__ import annotations

from typing import Any

import msgspec

from ..limits import ALL_BLOCKS, SPEC_BYTES, STAGES, VOXELS
from .checks import description, expected, tables_of
from .definition import Spec

_INTRO = """\
# Spec files

<!-- Written by `plainnet schema --markdown`: edit `compiler/spec/` instead. -->

A spec is a network in TOML. Every command that takes a name takes the path of a spec, and so does
every function of the [Python API](python.md):

```sh
plainnet new seresnext50 --segmentor unet --dims 3 -o net.toml  # a commented spec to start from
plainnet emit net.toml --target torch
plainnet show net.toml
plainnet verify net.toml
plainnet convert weights.pt -o weights.safetensors --model net.toml
plainnet schema > plainnet.schema.json  # completion and errors in an editor
```

`new` writes the whole network, and emitting its spec unchanged gives the very text that the name
gives. It also takes a spec, or a file that `emit` wrote. A shorter spec says only what differs from
an encoder of the catalog:

```toml
extends = "seresnext50"
name = "my_net"
stages = [{}, {}, { depth = 9 }, { channels = 1024 }]

[se]
ratio = 8
```

A stage is completed by the one in its place of the encoder that is extended; the list says how many
stages there are. A network that is not the catalog's any more and has no `name` is named after what
it extends, as in `seresnext50_custom`. Weights are published for networks of the catalog only.

Options beside a spec replace its values: `plainnet emit net.toml --target keras --num-classes 5`.
Another `--segmentor` or `--features-only` replaces `[segmentor]` with all its options. Another
`--dims` replaces the sizes of `input_shape` by the usual ones and keeps the channels.
`--in-channels` replaces the last number of `input_shape`; `--strides` and `--kernels` replace those
of the stem and of the stages.

Editors with a TOML language server (Taplo, Even Better TOML) complete keys and mark errors where
the first line of a spec names the schema: `#:schema plainnet.schema.json`.

Every problem of a file is reported in one run, with its line:

```
error: groups=32 does not divide the width 48
  at   net.toml:14, stages[0].width
  hint use 32 or 64, or groups=16
```

The emitted file holds the resolved network at its end, so that `plainnet check` needs no spec. No
text of a spec reaches the file but the name, which must be an identifier.
"""


def json_schema() -> dict[str, Any]:
    """The schema of a spec file."""
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "plainnet spec",
    }
    return head | msgspec.json.schema(Spec)


def markdown() -> str:
    """The text of docs/spec.md."""
    parts = [_INTRO, "## Keys\n", _rows(Spec)]
    for name, table in tables_of(Spec).items():
        parts += [f"## `{name}`\n", f"{table.__doc__}\n", _rows(table)]
    parts += [
        "## Limits\n",
        "\n".join(f"- {limit.of}" for limit in (SPEC_BYTES, STAGES, ALL_BLOCKS, VOXELS)),
        "\nThe limit of each number stands in the tables above.",
    ]
    return "\n".join(parts)


def _rows(table: type[msgspec.Struct]) -> str:
    lines = ["| key | takes | meaning |", "|---|---|---|"]
    for key in msgspec.structs.fields(table):
        takes = expected(key.type).replace("|", "\\|")
        lines.append(f"| `{key.name}` | {takes} | {description(key.type)} |")
    return "\n".join(lines) + "\n"
