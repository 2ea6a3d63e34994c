"""SE-ResNeXt-50 (32x4d) UNet, 3D, Keras 3.

    image    (N, 96, 96, 96,    4)
    stem     (N, 48, 48, 48,   64)  P1  7x7x7 convolution, stride 2
    stage 0  (N, 24, 24, 24,  256)  P2  3 x bottleneck, 32 groups of 4
    stage 1  (N, 12, 12, 12,  512)  P3  4 x bottleneck, 32 groups of 8
    stage 2  (N,  6,  6,  6, 1024)  P4  6 x bottleneck, 32 groups of 16
    stage 3  (N,  3,  3,  3, 2048)  P5  3 x bottleneck, 32 groups of 32
    block 0  (N,  6,  6,  6,  256)      upsample P5, concat P4, two 3x3x3 convolutions
    block 1  (N, 12, 12, 12,  128)      upsample, concat P3, two 3x3x3 convolutions
    block 2  (N, 24, 24, 24,   64)      upsample, concat P2, two 3x3x3 convolutions
    block 3  (N, 48, 48, 48,   32)      upsample, concat P1, two 3x3x3 convolutions
    block 4  (N, 96, 96, 96,   16)      upsample, two 3x3x3 convolutions
    logits   (N, 96, 96, 96,    1)      1x1x1 convolution

55,453,441 parameters; works on images of any size. UNet: arXiv 1505.04597, Fig. 1.
ResNeXt: arXiv 1611.05431, Table 1. SE: arXiv 1709.01507, Fig. 3.
Load weights: model.load_weights("w.weights.h5")
"""

import keras
from keras import KerasTensor as Tensor
from keras import layers, ops

__all__ = ["SEResNeXt50UNet"]

