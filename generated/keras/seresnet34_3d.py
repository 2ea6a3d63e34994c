"""SE-ResNet-34, 3D classifier, Keras 3.

    image    (N, 96, 96, 96,   4)
    stem     (N, 48, 48, 48,  64)  P1  7x7x7 convolution, stride 2
    stage 0  (N, 24, 24, 24,  64)  P2  3 x basic_block
    stage 1  (N, 12, 12, 12, 128)  P3  4 x basic_block
    stage 2  (N,  6,  6,  6, 256)  P4  6 x basic_block
    stage 3  (N,  3,  3,  3, 512)  P5  3 x basic_block
    logits   (N, 3)

63,698,223 parameters. ResNet: arXiv 1512.03385, Table 1. SE: arXiv 1709.01507, Fig. 3.
Load weights: model.load_weights("w.weights.h5")
"""

import keras
from keras import KerasTensor as Tensor
from keras import layers

__all__ = ["SEResNet34"]

STEM_CHANNELS = 64
SE_RATIO = 16
STAGES = (  # depth, channels, stride
    (3, 64, 1),
    (4, 128, 2),
    (6, 256, 2),
    (3, 512, 2),
)


def pytorch_uniform() -> keras.initializers.Initializer:
    """PyTorch's default. Each layer has its own initializer, since one may repeat its values."""
    return keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")


def conv(
    x: Tensor,
    channels: int,
    kernel: int,
    *,
    stride: int | tuple[int, ...] = 1,
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
    return layers.Conv3D(channels, *window, use_bias=bias, kernel_initializer=init, name=name)(x)


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


def basic_block(x: Tensor, channels: int, stride: int, *, name: str) -> Tensor:
    """Basic block (ResNet, Fig. 5 left) with SE. (N, D, H, W, Cin) -> (N, D/s, H/s, W/s, C)."""
    residual = x
    if stride != 1 or x.shape[-1] != channels:
        residual = projection(x, channels, stride, name=f"{name}_shortcut")
    x = conv(x, channels, 3, stride=stride, name=f"{name}_conv1")
    x = layers.ReLU()(norm(x, name=f"{name}_bn1"))
    x = conv(x, channels, 3, name=f"{name}_conv2")
    x = squeeze_excite(x, channels, name=f"{name}_se")
    x = norm(x, name=f"{name}_bn2")
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
    for s, (depth, channels, stride) in enumerate(STAGES):
        x = basic_block(x, channels, stride, name=f"{name}_stages_{s}_0")
        for i in range(1, depth):
            x = basic_block(x, channels, 1, name=f"{name}_stages_{s}_{i}")
        x = pyramid[f"P{s + 2}"] = layers.Identity(name=f"{name}_P{s + 2}")(x)
    return pyramid


def SEResNet34(
    input_shape: tuple[int | None, ...] = (96, 96, 96, 4),
    num_classes: int = 3,
    *,
    name: str = "seresnet34",
) -> keras.Model:
    """(N, D, H, W, 4) -> (N, 3) logits. The output is float32 under mixed precision too.

    `model.pyramid_outputs` holds P1..P5. In a loaded or cloned model m, this finds them:
    keras.Model(m.input, {f"P{i}": m.get_layer(f"encoder_P{i}").output for i in range(1, 6)})
    """
    image = keras.Input(input_shape)
    pyramid = encoder(image)
    x = pyramid["P5"]
    x = layers.GlobalAveragePooling3D(data_format="channels_last")(x)
    options = {"kernel_initializer": pytorch_uniform(), "dtype": keras.config.floatx()}
    x = layers.Dense(num_classes, **options, name="head")(x)
    model = keras.Model(image, x, name=name)
    model.pyramid_outputs = pyramid
    return model


# Written by plainnet 0.1.0 with black 26.10.1, for you to own. To write it again:
#     plainnet emit seresnet34 --target keras --dims 3
# sha256: text c033e343e3aa983983b5ffcd974b8a55, code 281a15293be6d2b1cf5903909b11b78f
