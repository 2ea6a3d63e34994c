"""What a network costs: saved bytes are those that autograd's hooks measure in the emitted file."""

from __future__ import annotations

import json
from functools import partial
from itertools import accumulate
from weakref import WeakSet

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.overrides import TorchFunctionMode
from torch.profiler import ProfilerActivity, profile

import compiler
from compiler.commands.cli import main
from compiler.errors import CompileError
from compiler.operations import OPERATIONS
from compiler.passes import kept, tape
from compiler.passes.cost import cost_of
from compiler.passes.tape import record
from compiler.passes.validate import resolve

from .harness import load, tiny

IMAGE = {"input_shape": (40, 48, 3)}
VOLUME = {"dims": 3, "input_shape": (35, 20, 24, 1)}
VIT = {"segmentor": "trans_unet", "vit_layers": 2, "embed_dim": 16, "heads": 2, "queries": 5}
SLIM = {"decoder_filters": (8, 8, 8, 8, 8)}  # numbers of 16 bits are slow on a CPU
VIT |= {"mlp_dim": 8, "num_classes": 2}
LEAN = {"training_memory": "lean"}
CADENE = {"dialect": "cadene", "input_shape": (42, 46, 3)}
PLAIN = {"name": "nn", "block": "plain", "blocks": (2, 1, 2), "filters": (8, 16, 16)}
RESIDUAL = {"name": "nn", "block": "basic_d", "blocks": (1, 2, 2), "filters": (8, 16, 16)}
MAPS = {"segmentor": "nnunet", "num_classes": 3, "input_shape": (32, 24, 1)}


def custom(**parts):
    return compiler.custom_encoder(**{"strides": (1, 2, 2), **parts})