STEM_CHANNELS = 64
GROUPS = 32
SE_RATIO = 16
STAGES = (  # depth, width, channels, stride
    (3, 128, 256, 1),
    (4, 256, 512, 2),
    (6, 512, 1024, 2),
    (3, 1024, 2048, 2),
)
DECODER_FILTERS = (256, 128, 64, 32, 16)
DECODER_EPS = 1e-3  # as in medicai, whose weights were trained with it; the encoder has 1e-5


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
        x = layers.ZeroPadding3D(kernel // 2, data_format="channels_last", name=f"{name}_pad")(x)
        padding = "valid"
    init = "he_uniform" if bias else pytorch_uniform()
    window = kernel, stride, padding, "channels_last"
    return layers.Conv3D(
        channels, *window, groups=groups, use_bias=bias, kernel_initializer=init, name=name
    )(x)


def norm(x: Tensor, *, name: str) -> Tensor:
    """Batch norm with PyTorch's momentum and epsilon."""
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(x)


def squeeze_excite(x: Tensor, channels: int, *, name: str) -> Tensor:
    """Channel gate (SE, Fig. 1). (N, D, H, W, C) -> same shape."""
    gate = layers.GlobalAveragePooling3D(data_format="channels_last", keepdims=True)(x)
    gate = layers.ReLU()(conv(gate, channels // SE_RATIO, 1, bias=True, name=f"{name}_conv1"))
    gate = layers.Activation("sigmoid")(conv(gate, channels, 1, bias=True, name=f"{name}_conv2"))
    return layers.Multiply()([x, gate])


def projection(x: Tensor, channels: int, stride: int, *, name: str) -> Tensor:
    """Projection shortcut where the shape changes. (N, D, H, W, Cin) -> (N, D/s, H/s, W/s, C)."""
    x = conv(x, channels, 1, stride=stride, name=f"{name}_conv")
    return norm(x, name=f"{name}_bn")


def bottleneck(x: Tensor, width: int, channels: int, stride: int, *, name: str) -> Tensor:
    """Grouped bottleneck (ResNeXt, Fig. 3c) with SE. (N, D, H, W, Cin) -> (N, D/s, H/s, W/s, C)."""
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
    """(N, D, H, W, C) -> {"P1": ..., "P5": ...}; Pi is 2**i times smaller than the image."""
    x = conv(x, STEM_CHANNELS, 7, stride=2, name=f"{name}_conv1")
    x = layers.ReLU()(norm(x, name=f"{name}_bn1"))
    x = layers.Identity(name=f"{name}_P1")(x)
    pyramid = {"P1": x}
    # Zeros cannot be the maximum: x comes from a ReLU.
    x = layers.ZeroPadding3D(1, data_format="channels_last")(x)
    x = layers.MaxPooling3D(3, strides=2, data_format="channels_last")(x)
    for s, (depth, width, channels, stride) in enumerate(STAGES):
        x = bottleneck(x, width, channels, stride, name=f"{name}_stages_{s}_0")
        for i in range(1, depth):
            x = bottleneck(x, width, channels, 1, name=f"{name}_stages_{s}_{i}")
        x = pyramid[f"P{s + 2}"] = layers.Identity(name=f"{name}_P{s + 2}")(x)
    return pyramid


def crop(x: Tensor, like: Tensor) -> Tensor:
    """Crop x to the size of `like`."""
    lines = like[0, :, 0, 0, 0], like[0, 0, :, 0, 0], like[0, 0, 0, :, 0]
    for axis, line in enumerate(lines, start=1):
        size, whole = line.shape[0], (slice(None),) * axis
        if size is None:  # known at run time only: gather
            count = ops.cumsum(ops.ones_like(line, dtype="int32"))  # 1 to size
            x = ops.take(x, count - 1, axis=axis)
        elif size < x.shape[axis]:
            x = x[(*whole, slice(size))]
    return x


def upsample(x: Tensor, like: Tensor) -> Tensor:
    """Nearest-neighbor x2 upsampling, cropped to the size of `like`."""
    return crop(layers.UpSampling3D(2, data_format="channels_last")(x), like)


def decoder_block(x: Tensor, filters: int, *, name: str) -> Tensor:
    """Two 3x3x3 convolutions. (N, D, H, W, C) -> (N, D, H, W, F)."""
    x = conv(x, filters, 3, name=f"{name}_conv1")
    x = layers.BatchNormalization(momentum=0.9, epsilon=DECODER_EPS, name=f"{name}_bn1")(x)
    x = layers.ReLU()(x)
    x = conv(x, filters, 3, name=f"{name}_conv2")
    x = layers.BatchNormalization(momentum=0.9, epsilon=DECODER_EPS, name=f"{name}_bn2")(x)
    return layers.ReLU()(x)


def decoder(pyramid: dict[str, Tensor], image: Tensor, *, name: str = "decoder") -> Tensor:
    """Upsample, concatenate the skip, convolve (UNet, Fig. 1).

    P1..P5, image (N, D, H, W, C) -> (N, D, H, W, 16).
    """
    x = pyramid["P5"]
    skips = (pyramid["P4"], pyramid["P3"], pyramid["P2"], pyramid["P1"])
    for i, (skip, filters) in enumerate(zip(skips, DECODER_FILTERS)):
        x = layers.Concatenate()([upsample(x, skip), skip])
        x = decoder_block(x, filters, name=f"{name}_blocks_{i}")
    x = upsample(x, image)
    return decoder_block(x, DECODER_FILTERS[-1], name=f"{name}_blocks_4")


def SEResNeXt50UNet(
    input_shape: tuple[int | None, ...] = (96, 96, 96, 4),
    num_classes: int = 1,
    *,
    name: str = "seresnext50_unet",
) -> keras.Model:
    """(N, D, H, W, 4) -> (N, D, H, W, 1) logits. The output is float32 under mixed precision too.

    `model.pyramid_outputs` holds P1..P5. In a loaded or cloned model m, this finds them:
    keras.Model(m.input, {f"P{i}": m.get_layer(f"encoder_P{i}").output for i in range(1, 6)})
    """
    image = keras.Input(input_shape)
    pyramid = encoder(image)
    x = decoder(pyramid, image)
    options = {"kernel_initializer": pytorch_uniform(), "dtype": keras.config.floatx()}
    x = layers.Conv3D(num_classes, 1, data_format="channels_last", **options, name="head")(x)
    model = keras.Model(image, x, name=name)
    model.pyramid_outputs = pyramid
    return model


# Written by plainnet 0.1.0 with black 26.10.1, for you to own. To write it again:
#     plainnet emit seresnext50 --target keras --dims 3 --segmentor unet
# sha256: text bd26443e1a396114f61af0be55070b9e, code 006975501a65f502d2f863366c845efb
