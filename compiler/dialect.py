"""What libraries do differently in the same encoders: one row for each dialect."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Dialect:
    """How a library writes the same encoders: what its published checkpoints hold.

    The gate stands before the last norm of a block or after it, in basic blocks with a ReLU between
    the two under `relu_before_gate`. Its width is rounded to a multiple of `divisor`.
    `strided_1x1` puts the stride of an ungrouped bottleneck on its first convolution. The stem's
    pool is padded by one, or unpadded with a partial last window (`ceil_pool`). With `zero_gamma`,
    each residual block starts as its shortcut. `dialects.PROOFS` says which blocks a dialect has.
    """

    name: str
    gate_after_norm: bool = False
    relu_before_gate: bool = False
    divisor: int = 1
    strided_1x1: bool = False
    ceil_pool: bool = False
    zero_gamma: bool = False


DIALECTS = {
    dialect.name: dialect
    for dialect in (
        Dialect("medicai"),
        Dialect("timm", gate_after_norm=True, divisor=8, zero_gamma=True),
        Dialect(
            "cadene",
            gate_after_norm=True,
            relu_before_gate=True,
            strided_1x1=True,
            ceil_pool=True,
        ),
        Dialect("torchvision"),
        Dialect("nnunet", gate_after_norm=True, divisor=8, zero_gamma=True),
    )
}
