# Copyright 2026 The Segmentation Team

"""SE-ResNet-18 UNet, 2D, PyTorch.

    image    (N,   3, 224, 224)
    stem     (N,  64, 112, 112)  P1  7x7 convolution, stride 2
    stage 0  (N,  64,  56,  56)  P2  2 x BasicBlock
    stage 1  (N, 128,  28,  28)  P3  2 x BasicBlock
    stage 2  (N, 256,  14,  14)  P4  2 x BasicBlock
    stage 3  (N, 512,   7,   7)  P5  2 x BasicBlock
    block 0  (N, 256,  14,  14)      upsample P5, concat P4, two 3x3 convolutions
    block 1  (N, 128,  28,  28)      upsample, concat P3, two 3x3 convolutions
    block 2  (N,  64,  56,  56)      upsample, concat P2, two 3x3 convolutions
    block 3  (N,  32, 112, 112)      upsample, concat P1, two 3x3 convolutions
    block 4  (N,  16, 224, 224)      upsample, two 3x3 convolutions
    logits   (N,   1, 224, 224)      1x1 convolution

14,417,161 parameters; works on images of any size. UNet: arXiv 1505.04597, Fig. 1.
ResNet: arXiv 1512.03385, Table 1. SE: arXiv 1709.01507, Fig. 3.
Load weights: model.load_state_dict(safetensors.torch.load_file("w.safetensors"))
"""

# mypy: disable-error-code="no-any-return"
import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["SEResNet18UNet"]

STEM_CHANNELS = 64
SE_RATIO = 16
STAGES = (  # depth, channels, stride
    (2, 64, 1),
    (2, 128, 2),
    (2, 256, 2),
    (2, 512, 2),
)
CHANNELS = (STEM_CHANNELS, *(stage[1] for stage in STAGES))  # P1..P5
SKIP_CHANNELS = CHANNELS[-2::-1]  # P4, P3, P2, P1
DECODER_FILTERS = (256, 128, 64, 32, 16)
DECODER_DROPOUT = 0.2  # whole channels, in training
DECODER_EPS = 1e-3  # as in medicai, whose weights were trained with it; the encoder has 1e-5


class SqueezeExcite(nn.Module):
    """Channel gate (SE, Fig. 1). (N, C, H, W) -> same shape."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels // SE_RATIO, 1)
        self.conv2 = nn.Conv2d(channels // SE_RATIO, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = F.relu(self.conv1(x.mean((2, 3), keepdim=True)))
        gate = torch.sigmoid(self.conv2(gate))
        return x * gate


class Projection(nn.Sequential):
    """Projection shortcut where the shape changes. (N, Cin, H, W) -> (N, C, H/s, W/s)."""

    def __init__(self, in_channels: int, channels: int, stride: int):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False)
        self.bn = nn.BatchNorm2d(channels, eps=1e-5, momentum=0.1)


class BasicBlock(nn.Module):
    """Basic block (ResNet, Fig. 5 left) with SE. (N, Cin, H, W) -> (N, C, H/s, W/s)."""

    def __init__(self, in_channels: int, channels: int, stride: int):
        super().__init__()
        changes = stride != 1 or in_channels != channels
        self.shortcut = Projection(in_channels, channels, stride) if changes else nn.Identity()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels, eps=1e-5, momentum=0.1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.se = SqueezeExcite(channels)
        self.bn2 = nn.BatchNorm2d(channels, eps=1e-5, momentum=0.1)

    def forward(self, x: Tensor) -> Tensor:
        residual = self.shortcut(x)
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.se(self.conv2(x)))
        return F.relu(x + residual)


class Encoder(nn.Module):
    """(N, C, H, W) -> {"P1": ..., "P5": ...}; Pi is 2**i times smaller than the image."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, STEM_CHANNELS, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM_CHANNELS, eps=1e-5, momentum=0.1)
        self.stages = nn.ModuleList()
        channels_before = STEM_CHANNELS
        for depth, channels, stride in STAGES:
            blocks = [BasicBlock(channels_before, channels, stride)]
            blocks += [BasicBlock(channels, channels, 1) for _ in range(depth - 1)]
            self.stages.append(nn.Sequential(*blocks))
            channels_before = channels

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = F.relu(self.bn1(self.conv1(x)))
        pyramid = {"P1": x}
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        for level, stage in enumerate(self.stages, start=2):
            x = pyramid[f"P{level}"] = stage(x)
        return pyramid


def upsample(x: Tensor, like: Tensor) -> Tensor:
    """Nearest, to the size of `like`: twice that of x, or one voxel less where it is odd."""
    return F.interpolate(x, size=like.shape[2:], mode="nearest")


class DecoderBlock(nn.Module):
    """Two 3x3 convolutions. (N, C, H, W) -> (N, F, H, W)."""

    def __init__(self, in_channels: int, filters: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, filters, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(filters, eps=DECODER_EPS, momentum=0.1)
        self.conv2 = nn.Conv2d(filters, filters, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(filters, eps=DECODER_EPS, momentum=0.1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(x)))


class Decoder(nn.Module):
    """Upsample, concatenate the skip, convolve (UNet, Fig. 1).

    P1..P5, image (N, C, H, W) -> (N, 16, H, W).
    """

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        channels = CHANNELS[-1]
        for skip_channels, filters in zip(SKIP_CHANNELS, DECODER_FILTERS):
            self.blocks.append(DecoderBlock(channels + skip_channels, filters))
            channels = filters
        self.blocks.append(DecoderBlock(channels, DECODER_FILTERS[-1]))
        self.dropout = nn.Dropout2d(DECODER_DROPOUT)

    def forward(self, pyramid: dict[str, Tensor], image: Tensor) -> Tensor:
        x: Tensor = pyramid["P5"]
        skips = (pyramid["P4"], pyramid["P3"], pyramid["P2"], pyramid["P1"])
        for block, skip in zip(self.blocks, skips):
            x = block(torch.cat((upsample(x, skip), skip), 1))
        return self.blocks[-1](upsample(self.dropout(x), image))


class SEResNet18UNet(nn.Module):
    """(N, 3, H, W) -> (N, 1, H, W) logits."""

    def __init__(self, in_channels: int = 3, num_classes: int = 1) -> None:
        super().__init__()
        self.encoder = Encoder(in_channels)
        self.decoder = Decoder()
        self.head = nn.Conv2d(DECODER_FILTERS[-1], num_classes, 1)
        for module in self.modules():  # where no norm follows, PyTorch's default is small
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.zeros_(module.bias)
                if module is not self.head:
                    nn.init.kaiming_uniform_(module.weight)

    def pyramid(self, x: Tensor) -> dict[str, Tensor]:
        return dict(self.encoder(x))

    def forward(self, image: Tensor) -> Tensor:
        x: Tensor = self.decoder(self.encoder(image), image)
        return self.head(x)


# Written by plainnet 0.1.0 with black 26.10.1, for you to own. To write it again:
#     plainnet emit seresnet18 --target torch --dims 2 --segmentor unet
# sha256: text 4ba06b3c94e32a80175677a39376c1f4, code d959e4236265645308a038764bc17594
