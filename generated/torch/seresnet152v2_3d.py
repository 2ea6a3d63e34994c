"""SE-ResNet-152 v2, 3D classifier, PyTorch.

    image    (N,    4, 96, 96, 96)
    stem     (N,   64, 48, 48, 48)  P1  7x7x7 convolution, stride 2
    stage 0  (N,  256, 24, 24, 24)  P2  3 x Bottleneck
    stage 1  (N,  512, 12, 12, 12)  P3  8 x Bottleneck
    stage 2  (N, 1024,  6,  6,  6)  P4  36 x Bottleneck
    stage 3  (N, 2048,  3,  3,  3)  P5  3 x Bottleneck
    logits   (N, 3)

124,053,299 parameters. ResNet: arXiv 1512.03385, Table 1. ResNet v2: arXiv 1603.05027, Fig. 4e.
SE: arXiv 1709.01507, Fig. 3.
Load weights: model.load_state_dict(safetensors.torch.load_file("w.safetensors"))
"""

# mypy: disable-error-code="no-any-return"
import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["SEResNet152v2"]

STEM_CHANNELS = 64
SE_RATIO = 16
STAGES = (  # depth, width, channels, stride
    (3, 64, 256, 1),
    (8, 128, 512, 2),
    (36, 256, 1024, 2),
    (3, 512, 2048, 2),
)


class SqueezeExcite(nn.Module):
    """Channel gate (SE, Fig. 1). (N, C, D, H, W) -> same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(channels, channels // SE_RATIO, 1)
        self.conv2 = nn.Conv3d(channels // SE_RATIO, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = F.relu(self.conv1(x.mean((2, 3, 4), keepdim=True)))
        gate = torch.sigmoid(self.conv2(gate))
        return x * gate


class Bottleneck(nn.Module):
    """Pre-activation bottleneck (ResNet v2, Fig. 4e) with SE.

    (N, Cin, D, H, W) -> (N, C, D/s, H/s, W/s).
    """

    def __init__(self, in_channels: int, width: int, channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm3d(in_channels, eps=1e-5, momentum=0.1)
        self.shortcut = None
        if stride != 1 or in_channels != channels:
            self.shortcut = nn.Conv3d(in_channels, channels, 1, stride=stride, bias=False)
        self.conv1 = nn.Conv3d(in_channels, width, 1, bias=False)
        self.bn2 = nn.BatchNorm3d(width, eps=1e-5, momentum=0.1)
        self.conv2 = nn.Conv3d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm3d(width, eps=1e-5, momentum=0.1)
        self.conv3 = nn.Conv3d(width, channels, 1, bias=False)
        self.se = SqueezeExcite(channels)

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.bn1(x))
        residual = x if self.shortcut is None else self.shortcut(active)
        x = F.relu(self.bn2(self.conv1(active)))
        x = F.relu(self.bn3(self.conv2(x)))
        x = self.se(self.conv3(x))
        return x + residual


class Encoder(nn.Module):
    """(N, C, D, H, W) -> {"P1": ..., "P5": ...}; Pi is 2**i times smaller than the image."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(in_channels, STEM_CHANNELS, 7, stride=2, padding=3, bias=False)
        self.stages = nn.ModuleList()
        channels_before = STEM_CHANNELS
        for depth, width, channels, stride in STAGES:
            blocks = [Bottleneck(channels_before, width, channels, stride)]
            blocks += [Bottleneck(channels, width, channels, 1) for _ in range(depth - 1)]
            self.stages.append(nn.Sequential(*blocks))
            channels_before = channels

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.conv1(x)
        pyramid = {"P1": x}
        x = F.max_pool3d(x, 3, stride=2, padding=1)
        for level, stage in enumerate(self.stages, start=2):
            x = pyramid[f"P{level}"] = stage(x)
        return pyramid


class SEResNet152v2(nn.Module):
    """(N, 4, D, H, W) -> (N, 3) logits."""

    def __init__(self, in_channels: int = 4, num_classes: int = 3) -> None:
        super().__init__()
        self.encoder = Encoder(in_channels)
        self.post_bn = nn.BatchNorm3d(STAGES[-1][2], eps=1e-5, momentum=0.1)
        self.head = nn.Linear(STAGES[-1][2], num_classes)
        nn.init.zeros_(self.head.bias)
        for module in self.modules():  # where no norm follows, PyTorch's default is small
            if isinstance(module, nn.Conv3d) and module.bias is not None:
                nn.init.zeros_(module.bias)
                nn.init.kaiming_uniform_(module.weight)

    def pyramid(self, x: Tensor) -> dict[str, Tensor]:
        return dict(self.encoder(x))

    def forward(self, x: Tensor) -> Tensor:
        x = self.encoder(x)["P5"]
        x = F.relu(self.post_bn(x))
        x = x.mean((2, 3, 4))
        return self.head(x)


# Written by plainnet 0.1.0 with black 26.10.1, for you to own. To write it again:
#     plainnet emit seresnet152v2 --target torch --dims 3
# sha256: text 2df5343b451b2e2b909f16e206a8a6df, code 0464a706a84fd971758ec8ad2828d4d9
