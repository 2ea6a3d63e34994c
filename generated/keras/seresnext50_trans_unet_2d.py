"""TransUNet on SE-ResNeXt-50 (32x4d), 2D segmentation, Keras 3.

    image    (N, 224, 224,    3)
    stem     (N, 112, 112,   64)  P1  7x7 convolution, stride 2
    stage 0  (N,  56,  56,  256)  P2  3 x bottleneck, 32 groups of 4
    stage 1  (N,  28,  28,  512)  P3  4 x bottleneck, 32 groups of 8
    stage 2  (N,  14,  14, 1024)  P4  6 x bottleneck, 32 groups of 16
    stage 3  (N,   7,   7, 2048)  P5  3 x bottleneck, 32 groups of 32
    tokens   (N, 49, 512)         12 x vit_block, one token per pixel of P5
    queries  (N, 100, 512)        masked cross-attention to P4, P3, P2, P1
    maps     (N,   7,   7,    1)  each query's mask times its class probabilities
    decoder  (N, 112, 112,   16)  upsample, concat, 3x3 convolution for P4, P3, P2, P1
    logits   (N, 224, 224,    1)  upsample, 1x1 convolution

63,189,746 parameters; works on images of one size. 3D TransUNet: arXiv 2310.07781, Fig. 1.
ViT: arXiv 2010.11929, Fig. 1. Masked attention: Mask2Former, arXiv 2112.01527, Eq. 2.
ResNeXt: arXiv 1611.05431, Table 1. SE: arXiv 1709.01507, Fig. 3.
Load weights: model.load_weights("w.weights.h5")
"""

import math
from typing import Any

import keras
from keras import KerasTensor as Tensor
from keras import layers, ops

__all__ = ["SEResNeXt50TransUNet"]

STEM_CHANNELS = 64
GROUPS = 32
SE_RATIO = 16
STAGES = (  # depth, width, channels, stride
    (3, 128, 256, 1),
    (4, 256, 512, 2),
    (6, 512, 1024, 2),
    (3, 1024, 2048, 2),
)
VIT_DEPTH, EMBED, HEADS, MLP, DROPOUT, QUERIES = 12, 512, 8, 1024, 0.1, 100
DECODER_FILTERS = (256, 128, 64, 32, 16)


def pytorch_uniform() -> keras.initializers.Initializer:
    """PyTorch's default. Each layer has its own initializer, since one may repeat its values."""
    return keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")


