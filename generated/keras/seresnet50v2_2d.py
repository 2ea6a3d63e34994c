"""SE-ResNet-50 v2, 2D classifier, Keras 3.

    image    (N, 224, 224,    3)
    stem     (N, 112, 112,   64)  P1  7x7 convolution, stride 2
    stage 0  (N,  56,  56,  256)  P2  3 x bottleneck
    stage 1  (N,  28,  28,  512)  P3  4 x bottleneck
    stage 2  (N,  14,  14, 1024)  P4  6 x bottleneck
    stage 3  (N,   7,   7, 2048)  P5  3 x bottleneck
    logits   (N, 1000)

28,080,344 parameters. ResNet: arXiv 1512.03385, Table 1. ResNet v2: arXiv 1603.05027, Fig. 4e.
SE: arXiv 1709.01507, Fig. 3.
Load weights: model.load_weights("w.weights.h5")
"""

import keras
from keras import KerasTensor as Tensor
from keras import layers, ops

__all__ = ["SEResNet50v2"]

STEM_CHANNELS = 64
SE_RATIO = 16
STAGES = (  # depth, width, channels, stride
    (3, 64, 256, 1),
    (4, 128, 512, 2),
    (6, 256, 1024, 2),
    (3, 512, 2048, 2),
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
        x = layers.ZeroPadding2D(kernel // 2, data_format="channels_last", name=f"{name}_pad")(x)
        padding = "valid"
    init = "he_uniform" if bias else pytorch_uniform()
    window = kernel, stride, padding, "channels_last"
    return layers.Conv2D(channels, *window, use_bias=bias, kernel_initializer=init, name=name)(x)


def norm(x: Tensor, *, name: str) -> Tensor:
    """Batch norm with PyTorch's momentum and epsilon."""
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(x)


def squeeze_excite(x: Tensor, channels: int, *, name: str) -> Tensor:
    """Channel gate (SE, Fig. 1). (N, H, W, C) -> same shape."""
    gate = layers.GlobalAveragePooling2D(data_format="channels_last", keepdims=True)(x)
    gate = layers.ReLU()(conv(gate, channels // SE_RATIO, 1, bias=True, name=f"{name}_conv1"))
    gate = layers.Activation("sigmoid")(conv(gate, channels, 1, bias=True, name=f"{name}_conv2"))
    return layers.Multiply()([x, gate])


def bottleneck(x: Tensor, width: int, channels: int, stride: int, *, name: str) -> Tensor:
    """Pre-activation bottleneck (ResNet v2, Fig. 4e) with SE.

    (N, H, W, Cin) -> (N, H/s, W/s, C).
    """
    active = layers.ReLU()(norm(x, name=f"{name}_bn1"))
    residual = x
    if stride != 1 or x.shape[-1] != channels:
        residual = conv(active, channels, 1, stride=stride, name=f"{name}_shortcut")
    x = conv(active, width, 1, name=f"{name}_conv1")
    x = layers.ReLU()(norm(x, name=f"{name}_bn2"))
    x = conv(x, width, 3, stride=stride, name=f"{name}_conv2")
    x = layers.ReLU()(norm(x, name=f"{name}_bn3"))
    x = conv(x, channels, 1, name=f"{name}_conv3")
    x = squeeze_excite(x, channels, name=f"{name}_se")
    return layers.Add()([x, residual])


def encoder(x: Tensor, *, name: str = "encoder") -> dict[str, Tensor]:
    """(N, H, W, C) -> {"P1": ..., "P5": ...}; Pi is 2**i times smaller than the image."""
    x = conv(x, STEM_CHANNELS, 7, stride=2, name=f"{name}_conv1")
    x = layers.Identity(name=f"{name}_P1")(x)
    pyramid = {"P1": x}
    # x may be negative here, where padding with zeros would change the maximum.
    x = ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=float("-inf"))
    x = layers.MaxPooling2D(3, strides=2, data_format="channels_last")(x)
    for s, (depth, width, channels, stride) in enumerate(STAGES):
        x = bottleneck(x, width, channels, stride, name=f"{name}_stages_{s}_0")
        for i in range(1, depth):
            x = bottleneck(x, width, channels, 1, name=f"{name}_stages_{s}_{i}")
        x = pyramid[f"P{s + 2}"] = layers.Identity(name=f"{name}_P{s + 2}")(x)
    return pyramid


def SEResNet50v2(
    input_shape: tuple[int | None, ...] = (224, 224, 3),
    num_classes: int = 1000,
    *,
    name: str = "seresnet50v2",
) -> keras.Model:
    """(N, H, W, 3) -> (N, 1000) logits. The output is float32 under mixed precision too.

    `model.pyramid_outputs` holds P1..P5. In a loaded or cloned model m, this finds them:
    keras.Model(m.input, {f"P{i}": m.get_layer(f"encoder_P{i}").output for i in range(1, 6)})
    """
    image = keras.Input(input_shape)
    pyramid = encoder(image)
    x = pyramid["P5"]
    x = layers.ReLU()(norm(x, name="post_bn"))
    x = layers.GlobalAveragePooling2D(data_format="channels_last")(x)
    options = {"kernel_initializer": pytorch_uniform(), "dtype": keras.config.floatx()}
    x = layers.Dense(num_classes, **options, name="head")(x)
    model = keras.Model(image, x, name=name)
    model.pyramid_outputs = pyramid
    return model


# Written by plainnet 0.1.0 with black 26.10.1, for you to own. To write it again:
#     plainnet emit seresnet50v2 --target keras --dims 2
# sha256: text b4593c213d3984b08d92c078263bb416, code 3238f398f5eb964e515ee0f353e6a0ad
