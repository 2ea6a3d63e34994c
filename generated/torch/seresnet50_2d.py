"""SE-ResNet-50, 2D classifier, PyTorch.

    image    (N,    3, 224, 224)
    stem     (N,   64, 112, 112)  P1  7x7 convolution, stride 2
    stage 0  (N,  256,  56,  56)  P2  3 x Bottleneck
    stage 1  (N,  512,  28,  28)  P3  4 x Bottleneck
    stage 2  (N, 1024,  14,  14)  P4  6 x Bottleneck
    stage 3  (N, 2048,   7,   7)  P5  3 x Bottleneck
    logits   (N, 1000)

28,088,024 parameters. ResNet: arXiv 1512.03385, Table 1. SE: arXiv 1709.01507, Fig. 3.
Load weights: model.load_state_dict(safetensors.torch.load_file("w.safetensors"))
"""

# mypy: disable-error-code="no-any-return"
import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["SEResNet50"]

STEM_CHANNELS = 64
SE_RATIO = 16
STAGES = (  # depth, width, channels, stride
    (3, 64, 256, 1),
    (4, 128, 512, 2),
    (6, 256, 1024, 2),
    (3, 512, 2048, 2),
)


class SqueezeExcite(nn.Module):
    """Channel gate (SE, Fig. 1). (N, C, H, W) -> same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels // SE_RATIO, 1)
        self.conv2 = nn.Conv2d(channels // SE_RATIO, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = F.relu(self.conv1(x.mean((2, 3), keepdim=True)))
        gate = torch.sigmoid(self.conv2(gate))
        return x * gate


class Projection(nn.Sequential):
    """Projection shortcut where the shape changes. (N, Cin, H, W) -> (N, C, H/s, W/s)."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False)
        self.bn = nn.BatchNorm2d(channels, eps=1e-5, momentum=0.1)


class Bottleneck(nn.Module):
    """Bottleneck (ResNet, Fig. 5 right) with SE. (N, Cin, H, W) -> (N, C, H/s, W/s)."""

    def __init__(self, in_channels: int, width: int, channels: int, stride: int) -> None:
        super().__init__()
        changes = stride != 1 or in_channels != channels
        self.shortcut = Projection(in_channels, channels, stride) if changes else nn.Identity()
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width, eps=1e-5, momentum=0.1)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width, eps=1e-5, momentum=0.1)
        self.conv3 = nn.Conv2d(width, channels, 1, bias=False)
        self.se = SqueezeExcite(channels)
        self.bn3 = nn.BatchNorm2d(channels, eps=1e-5, momentum=0.1)

    def forward(self, x: Tensor) -> Tensor:
        residual = self.shortcut(x)
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = self.bn3(self.se(self.conv3(x)))
        return F.relu(x + residual)


class Encoder(nn.Module):
    """(N, C, H, W) -> {"P1": ..., "P5": ...}; Pi is 2**i times smaller than the image."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, STEM_CHANNELS, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM_CHANNELS, eps=1e-5, momentum=0.1)
        self.stages = nn.ModuleList()
        channels_before = STEM_CHANNELS
        for depth, width, channels, stride in STAGES:
            blocks = [Bottleneck(channels_before, width, channels, stride)]
            blocks += [Bottleneck(channels, width, channels, 1) for _ in range(depth - 1)]
            self.stages.append(nn.Sequential(*blocks))
            channels_before = channels

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = F.relu(self.bn1(self.conv1(x)))
        pyramid = {"P1": x}
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        for level, stage in enumerate(self.stages, start=2):
            x = pyramid[f"P{level}"] = stage(x)
        return pyramid


class SEResNet50(nn.Module):
    """(N, 3, H, W) -> (N, 1000) logits."""

    def __init__(self, in_channels: int = 3, num_classes: int = 1000) -> None:
        super().__init__()
        self.encoder = Encoder(in_channels)
        self.head = nn.Linear(STAGES[-1][2], num_classes)
        nn.init.zeros_(self.head.bias)
        for module in self.modules():  # where no norm follows, PyTorch's default is small
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.zeros_(module.bias)
                nn.init.kaiming_uniform_(module.weight)

    def pyramid(self, x: Tensor) -> dict[str, Tensor]:
        return dict(self.encoder(x))

    def forward(self, x: Tensor) -> Tensor:
        x = self.encoder(x)["P5"]
        x = x.mean((2, 3))
        return self.head(x)


# Written by plainnet 0.1.0 with black 26.10.1, for you to own. To write it again:
#     plainnet emit seresnet50 --target torch --dims 2
# sha256: text e3731977ec5bc436c32743f70debd8e0, code b752c532d69dc6fb571c1fe3ba361dd1