def conv(
    x: Tensor,
    channels: int,
    kernel: int,
    *,
    stride: int | tuple[int, ...] = 1,
    groups: int = 1,
    bias: bool = False,
    name: str,
) -> Tensor:
    """Convolution, padded by kernel // 2 on both sides: "same" may pad one side when it strides."""
    padding = "same"
    if stride != 1 and kernel > 1:
        x = layers.ZeroPadding2D(kernel // 2, data_format="channels_last", name=f"{name}_pad")(x)
        padding = "valid"
    init = "he_uniform" if bias else pytorch_uniform()
    window = kernel, stride, padding, "channels_last"
    return layers.Conv2D(
        channels, *window, groups=groups, use_bias=bias, kernel_initializer=init, name=name
    )(x)


def norm(x: Tensor, *, name: str) -> Tensor:
    """Batch norm with PyTorch's momentum and epsilon."""
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(x)


def squeeze_excite(x: Tensor, channels: int, *, name: str) -> Tensor:
    """Channel gate (SE, Fig. 1). (N, H, W, C) -> same shape."""
    gate = layers.GlobalAveragePooling2D(data_format="channels_last", keepdims=True)(x)
    gate = layers.ReLU()(conv(gate, channels // SE_RATIO, 1, bias=True, name=f"{name}_conv1"))
    gate = layers.Activation("sigmoid")(conv(gate, channels, 1, bias=True, name=f"{name}_conv2"))
    return layers.Multiply()([x, gate])


def projection(x: Tensor, channels: int, stride: int, *, name: str) -> Tensor:
    """Projection shortcut where the shape changes. (N, H, W, Cin) -> (N, H/s, W/s, C)."""
    x = conv(x, channels, 1, stride=stride, name=f"{name}_conv")
    return norm(x, name=f"{name}_bn")


def bottleneck(x: Tensor, width: int, channels: int, stride: int, *, name: str) -> Tensor:
    """Grouped bottleneck (ResNeXt, Fig. 3c) with SE. (N, H, W, Cin) -> (N, H/s, W/s, C)."""
    residual = x
    if stride != 1 or x.shape[-1] != channels:
        residual = projection(x, channels, stride, name=f"{name}_shortcut")
    x = conv(x, width, 1, name=f"{name}_conv1")
    x = layers.ReLU()(norm(x, name=f"{name}_bn1"))
    x = conv(x, width, 3, stride=stride, groups=GROUPS, name=f"{name}_conv2")
    x = layers.ReLU()(norm(x, name=f"{name}_bn2"))
    x = conv(x, channels, 1, name=f"{name}_conv3")
    x = squeeze_excite(x, channels, name=f"{name}_se")
    x = norm(x, name=f"{name}_bn3")
    return layers.ReLU()(layers.Add()([x, residual]))


def encoder(x: Tensor, *, name: str = "encoder") -> dict[str, Tensor]:
    """(N, H, W, C) -> {"P1": ..., "P5": ...}; Pi is 2**i times smaller than the image."""
    x = conv(x, STEM_CHANNELS, 7, stride=2, name=f"{name}_conv1")
    x = layers.ReLU()(norm(x, name=f"{name}_bn1"))
    x = layers.Identity(name=f"{name}_P1")(x)
    pyramid = {"P1": x}
    # Zeros cannot be the maximum: x comes from a ReLU.
    x = layers.ZeroPadding2D(1, data_format="channels_last")(x)
    x = layers.MaxPooling2D(3, strides=2, data_format="channels_last")(x)
    for s, (depth, width, channels, stride) in enumerate(STAGES):
        x = bottleneck(x, width, channels, stride, name=f"{name}_stages_{s}_0")
        for i in range(1, depth):
            x = bottleneck(x, width, channels, 1, name=f"{name}_stages_{s}_{i}")
        x = pyramid[f"P{s + 2}"] = layers.Identity(name=f"{name}_P{s + 2}")(x)
    return pyramid


@keras.saving.register_keras_serializable("SEResNeXt50TransUNet2D")
class Table(layers.Layer):
    """Learned table, repeated for each item of the batch. (N, ...) -> (N, rows, EMBED)."""

    def __init__(self, rows: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rows = rows

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        init = keras.initializers.RandomNormal(stddev=0.02)
        self.table = self.add_weight((1, self.rows, EMBED), init, name="table")

    def call(self, x: Any) -> Any:
        return ops.broadcast_to(self.table, (ops.shape(x)[0], self.rows, EMBED))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rows": self.rows}


def attention(x: Tensor, keys: Tensor, mask: Tensor | None, *, dropout: float, name: str) -> Tensor:
    """Multi-head attention: (N, Q, EMBED), (N, T, EMBED), mask (N, Q, T) -> (N, Q, EMBED)."""
    limit = (3 / EMBED) ** 0.5  # Xavier: Keras would count the heads as an axis of a window
    init = keras.initializers.RandomUniform(-limit, limit)
    attend = layers.MultiHeadAttention(
        HEADS, EMBED // HEADS, dropout=dropout, kernel_initializer=init, name=name
    )
    return attend(x, keys, attention_mask=mask)


def mlp(x: Tensor, *, name: str) -> Tensor:
    """Two dense layers with dropout, MLP wide in between. (N, T, EMBED) -> same shape."""
    x = layers.Dropout(DROPOUT)(layers.Activation("gelu")(layers.Dense(MLP, name=f"{name}_fc1")(x)))
    return layers.Dropout(DROPOUT)(layers.Dense(EMBED, name=f"{name}_fc2")(x))


def vit_block(x: Tensor, *, name: str) -> Tensor:
    """Pre-norm self-attention and MLP (ViT, Fig. 1). (N, T, EMBED) -> same shape."""
    y = layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm1")(x)
    y = layers.Dropout(DROPOUT)(attention(y, y, None, dropout=0.0, name=f"{name}_attention"))
    x = layers.Add()([x, y])
    y = layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm2")(x)
    y = mlp(y, name=f"{name}_mlp")
    return layers.Add()([x, y])


def vit(pyramid: dict[str, Tensor], *, name: str = "vit") -> Tensor:
    """ViT on P5, with learned positions. (N, H, W, C) -> (N, T, EMBED)."""
    x = layers.Reshape((-1, EMBED))(conv(pyramid["P5"], EMBED, 1, bias=True, name=f"{name}_patch"))
    x = layers.Add()([x, Table(x.shape[1], name=f"{name}_positions")(x)])
    for i in range(VIT_DEPTH):
        x = vit_block(x, name=f"{name}_blocks_{i}")
    return x


def attention_mask(logits: Tensor, scale: int, level: Tensor) -> Tensor:
    """Where each query may attend on a level. (N, h, w, Q) -> booleans (N, Q, H*W)."""
    # Spread each token's logit over its pixels.
    _, h, w, _ = level.shape
    logits = layers.UpSampling2D(scale, data_format="channels_last")(logits)
    logits = logits[:, :h, :w]
    # Attend where it is positive (sigmoid above 0.5), or everywhere if none is.
    inside = layers.Permute((2, 1))(layers.Reshape((-1, QUERIES))(logits)) > 0
    return inside | ~ops.any(inside, axis=2, keepdims=True)


def masked_cross_attention(queries: Tensor, level: Tensor, mask: Tensor, *, name: str) -> Tensor:
    """Queries attend to a level, then an MLP (Mask2Former, Eq. 2). (N, Q, EMBED) -> same shape."""
    context = conv(level, EMBED, 1, bias=True, name=f"{name}_project")
    context = layers.GroupNormalization(
        math.gcd(32, EMBED), epsilon=1e-3, name=f"{name}_project_norm"
    )(context)
    context = layers.Reshape((-1, EMBED))(context)
    norm1 = layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm1")(queries)
    y = attention(norm1, context, mask, dropout=DROPOUT, name=f"{name}_attention")
    queries = layers.Add()([queries, y])
    y = layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm2")(queries)
    y = mlp(y, name=f"{name}_mlp")
    return layers.Add()([queries, y])


def mask_decoder(
    tokens: Tensor, pyramid: dict[str, Tensor], num_classes: int, *, name: str = "mask_decoder"
) -> Tensor:
    """Coarse class maps from queries refined on P4..P1. tokens (N, T, EMBED) -> (N, h, w, K)."""
    grid = pyramid["P5"].shape[1:-1]
    queries = Table(QUERIES, name=f"{name}_queries")(tokens)
    levels = (pyramid["P4"], pyramid["P3"], pyramid["P2"], pyramid["P1"])
    for i, (level, scale) in enumerate(zip(levels, (2, 4, 8, 16))):
        logits = layers.Reshape((*grid, QUERIES))(layers.Dot(axes=2)([tokens, queries]))
        mask = attention_mask(logits, scale, level)
        queries = masked_cross_attention(queries, level, mask, name=f"{name}_levels_{i}")
    masks = layers.Activation("sigmoid")(layers.Dot(axes=2)([tokens, queries]))
    classes = layers.Dense(num_classes, name=f"{name}_classes")(queries)
    classes = layers.Activation("sigmoid")(classes)
    return layers.Reshape((*grid, num_classes))(layers.Dot(axes=(2, 1))([masks, classes]))


@keras.saving.register_keras_serializable("SEResNeXt50TransUNet2D")
class Upsample(layers.Layer):
    """Linear x2 upsampling (half-pixel centers), cropped. (N, ..., C) -> (N, *size, C)."""

    def __init__(self, size: tuple[int, ...], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = tuple(size)

    def call(self, x: Any) -> Any:
        shape = (ops.shape(x)[0], *self.size, x.shape[-1])
        window = (2.0, 2.0), (0.0, 0.0), (1, 2)  # scale, translation, axes
        return ops.image.scale_and_translate(x, shape, *window, "linear", antialias=False)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size}


def decoder(
    x: Tensor, pyramid: dict[str, Tensor], image: Tensor, *, name: str = "decoder"
) -> Tensor:
    """Class maps upsampled with the skips P4..P1. (N, h, w, K) -> (N, H, W, 16)."""
    x = conv(x, DECODER_FILTERS[0], 3, bias=True, name=f"{name}_conv")
    skips = (pyramid["P4"], pyramid["P3"], pyramid["P2"], pyramid["P1"])
    for i, (skip, filters) in enumerate(zip(skips, DECODER_FILTERS[1:])):
        x = layers.Concatenate()([Upsample(skip.shape[1:-1])(x), skip])
        x = conv(x, filters, 3, bias=True, name=f"{name}_blocks_{i}")
        x = layers.LeakyReLU(negative_slope=0.3)(x)
    return Upsample(image.shape[1:-1])(x)


def SEResNeXt50TransUNet(
    input_shape: tuple[int | None, ...] = (224, 224, 3),
    num_classes: int = 1,
    *,
    name: str = "seresnext50_trans_unet",
) -> keras.Model:
    """(N, H, W, 3) -> (N, H, W, 1) logits. The position table fixes the image size.

    The output is float32 under mixed precision too. `model.pyramid_outputs` holds P1..P5.
    In a loaded or cloned model m, this finds them:
    keras.Model(m.input, {f"P{i}": m.get_layer(f"encoder_P{i}").output for i in range(1, 6)})
    """
    if None in input_shape:
        raise ValueError(f"the position table needs a fixed image size, got {input_shape}")
    if num_classes > 1:
        raise ValueError("num_classes must be 1 in this file: several classes need a softmax")
    image = keras.Input(input_shape)
    pyramid = encoder(image)
    tokens = vit(pyramid)
    maps = mask_decoder(tokens, pyramid, num_classes)
    x = decoder(maps, pyramid, image)
    options = {"kernel_initializer": pytorch_uniform(), "dtype": keras.config.floatx()}
    x = layers.Conv2D(num_classes, 1, data_format="channels_last", **options, name="head")(x)
    model = keras.Model(image, x, name=name)
    model.pyramid_outputs = pyramid
    return model


# Written by plainnet 0.1.0 with black 26.10.1, for you to own. To write it again:
#     plainnet emit seresnext50 --target keras --dims 2 --segmentor trans_unet
# sha256: text 372f2cd9be9137a840db38b01f404a4a, code e90b0d36c8c77518e5d0bd1aaac0a493