NETWORKS = {
    # Blocks.
    "basic": (tiny(block="basic", se_ratio=None), {}),
    "bottleneck, SE": (tiny(), {}),
    "grouped": (tiny(groups=2, width_per_group=32), {}),
    "vd": (tiny(block="bottleneck_vd"), {}),
    "v2": (tiny(pre_activation=True), {}),
    "vd v2": (tiny(block="basic_vd", pre_activation=True), {}),
    "deep stem of timm": ("resnet18d", {"dialect": "timm"}),
    # Heads and options.
    "features": (tiny(), {"features_only": True}),
    "maxima": (tiny(), {"features_only": True, "pooling": "max"}),
    "rescaled, softmax": (tiny(), {"include_rescaling": True, "classifier_activation": "softmax"}),
    "dropout": (tiny(), {"dropout": 0.2, "drop_path": 0.2}),
    "instance norm": (tiny(), {"norm": "instance", "activation": "leaky_relu"}),
    "group norm": (tiny(), {"norm": "group", "activation": "tanh"}),
    "layer norm": (tiny(), {"norm": "layer", "activation": "gelu"}),
    "elu": (tiny(), {"activation": "elu"}),
    "silu": (tiny(), {"activation": "silu", "se_activation": "hard_swish"}),
    "mish": (tiny(), {"activation": "mish"}),
    "sigmoid": (tiny(), {"activation": "sigmoid"}),
    "volume": (tiny(), VOLUME),
    # Segmentors.
    "unet": (tiny(), {"segmentor": "unet", "classifier_activation": "sigmoid"}),
    "unet, transposed": (tiny(), {"segmentor": "unet", "decoder_block": "transpose"}),
    "unet, supervised": (tiny(), {"segmentor": "unet", "deep_supervision": True}),
    "unet, without norms": (tiny(), {"segmentor": "unet", "decoder_normalization": "none"}),
    "unet, two orders": (
        tiny(),
        {"segmentor": "unet", "norm": "layer", "decoder_normalization": "instance"},
    ),
    "unet, volume": (tiny(), VOLUME | SLIM | {"segmentor": "unet"}),
    "unet, strides": (
        tiny(),
        VOLUME
        | SLIM
        | {"segmentor": "unet", "input_shape": (8, 16, 16, 1), "strides": "1,2,2/2/2/2/2"},
    ),
    "unet, checkpoints": (tiny(), {"segmentor": "unet", "checkpointing": True, **SLIM}),
    "unet++": (tiny(), {"segmentor": "unet_plus_plus", "input_shape": (41, 47, 3)}),
    "unet++, supervised": (
        tiny(),
        {"segmentor": "unet_plus_plus", "deep_supervision": True, "decoder_block": "transpose"},
    ),
    "attention": (tiny(), {"segmentor": "attention_unet", "decoder_activation": "gelu"}),
    "unet, lean": (tiny(), LEAN | {"segmentor": "unet"}),
    "unet, transposed, lean": (
        tiny(),
        LEAN | SLIM | {"segmentor": "unet", "decoder_block": "transpose", "deep_supervision": True},
    ),
    "unet, strides, lean": (
        tiny(),
        VOLUME
        | SLIM
        | LEAN
        | {"segmentor": "unet", "input_shape": (8, 16, 16, 1), "strides": "1,2,2/2/2/2/2"},
    ),
    "unet++, lean": (
        tiny(),
        LEAN | SLIM | {"segmentor": "unet_plus_plus", "input_shape": (41, 47, 3)},
    ),
    "unet++, cadene and strides, lean": (  # only the concatenation moves into the block
        tiny(),
        {"segmentor": "unet_plus_plus", **CADENE, **SLIM, **LEAN, "dims": 3}
        | {"strides": "1,2,2/2/1,2,2/2/2", "input_shape": (6, 42, 46, 3)},
    ),
    "attention, lean": (
        tiny(),
        LEAN | SLIM | {"segmentor": "attention_unet", "input_shape": (41, 47, 3)},
    ),
    "fpn, lean": (tiny(), LEAN | {"segmentor": "fpn", "encoder_depth": 4}),
    "linknet, lean": (
        tiny(groups=2, width_per_group=32),
        VOLUME | LEAN | {"segmentor": "linknet", "drop_path": 0.2},
    ),
    "attention, checkpoints": (
        tiny(),
        {"segmentor": "attention_unet", "deep_supervision": True, "checkpointing": True},
    ),
    "fpn": (tiny(), {"segmentor": "fpn", "encoder_depth": 4}),
    "linknet": (tiny(block="bottleneck_vd"), {"segmentor": "linknet", "input_shape": (41, 47, 3)}),
    "unet, cadene": (tiny(), {"segmentor": "unet", **CADENE}),
    "attention, cadene": (tiny(), {"segmentor": "attention_unet", **CADENE, **SLIM}),
    "unet++, cadene and strides": (
        tiny(),
        {"segmentor": "unet_plus_plus", **CADENE, **SLIM, "dims": 3, "strides": "1,2,2/2/1,2,2/2/2"}
        | {"input_shape": (6, 42, 46, 3)},
    ),
    "linknet, cadene": (tiny(), {"segmentor": "linknet", **CADENE}),
    "trans_unet": (tiny(), VIT),
    "trans_unet without dropout": (tiny(), VIT | {"dropout": 0.0, "num_classes": 1}),
    "trans_unet of layer norms": (tiny(), VIT | {"norm": "layer"}),
    "trans_unet as medicai": (tiny(), VIT | {"compat": "medicai"}),
    "trans_unet as medicai without dropout": (tiny(), VIT | {"compat": "medicai", "dropout": 0.0}),
    "trans_unet in patches": (
        tiny(),
        VIT | {"encoder_depth": 3, "input_shape": (128, 136, 3)},
    ),
    "trans_unet, lean": (tiny(), VIT | LEAN),
    "trans_unet, checkpoints": (tiny(), VIT | {"checkpointing": True}),
    # nnU-Net.
    "nnunet": (custom(**PLAIN), MAPS),
    "nnunet, volume": (
        custom(**PLAIN | {"strides": (1, (1, 2, 2), 2)}),
        MAPS | {"dims": 3, "input_shape": (8, 16, 16, 1)},
    ),
    "nnunet, activation first": (custom(**PLAIN, unit_activation_first=True), MAPS),
    "nnunet, lean": (custom(**PLAIN), MAPS | LEAN),
    "nnunet, residual": (custom(**RESIDUAL, unit_dropout=0.1), MAPS | {"deep_supervision": True}),
    "nnunet, bottlenecks": (
        custom(**RESIDUAL | {"block": "bottleneck_d", "widths": (8,) * 3, "se_ratio": 4}),
        MAPS | {"dims": 3, "input_shape": (8, 16, 16, 1), "lower_heads": True},
    ),
}
# What differs between precisions and batches: pools, norms, products of matrices, dropout.
NARROW = (
    "vd v2",
    "dropout",
    "volume",
    "group norm",
    "layer norm",
    "maxima",
    "unet, strides",
    "unet, checkpoints",
    "unet, lean",
    "attention, lean",
    "attention, cadene",
    "trans_unet",
    "trans_unet without dropout",
    "nnunet, bottlenecks",
)
CUDA = NARROW[:-1]  # PyTorch has no 3D average pool of 16 bits on a CPU
VITS = ("trans_unet", "trans_unet without dropout")
CASES = [
    *((name, 2, "fp32") for name in NETWORKS),
    *((name, 2, "bf16") for name in NARROW),
    *((name, 1, precision) for name in VITS for precision in ("fp32", "bf16")),
]


def options_of(name):
    encoder, options = NETWORKS[name]
    return encoder, IMAGE | options


