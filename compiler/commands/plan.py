"""The command `plan`."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from .options import USUAL, model_options, precision_options, print_json

ASKED = ("memory", "batch", "precision", "optimizer", "device", "shape")


@click.command("plan")
@click.argument("model")
@click.option("--memory", metavar="SIZE", required=True, help="Memory, as 24GiB, 16GB or 512MiB.")
@precision_options()
@click.option("--batch", metavar="N", help="Items of a batch. Default: several sizes.")
@click.option("--shape", metavar="SIZES", help="Sizes of the data, as 40,512,512.")
@partial(model_options, taken=("--memory",))
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def plan_command(model: str, as_json: bool, **options: Any) -> None:
    """Find the patch and batch sizes of MODEL that fit into a memory.

    --shape and --spacing of the data give patches its proportions. With --input-shape, the patch is
    that one, and the largest batch is looked for.
    """
    from ..costs import find_request, fits_description
    from ..passes.fitting import fits_of

    asked = {name: options.pop(name) for name in ASKED}
    for name, value in USUAL.items():
        asked[name] = asked[name] or value
    request = find_request(model, asked, options)
    fits = fits_of(request)
    if as_json:
        return print_json(fits_description(fits))
    from ..tables import print_fits

    print_fits(request.model, fits)
