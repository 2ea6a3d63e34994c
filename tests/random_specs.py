"""Random small networks over all keys of a spec, and only such as exist.

`network` asks `one` for every choice: hypothesis draws and shrinks (`specs`), or a generator with a
fixed seed draws (`sample`), which gives the same networks in every run.
"""

from __future__ import annotations

import itertools
import random

from hypothesis import strategies as st

from compiler.blocks import BLOCK_KINDS
from compiler.dialect import DIALECTS
from compiler.dialects import PROOFS, STEMS
from compiler.model import NORMS
from compiler.operations import ACTIVATIONS
from compiler.options import COMPAT

from .sampling import ANYWHERE, UNETS

HEADS = ("classes", "features", *ANYWHERE)
# nnU-Net's have few of these keys; their random networks are in `test_nnunet_reference.py`.
BLOCKS = tuple(kind for kind in BLOCK_KINDS if kind.replace("_", " ") in PROOFS["medicai"])
SEED = 10  # with which the samples of the tests hold every key and every choice
KINDS = tuple(itertools.product(HEADS, (2, 3), BLOCKS))


def network(one, dims=None, block=None, head=None):
    """A valid spec. `one` chooses one of its arguments."""
    maybe = lambda: one(True, False)  # noqa: E731
    dims, block = dims or one(2, 3), block or one(*BLOCKS)
    head = head or one(*HEADS)
    basic = block.startswith("basic")

    def axes(*numbers):
        return one(*numbers, [one(*numbers) for _ in range(dims)])

    # -- blocks, and the library that they are as in
    spec = {"name": one("net", "my_net", "x1"), "dims": dims, "block": block}
    spec |= {"pre_activation": one(False, False, True)}
    groups = 1 if basic else one(1, 2, 4)
    gated = maybe()
    kind = f"{'grouped ' if groups > 1 else ''}{block.replace('_', ' ')}"
    kind += f"{' v2' if spec['pre_activation'] else ''}{', SE' if gated else ''}"
    dialect = one(*(name for name in DIALECTS if kind in PROOFS[name]))
    if dialect != "medicai" or maybe():
        spec["dialect"] = dialect
    if not basic:
        spec["groups"] = groups
    if gated:
        se = {"ratio": one(1, 4, 8), "activation": one(*ACTIVATIONS)}  # at most the channels
        if dialect == "medicai":
            where = ("before_norm",) if spec["pre_activation"] else ("before_norm", "after_norm")
            se |= {"position": one(*where)} if maybe() else {}
            se |= {"divisor": one(1, 4, 8)} if maybe() else {}
        spec["se"] = se
    elif maybe():
        spec["se"] = False

    # -- stages
    levels = one(3, 3, 3, 3, 4, 5) if head in ANYWHERE else one(2, 3)
    stages = []
    for i in range(levels - 1):
        stage = {"depth": one(1, 1, 1, 2)}
        if basic:
            stage["channels"] = one(8, 12, 16)
        elif i == 0 or maybe():
            stage["channels"] = one(8, 10, 20, 32)
        else:
            stage["channels"] = 16
        stages.append(stage)
        if maybe():
            stage["kernel"] = axes(1, 3, 5)
        if i and maybe():
            stage["stride"] = axes(1, 2)
    if not basic:
        if maybe():
            for stage in stages:
                stage["width"] = groups * one(1, 2, 3)
        elif maybe():
            spec["width_per_group"] = one(32, 64)
    if sum(stage["depth"] for stage in stages) > 1 and maybe():
        spec["drop_path"] = one(0.1, 0.25)
    lengths = [n for n in (1, 2, 3) if n in STEMS.get(dialect, (1, 2, 3))]
    length = one(1, *lengths)
    spec["stem"] = {
        "filters": [one(4, 8) for _ in range(length)],
        "kernels": [axes(1, 3, 5) for _ in range(length)],
        "pool": axes(1, 2),
    }
    if maybe():
        spec["stem"]["stride"] = axes(1, 2)
    spec["stages"] = stages
    if maybe():  # what stands there and in no key here is that of these blocks
        spec["extends"] = "seresnet18" if basic else one("resnet50v2", "seresnet50vd")
        spec.setdefault("se", False)

    # -- everything
    sizes = (32, 40, 48) if dialect == "cadene" else (33, 40, 48)  # its pool rounds down
    spec["input_shape"] = [one(*sizes) for _ in range(dims)] + [one(1, 3)]
    if maybe():
        spec["in_channels"] = spec["input_shape"][-1]
    if maybe():
        spec["channels_last"] = True
    for key, values in (
        ("norm", NORMS),
        ("activation", ACTIVATIONS),
        ("init", ("pytorch", "he")),
        ("include_rescaling", (True,)),
        ("checkpointing", (True, "lean")),
    ):
        if maybe():
            spec[key] = one(*values)
    if spec.get("checkpointing") == "lean":  # one or the other
        spec["training_memory"] = spec.pop("checkpointing")

    # -- the head
    if head == "features":
        spec["head"] = {"features_only": True} | one({}, {"pooling": one("max", "avg")})
        return spec
    classes = one(1, 2, 5)
    activations = ("none", "sigmoid") if classes == 1 else ("none", "softmax", "sigmoid")
    spec["head"] = {"num_classes": classes, "activation": one(*activations)}
    if head == "classes":
        if maybe():
            spec["head"]["dropout"] = one(0.2, 0.5)
        return spec
    spec["segmentor"] = {"name": head} | _decoder(one, head, levels)
    return spec


def _decoder(one, head, levels):
    """The options of a segmentor: each given or not."""
    depth = one(*range(3, levels + 1))
    embed = one(8, 16)
    of_unets = {
        "decoder_block": one("upsampling", "transpose"),
        "decoder_filters": [one(4, 6, 8) for _ in range(5)],
        "decoder_normalization": one(*NORMS, "none"),
        "decoder_activation": one(*ACTIVATIONS),
        "deep_supervision": True,
    }
    options = {
        "trans_unet": {
            "dropout": one(0, 0.1),
            "heads": one(1, 2),
            "queries": one(1, 4),
            "mlp_dim": one(4, 8),
        },
        "fpn": {"dropout": one(0, 0.2)},
    }.get(head, of_unets if head in UNETS else {})
    given = {key: value for key, value in options.items() if one(True, False)}
    if head in UNETS:
        given["decoder_filters"] = of_unets["decoder_filters"]
    if head == "trans_unet":
        given |= {"vit_layers": one(1, 1, 2), "embed_dim": embed, "heads": one(1, 2)}
    if head == "fpn":
        given |= {"pyramid_channels": one(4, 8), "segmentation_channels": one(32, 64)}
    if head in COMPAT and one(True, False):
        given["compat"] = one(*COMPAT[head])
    stages = depth - (head == "unet_plus_plus" and given.get("decoder_block") != "transpose")
    if stages < 3:
        given.pop("deep_supervision", None)
    if depth != levels or one(True, False):
        given["encoder_depth"] = depth
    return given


@st.composite
def specs(draw):
    """Any of these networks."""
    return network(lambda *choices: draw(st.sampled_from(choices)))


def sample(head, dims, block, turn=0):
    """One network of a kind, the same in every run; other turns give other ones."""
    drawn = random.Random(f"{SEED} {head} {dims} {block} {turn}")
    return network(lambda *choices: drawn.choice(choices), dims, block, head)
