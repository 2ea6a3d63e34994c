"""Random networks as states of the page, with what the command line prints for each.

python expected.py COUNT SEED prints a list of objects: `network`, `target`, `command` and `text`.
"""

import contextlib
import io
import json
import random
import sys

from compiler.catalog import ENCODERS
from compiler.commands.cli import main
from compiler.errors import CompileError
from compiler.operations import ACTIVATIONS
from compiler.option import Option
from compiler.options import BY_NAME, OPTIONS
from compiler.passes.validate import resolve
from compiler.segmentors import SEGMENTORS
from compiler.targets import TARGETS

SPELLED = {  # values of kinds that are not a choice
    "count": ("1", "2", "8", "32"),
    "counts": ("256,128,64,32,16", "64,48,32,24,16"),
    "axes": ("1,2,2/2/2/2/2", "2/2/1/2/2", "3/3/3/3/5"),
    "share": ("0.1", "0.25"),
    "shape": ("64,96,64,2", "65,97,3", "128,128,1"),
}


def value(option: Option, chance: random.Random) -> str | bool:
    if option.kind == "flag":
        return True
    activations = ACTIVATIONS if option.kind == "choice" else SPELLED.get(option.kind, ())
    return chance.choice(option.choices or activations)


def words(encoder: str, target: str, options: dict[str, str | bool]) -> list[str]:
    """The command line that asks for the same."""
    flags = [BY_NAME[name].flag + ("" if v is True else f"={v}") for name, v in options.items()]
    return ["emit", encoder, f"--target={target}", *flags, "-o", "-"]


def networks(count: int, chance: random.Random) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    while len(found) < count:
        encoder = chance.choice([*ENCODERS])
        head = chance.choice([name for name, row in SEGMENTORS.items() if not row.head.exact])
        options: dict[str, str | bool] = {}
        if chance.random() < 0.7:
            options["segmentor"] = head
        for option in chance.sample(OPTIONS, chance.randrange(2, 7)):
            if option.name != "segmentor":
                options[option.name] = value(option, chance)
        target = chance.choice([*TARGETS])
        try:
            resolve(encoder, options)
        except CompileError:
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
            code = main(words(encoder, target, options))
        if code == 0:
            network = {"model": encoder, "options": options}
            found.append({"network": network, "target": target, "text": printed.getvalue()})
    return found


if __name__ == "__main__":
    wanted, seed = map(int, sys.argv[1:])
    print(json.dumps(networks(wanted, random.Random(seed))))