NARROWED = {"conv2d", "conv3d", "conv_transpose2d", "conv_transpose3d", "linear", "matmul"}
NARROWED |= {"__matmul__", "scaled_dot_product_attention"}
WIDENED = {"layer_norm", "group_norm", "softmax", "sum"}


class LikeCuda(TorchFunctionMode):
    """What autocast does on CUDA, with the lists of PyTorch's documentation, on a CPU.

    There, dropout keeps booleans, and there is a fused attention with dropout.
    """

    def __init__(self, narrow):
        self.narrow = narrow

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name, kwargs = function.__name__, kwargs or {}
        if name == "dropout":
            rate = kwargs["p"] * kwargs["training"]
            return torch.native_dropout(args[0], rate, True)[0] if rate else args[0]
        if name == "scaled_dot_product_attention":
            args = args[:4]
        other = {**dict.fromkeys(NARROWED, torch.bfloat16), **dict.fromkeys(WIDENED, torch.float32)}
        if self.narrow and name in other:
            args = [
                x.to(other[name]) if isinstance(x, torch.Tensor) and x.is_floating_point() else x
                for x in args
            ]
        return function(*args, **kwargs)


class Packed:
    """What a node of the graph holds instead of a tensor: its memory, which holds no graph."""

    def __init__(self, tensor):
        self.storage = tensor.untyped_storage()


def convolutions(contexts):
    """The tensors that selective checkpoints keep."""
    stored = [
        entry for first, _ in contexts for each in first.storage.values() for entry in each.values()
    ]
    return [entry.val for entry in stored if hasattr(entry, "val")]


def measured(encoder, options, batch, precision="fp32", device="cpu"):
    """Bytes that autograd holds when the forward pass has ended, weights and statistics aside.

    What a selective checkpoint keeps is not seen by hooks.
    """
    module = load(compiler.emit(encoder, target="torch", **options))
    kept = []
    if options.get("training_memory") == "lean":
        create = module.create_selective_checkpoint_contexts

        def created(operations):
            kept.append(contexts := create(operations))
            return contexts

        module.create_selective_checkpoint_contexts = created
    model = getattr(module, module.__all__[0])()
    *sizes, channels = options["input_shape"]
    held = WeakSet()

    def pack(tensor):
        held.add(packed := Packed(tensor))
        return packed

    narrow = torch.autocast("cpu", torch.bfloat16, enabled=precision != "fp32")
    if device == "cuda":
        narrow = LikeCuda(precision != "fp32")
    with narrow, saved_tensors_hooks(pack, lambda packed: None):
        output = model(torch.randn(batch, channels, *sizes))
    own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    found = {packed.storage.data_ptr(): packed.storage.nbytes() for packed in held}
    for convolution in convolutions(kept):
        storage = convolution.untyped_storage()
        found[storage.data_ptr()] = storage.nbytes()
    assert found and output is not None  # whose graph holds them
    return sum(size for place, size in found.items() if place not in own)


@pytest.mark.filterwarnings("ignore::compiler.CompileWarning")
@pytest.mark.parametrize(("name", "batch", "precision"), CASES)
def test_saved_bytes_are_those_that_autograd_holds(name, batch, precision):
    encoder, options = options_of(name)
    cost = compiler.cost(encoder, batch=batch, precision=precision, **options)
    assert cost.saved == measured(encoder, options, batch, precision)
    assert cost.saved == sum(step.saved for step in cost.steps)


@pytest.mark.filterwarnings("ignore::compiler.CompileWarning")
@pytest.mark.parametrize("name", [*CUDA, "fpn", "nnunet, residual"])
def test_saved_bytes_under_the_rules_of_cuda(name):
    encoder, options = options_of(name)
    for precision in ("fp32", "bf16") if "trans" in name or name == "dropout" else ("bf16",):
        cost = compiler.cost(encoder, batch=2, precision=precision, device="cuda", **options)
        assert cost.saved == measured(encoder, options, 2, precision, "cuda"), precision


@pytest.mark.parametrize(
    ("operation", "rule", "name"),
    [
        ("relu", "_keeps_input", "basic"),  # a norm's output is kept beside the activation's
        ("max_pool", "_keeps_input", "basic"),  # without its indices
        ("multiply", "_sum", "bottleneck, SE"),
        ("leaky_relu", "_view", "instance norm"),
    ],
)
def test_a_wrong_rule_is_seen(operation, rule, name, monkeypatch):
    encoder, options = options_of(name)
    truth = measured(encoder, options, 2)
    record.cache_clear()
    monkeypatch.setitem(kept.RULES, operation, getattr(kept, rule))
    wrong = cost_of(resolve(encoder, options), 2).saved
    record.cache_clear()
    assert abs(wrong - truth) > 0.02 * truth


