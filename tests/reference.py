"""The reference library's layout: where in its models each row of our ledger has its weights.

A place is a layer's name, without the number that Keras gives to a nameless one and without the
rank that some end in. Layers inside a layer go by the attribute that holds them: `conv1` of a
squeeze-and-excitation is `conv1`, whatever number it has.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import keras
import numpy as np
import torch

from compiler.passes.trace import Ledger
from compiler.weights.keras_variables import WEIGHTS, torch_name, torch_value

BLOCK = r"encoder\.stages\.(\d+)\.(\d+)\."
ROW = r"decoder\.(?:blocks|ups|gates)\.(\d+)\."
NODE = r"decoder\.(?:blocks|ups)\.(\d+)\.(\d+)\."
NORM = r"(?:bn|norm)"

# Our path -> its place. The first pattern that fits the whole path counts. `{0}`, `{1}` are the
# groups of the pattern; `{stage}`, `{level}` and `{column}` are where the reference has the node
# of the decoder, whose rows it counts from the top.
ENCODER = (
    (r"encoder\.(conv|bn)(\d)", "conv{1}_{0}"),
    (r"post_bn", "post_bn"),
    (BLOCK + r"shortcut(?:\.conv)?", "stack{0}_block{1}_0_conv"),
    (BLOCK + r"shortcut\.bn", "stack{0}_block{1}_0_bn"),
    (BLOCK + r"conv(\d)", "stack{0}_block{1}_{2}_conv"),
    (BLOCK + r"se\.(conv\d)", "stack{0}_block{1}_squeeze_excitation/{2}"),
)
NORMS = ((BLOCK + r"bn(\d)", "stack{0}_block{1}_{2}_bn"),)
PRE_ACTIVATION_NORMS = (
    (BLOCK + "bn1", "stack{0}_block{1}_pre_activation_bn"),
    (BLOCK + "bn2", "stack{0}_block{1}_1_bn"),
    (BLOCK + "bn3", "stack{0}_block{1}_2_bn"),
)
CLASSIFIER = (("head", "predictions"),)
UNET = (
    (ROW + "theta", "decoder_stage{stage}_attention_gate/theta_x"),
    (ROW + "phi", "decoder_stage{stage}_attention_gate/phi_g"),
    (ROW + "psi", "decoder_stage{stage}_attention_gate/psi"),
    (ROW + r"conv(\d)", "decoder_stage{stage}_conv_{1}_conv"),
    (ROW + NORM + r"(\d)", "decoder_stage{stage}_conv_{1}_norm"),
    (r"decoder\.ups\.(\d+)\.conv", "decoder_stage{stage}_transpose_conv"),
    (r"decoder\.ups\.(\d+)\." + NORM, "decoder_stage{stage}_norm"),
    (ROW + "conv", "decoder_stage{stage}_conv_1_conv"),
    (ROW + NORM, "decoder_stage{stage}_conv_1_norm"),
    ("head", "conv"),
)
UNET_PLUS_PLUS = (
    (NODE + r"conv(\d)", "x_{level}_{column}_conv{2}_conv"),
    (NODE + NORM + r"(\d)", "x_{level}_{column}_conv{2}_norm"),
    (r"decoder\.ups\.(\d+)\.(\d+)\.conv", "x_{level}_{column}_transpose"),
    (r"decoder\.ups\.(\d+)\.(\d+)\." + NORM, "x_{level}_{column}_transpose_norm"),
    (NODE + "conv", "x_{level}_{column}_conv1_conv"),
    (NODE + NORM, "x_{level}_{column}_conv1_norm"),
    (r"decoder\.last_up\.conv", "bridge_transpose"),
    (r"decoder\.last_up\." + NORM, "bridge_transpose_norm"),
    ("head", "conv"),
)
LEVEL = r"mask_decoder\.levels\.(\d+)\."
VIT = "transunet_vit_encoder_block_{next}/"
XATTN = "masked_xattn_level_{0}/"
TRANS_UNET = (
    (r"vit\.positions", "transunet_vit_patching_and_embedding/position_embedding/embeddings"),
    (r"vit\.patch", "transunet_vit_patching_and_embedding/patch_embedding"),
    (r"vit\.blocks\.(\d+)\.norm1", VIT + "layer_norm_1"),
    (r"vit\.blocks\.(\d+)\.norm2", VIT + "layer_norm_2"),
    (r"vit\.blocks\.(\d+)\.mlp\.(fc\d)", VIT + "mlp/{1}"),
    (r"vit\.blocks\.(\d+)\.attention\.attention_output", VIT + "mha/_output_dense"),
    (r"vit\.blocks\.(\d+)\.attention\.(\w+)", VIT + "mha/_{1}_dense"),
    (r"mask_decoder\.queries", "learnable_queries/learnable_queries"),
    (LEVEL + "project", "proj_cnn_{level}"),
    (LEVEL + "project_norm", "proj_cnn_group_norm_{level}"),
    (LEVEL + r"norm(\d)", XATTN + "layernorm{1}"),
    (LEVEL + r"mlp\.(fc\d)", XATTN + "mlp_layer/{1}"),
    (LEVEL + r"attention\.attention_output", XATTN + "cross_attention/_output_dense"),
    (LEVEL + r"attention\.(\w+)", XATTN + "cross_attention/_{1}_dense"),
    (r"mask_decoder\.classes", "class_prediction"),
    (r"mask_decoder\.resize", "mask_resize"),
    (r"decoder\.conv", "decoder_proj_0"),
    (r"decoder\.blocks\.(\d+)", "decoder_conv_{above}"),
    ("head", "final_conv"),
)
HEADS = {
    None: CLASSIFIER,
    "unet": UNET,
    "attention_unet": UNET,
    "unet_plus_plus": UNET_PLUS_PLUS,
    "trans_unet": TRANS_UNET,
}


def place_of(pre_activation: bool, segmentor: str | None, depth: int) -> Callable[[str], str]:
    """The function that finds the place of a path, in a model of that kind."""
    norms = PRE_ACTIVATION_NORMS if pre_activation else NORMS
    table = [(re.compile(old), new) for old, new in (*ENCODER, *norms, *HEADS[segmentor])]

    def place(path: str) -> str:
        for pattern, template in table:
            if found := pattern.fullmatch(path):
                row, column = ([int(i) for i in path.split(".") if i.isdigit()] + [0, 0])[:2]
                grid = {"stage": depth - row, "level": depth - 2 - row, "column": column + 1}
                grid |= {"next": row + 1, "above": depth - 1 - row}
                return template.format(*found.groups(), **grid)
        raise LookupError(f"{path} has no place in the reference")

    return place


def live_variables(model: keras.Model) -> dict[str, keras.Variable]:
    """`<place>/<name>` -> variable, of the layers that the output is computed by."""
    found: dict[str, keras.Variable] = {}
    for layer in model.operations:
        name = re.sub(r"_[23]D$", "", layer.name)
        name = re.sub(r"^conv[23]d(_\d+)?$", "conv", name)
        name = re.sub(r"^(learnable_queries)_\d+$", r"\1", name)
        for place, variable in _variables(layer, name):
            assert place not in found, place
            found[place] = variable
    return found


def _variables(layer: object, place: str) -> Iterator[tuple[str, keras.Variable]]:
    if not isinstance(layer, keras.Layer):
        return
    inner = [item for item in layer.named_children() if isinstance(item[1], keras.Layer)]
    for attribute, sublayer in inner:  # named by torch: here, Keras' layers are its modules
        yield from _variables(sublayer, f"{place}/{attribute}")
    if not inner:
        for variable in layer.variables:
            if variable.name != "seed_generator_state":  # of dropout
                yield f"{place}/{variable.name}", variable


def randomize_reference(model: keras.Model, seed: int = 0) -> None:
    """Random weights and norm statistics, scaled so that activations stay near 1."""
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        if variable.name == "seed_generator_state":
            continue
        shape = tuple(variable.shape)
        if variable.name in ("gamma", "moving_variance"):
            array = rng.uniform(0.5, 1.5, shape)
        elif len(shape) == 1:
            array = 0.1 * rng.standard_normal(shape)
        else:
            array = rng.standard_normal(shape, np.float32) / np.sqrt(np.prod(shape[:-1]))
        variable.assign(array)


def weights_of_reference(
    model: keras.Model, ledger: Ledger, place: Callable[[str], str]
) -> dict[str, torch.Tensor]:
    """The model's weights by PyTorch's names: every one of ours, of every one that it lives by."""
    live = live_variables(model)
    weights = {}
    for row in ledger.rows:
        for name, shape in row.weights:
            if row.kind == "instance_norm":  # theirs has no weights: ours begins as theirs stays
                weights[f"{row.path}.{name}"] = torch.full(shape, float(name == "weight"))
                continue
            where = place(row.path)
            if row.kind != "table":
                where += f"/{WEIGHTS[row.kind, name][0]}"
            value = keras.ops.convert_to_numpy(live.pop(where))
            value = torch_value(row.kind, name, value, shape)
            weights[torch_name(row.path, name)] = torch.from_numpy(value.copy())
    assert not live, f"no place in ours for {', '.join(live)}"
    return weights
