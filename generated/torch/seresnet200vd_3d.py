"""SE-ResNet-200-vd, 3D classifier, PyTorch.

    image    (N,    4, 96, 96, 96)
    stem     (N,   64, 48, 48, 48)  P1  3 x 3x3x3 convolution, the first with stride 2
    stage 0  (N,  256, 24, 24, 24)  P2  3 x Bottleneck
    stage 1  (N,  512, 12, 12, 12)  P3  12 x Bottleneck
    stage 2  (N, 1024,  6,  6,  6)  P4  48 x Bottleneck
    stage 3  (N, 2048,  3,  3,  3)  P5  3 x Bottleneck
    logits   (N, 3)

155,640,755 parameters. ResNet-D: arXiv 1812.01187, Fig. 2. SE: arXiv 1709.01507, Fig. 3.
Load weights: model.load_state_dict(safetensors.torch.load_file("w.safetensors"))
"""

# mypy: disable-error-code="no-any-return"
import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["SEResNet200vd"]

STEM_CHANNELS = 64
SE_RATIO = 16
STAGES = (  # depth, width, channels, stride
    (3, 64, 256, 1),
    (12, 128, 512, 2),
    (48, 256, 1024, 2),
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


class Projection(nn.Sequential):
    """Average-pooling shortcut (ResNet-D, Fig. 2c). (N, Cin, D, H, W) -> (N, C, D/s, H/s, W/s)."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        if stride != 1:  # pads as ceil_mode does, but exports with dynamic sizes
            self.pool = nn.Sequential(nn.ReplicationPad3d((0, 1) * 3), nn.AvgPool3d(2, stride))
        self.conv = nn.Conv3d(in_channels, channels, 1, bias=False)
        self.bn = nn.BatchNorm3d(channels, eps=1e-5, momentum=0.1)


class Bottleneck(nn.Module):
    """Bottleneck (ResNet, Fig. 5 right) with SE. (N, Cin, D, H, W) -> (N, C, D/s, H/s, W/s)."""

    def __init__(self, in_channels: int, width: int, channels: int, stride: int) -> None:
        super().__init__()
        changes = stride != 1 or in_channels != channels
        self.shortcut = Projection(in_channels, channels, stride) if changes else nn.Identity()
        self.conv1 = nn.Conv3d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm3d(width, eps=1e-5, momentum=0.1)
        self.conv2 = nn.Conv3d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm3d(width, eps=1e-5, momentum=0.1)
        self.conv3 = nn.Conv3d(width, channels, 1, bias=False)
        self.se = SqueezeExcite(channels)
        self.bn3 = nn.BatchNorm3d(channels, eps=1e-5, momentum=0.1)

    def forward(self, x: Tensor) -> Tensor:
        residual = self.shortcut(x)
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = self.bn3(self.se(self.conv3(x)))
        return F.relu(x + residual)


class Encoder(nn.Module):
    """(N, C, D, H, W) -> {"P1": ..., "P5": ...}; Pi is 2**i times smaller than the image."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(in_channels, 32, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm3d(32, eps=1e-5, momentum=0.1)
        self.conv2 = nn.Conv3d(32, 32, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm3d(32, eps=1e-5, momentum=0.1)
        self.conv3 = nn.Conv3d(32, STEM_CHANNELS, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm3d(STEM_CHANNELS, eps=1e-5, momentum=0.1)
        self.stages = nn.ModuleList()
        channels_before = STEM_CHANNELS
        for depth, width, channels, stride in STAGES:
            blocks = [Bottleneck(channels_before, width, channels, stride)]
            blocks += [Bottleneck(channels, width, channels, 1) for _ in range(depth - 1)]
            self.stages.append(nn.Sequential(*blocks))
            channels_before = channels

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = F.relu(self.bn3(self.conv3(x)))
        pyramid = {"P1": x}
        x = F.max_pool3d(x, 3, stride=2, padding=1)
        for level, stage in enumerate(self.stages, start=2):
            x = pyramid[f"P{level}"] = stage(x)
        return pyramid


class SEResNet200vd(nn.Module):
    """(N, 4, D, H, W) -> (N, 3) logits."""

    def __init__(self, in_channels: int = 4, num_classes: int = 3) -> None:
        super().__init__()
        self.encoder = Encoder(in_channels)
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
        x = x.mean((2, 3, 4))
        return self.head(x)


# Written by plainnet 0.1.0 with black 26.10.1, for you to own. To write it again:
#     plainnet emit seresnet200vd --target torch --dims 3
# sha256: text d7fceeba373ebe3d69ed6121a345961a, code 079dbf320c3fea7ad38a575235b728ed