def test_a_join_outside_of_its_block_is_seen(monkeypatch):
    """What is kept then is the concatenation, at the size of the skip."""
    encoder, options = options_of("unet++, lean")
    truth = measured(encoder, options, 2)
    record.cache_clear()
    monkeypatch.setattr(tape, "own_join", lambda layer, args, blocks: None)
    wrong = cost_of(resolve(encoder, options), 2).saved
    record.cache_clear()
    assert wrong > 1.2 * truth


@pytest.mark.parametrize("name", ["basic", "trans_unet", "nnunet, residual"])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_weights_gradients_and_state_are_those_of_pytorch(name, optimizer):
    encoder, options = options_of(name)
    module = load(compiler.emit(encoder, target="torch", **options))
    model = getattr(module, module.__all__[0])()
    cost = compiler.cost(encoder, optimizer=optimizer, **options)

    def size(tensors):
        return sum(t.nbytes for t in tensors)

    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    made = {"adamw": torch.optim.AdamW, "sgd": partial(torch.optim.SGD, momentum=0.9)}[optimizer]
    optimize = made(model.parameters(), lr=0.1)
    optimize.step()
    assert cost.weights == size(model.state_dict().values())
    assert cost.gradients == size(p.grad for p in model.parameters())
    assert cost.optimizer_state == size(
        value for state in optimize.state.values() for value in state.values()
    )
    assert cost.training >= cost.weights + cost.gradients + cost.optimizer_state + cost.saved


def peak(run) -> int:
    """The most bytes of tensors at once, as the profiler counts what PyTorch allocates."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as prof:
        run()
    events = [e for e in prof.profiler.kineto_results.events() if e.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    return max(accumulate(event.nbytes() for event in events))


@pytest.mark.parametrize(
    "name",
    [
        *("unet", "unet, supervised", "unet, lean", "unet, transposed, lean"),
        *("attention", "attention, lean", "linknet", "fpn"),
    ],
)
def test_peaks_are_those_of_pytorch(name):
    """Within 5 %, and with memory for a copy of a weight that its convolution may make."""
    encoder, options = options_of(name)
    module = load(compiler.emit(encoder, target="torch", **options))
    model = getattr(module, module.__all__[0])()
    *sizes, channels = options["input_shape"]
    image = torch.randn(2, channels, *sizes)
    cost = compiler.cost(encoder, batch=2, **options)

    def train():
        outputs = model(image)
        outputs = outputs if isinstance(outputs, list) else [outputs]
        torch.autograd.backward(outputs, [torch.ones_like(output) for output in outputs])

    train()  # there are gradients from now on
    copy = 2 * max(parameter.nbytes for parameter in model.parameters())
    trained = peak(train) + image.nbytes
    assert trained - copy <= 1.05 * cost.activations and cost.activations <= 1.05 * trained
    with torch.no_grad():
        run = peak(partial(model.eval(), image)) + image.nbytes
    ours = cost.inference - cost.weights
    assert run - copy <= 1.05 * ours and ours <= 1.05 * run


def test_an_inference_file_is_not_trained():
    cost = compiler.cost(tiny(), segmentor="unet", deploy=True, **IMAGE)
    assert cost.saved == cost.training == cost.gradients == cost.optimizer_state == 0
    trained = compiler.cost(tiny(), segmentor="unet", **IMAGE)
    tensors = cost.inference - cost.weights  # upsampled maps are not among them
    assert 0 < tensors < trained.inference - trained.weights


def test_precision_batch_and_optimizer_are_checked_together():
    with pytest.raises(CompileError) as caught:
        wrong = {"precision": "int8", "optimizer": "adm", "device": "tpu", "num_classes": -1}
        compiler.cost("resnet18", batch=0, **wrong)
    messages = [problem.message for problem in caught.value.problems]
    assert len(messages) == 5 and "--batch has 0" in messages[0]
    assert compiler.cost("resnet18", precision="BF16", batch="2").batch == 2


def test_show_prints_what_cost_returns(capsys):
    words = ["show", "resnet18", "--cost", "--batch", "2", "--precision", "bf16"]
    assert main([*words, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)["cost"]
    cost = compiler.cost("resnet18", batch=2, precision="bf16")
    assert printed["saved"] == cost.saved and len(printed["steps"]) == len(cost.steps)
    assert main(words) == 0
    assert f"{cost.training:,}" in capsys.readouterr().out
    assert main(["show", "resnet18", "--batch", "2"]) == 2
    assert "--batch needs --cost" in capsys.readouterr().err


def test_every_operation_has_a_rule():
    known = {name for name, operation in OPERATIONS.items() if operation.tensor}
    assert kept.RULES.keys() == known
    with pytest.raises(CompileError, match="not known what the operation 'fold' keeps"):
        kept.rule_of("fold")
