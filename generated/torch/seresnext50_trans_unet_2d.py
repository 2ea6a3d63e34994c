"""TransUNet on SE-ResNeXt-50 (32x4d), 2D segmentation, PyTorch.

    image    (N,    3, 224, 224)
    stem     (N,   64, 112, 112)  P1  7x7 convolution, stride 2
    stage 0  (N,  256,  56,  56)  P2  3 x Bottleneck, 32 groups of 4
    stage 1  (N,  512,  28,  28)  P3  4 x Bottleneck, 32 groups of 8
    stage 2  (N, 1024,  14,  14)  P4  6 x Bottleneck, 32 groups of 16
    stage 3  (N, 2048,   7,   7)  P5  3 x Bottleneck, 32 groups of 32
    tokens   (N, 49, 512)         12 x VitBlock, one token per pixel of P5
    queries  (N, 100, 512)        masked cross-attention to P4, P3, P2, P1
    maps     (N,    1,   7,   7)  each query's mask times its class probabilities
    decoder  (N,   16, 112, 112)  upsample, concat, 3x3 convolution for P4, P3, P2, P1
    logits   (N,    1, 224, 224)  upsample, 1x1 convolution

63,189,746 parameters; works on images of one size. 3D TransUNet: arXiv 2310.07781, Fig. 1.
ViT: arXiv 2010.11929, Fig. 1. Masked attention: Mask2Former, arXiv 2112.01527, Eq. 2.
ResNeXt: arXiv 1611.05431, Table 1. SE: arXiv 1709.01507, Fig. 3.
Load weights: model.load_state_dict(safetensors.torch.load_file("w.safetensors"))
"""

# mypy: disable-error-code="no-any-return"
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

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
CHANNELS = (STEM_CHANNELS, *(stage[2] for stage in STAGES))  # P1..P5
SKIP_CHANNELS = CHANNELS[-2::-1]  # P4, P3, P2, P1
DECODER_FILTERS = (256, 128, 64, 32, 16)


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
    """Grouped bottleneck (ResNeXt, Fig. 3c) with SE. (N, Cin, H, W) -> (N, C, H/s, W/s)."""

    def __init__(self, in_channels: int, width: int, channels: int, stride: int) -> None:
        super().__init__()
        changes = stride != 1 or in_channels != channels
        self.shortcut = Projection(in_channels, channels, stride) if changes else nn.Identity()
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width, eps=1e-5, momentum=0.1)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, groups=GROUPS, bias=False)
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


class Attention(nn.Module):
    """Multi-head attention: (N, Q, EMBED), (N, T, EMBED), mask (N, 1, Q, T) -> (N, Q, EMBED)."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = HEADS, dropout
        self.query, self.key, self.value = (nn.Linear(EMBED, EMBED) for _ in range(3))
        self.attention_output = nn.Linear(EMBED, EMBED)

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        projected = [self.query(x), self.key(context), self.value(context)]  # (N, Q or T, EMBED)
        q, k, v = [t.unflatten(2, (self.heads, -1)).transpose(1, 2) for t in projected]
        y = F.scaled_dot_product_attention(q, k, v, mask, self.dropout if self.training else 0.0)
        return self.attention_output(y.transpose(1, 2).flatten(2))  # (N, Q, EMBED)


class Mlp(nn.Module):
    """Two dense layers with dropout, MLP wide in between. (N, T, EMBED) -> same shape."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(EMBED, MLP)
        self.fc2 = nn.Linear(MLP, EMBED)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dropout(F.gelu(self.fc1(x)))
        return self.dropout(self.fc2(x))


class VitBlock(nn.Module):
    """Pre-norm self-attention and MLP (ViT, Fig. 1). (N, T, EMBED) -> same shape."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(EMBED, eps=1e-6)
        self.attention = Attention(dropout=0.0)
        self.dropout = nn.Dropout(DROPOUT)
        self.norm2 = nn.LayerNorm(EMBED, eps=1e-6)
        self.mlp = Mlp()

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        x = x + self.dropout(self.attention(y, y))
        return x + self.mlp(self.norm2(x))


class Vit(nn.Module):
    """ViT on P5, with learned positions. (N, C, H, W) -> (N, T, EMBED)."""

    def __init__(self, num_tokens: int) -> None:
        super().__init__()
        self.patch = nn.Conv2d(CHANNELS[-1], EMBED, 1)
        self.positions = nn.Parameter(0.02 * torch.randn(1, num_tokens, EMBED))
        self.blocks = nn.Sequential(*[VitBlock() for _ in range(VIT_DEPTH)])

    def forward(self, pyramid: dict[str, Tensor]) -> Tensor:
        x: Tensor = self.patch(pyramid["P5"]).flatten(2).mT
        return self.blocks(x + self.positions)


def resize(x: Tensor, scale: float, mode: str, like: Tensor) -> Tensor:
    """Upsample `scale` times (half-pixel centers), then crop to `like`: halving may round up."""
    x = F.interpolate(x, scale_factor=scale, mode=mode)
    return x[:, :, : like.shape[2], : like.shape[3]]


def attention_mask(logits: Tensor, scale: int, level: Tensor) -> Tensor:
    """Where each query may attend on a level. (N, Q, h, w) -> booleans (N, 1, Q, H*W)."""
    logits = resize(logits, float(scale), "nearest", level)  # over the token's pixels
    inside = logits.flatten(2).unsqueeze(1) > 0  # sigmoid above 0.5
    return inside | ~inside.any(3, keepdim=True)  # everywhere if none is


class MaskedCrossAttention(nn.Module):
    """Queries attend to a level, then an MLP (Mask2Former, Eq. 2). (N, Q, EMBED) -> same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(channels, EMBED, 1)
        self.project_norm = nn.GroupNorm(math.gcd(32, EMBED), EMBED, eps=1e-3)
        self.norm1 = nn.LayerNorm(EMBED, eps=1e-6)
        self.attention = Attention(dropout=DROPOUT)
        self.norm2 = nn.LayerNorm(EMBED, eps=1e-6)
        self.mlp = Mlp()

    def forward(self, queries: Tensor, level: Tensor, mask: Tensor) -> Tensor:
        context = self.project_norm(self.project(level)).flatten(2).mT
        queries = queries + self.attention(self.norm1(queries), context, mask)
        return queries + self.mlp(self.norm2(queries))


class MaskDecoder(nn.Module):
    """Coarse class maps from queries refined on P4..P1. tokens (N, T, EMBED) -> (N, K, h, w)."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(0.02 * torch.randn(1, QUERIES, EMBED))
        self.levels = nn.ModuleList([MaskedCrossAttention(channels) for channels in SKIP_CHANNELS])
        self.classes = nn.Linear(EMBED, num_classes)

    def forward(self, tokens: Tensor, pyramid: dict[str, Tensor]) -> Tensor:
        grid = pyramid["P5"].shape[2:]
        queries = self.queries.expand(tokens.shape[0], -1, -1)
        levels = (pyramid["P4"], pyramid["P3"], pyramid["P2"], pyramid["P1"])
        for refine, level, scale in zip(self.levels, levels, (2, 4, 8, 16)):
            logits = torch.unflatten(queries @ tokens.mT, 2, grid)
            queries = refine(queries, level, attention_mask(logits, scale, level))
        masks = torch.sigmoid(queries @ tokens.mT)
        classes = torch.sigmoid(self.classes(queries))
        return torch.unflatten(classes.mT @ masks, 2, grid)


class Decoder(nn.Module):
    """Class maps upsampled with the skips P4..P1. (N, K, h, w) -> (N, 16, H, W)."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(num_classes, DECODER_FILTERS[0], 3, padding=1)
        self.blocks = nn.ModuleList()
        for channels, skip, filters in zip(DECODER_FILTERS, SKIP_CHANNELS, DECODER_FILTERS[1:]):
            self.blocks.append(nn.Conv2d(channels + skip, filters, 3, padding=1))

    def forward(self, x: Tensor, pyramid: dict[str, Tensor], image: Tensor) -> Tensor:
        x = self.conv(x)
        skips = (pyramid["P4"], pyramid["P3"], pyramid["P2"], pyramid["P1"])
        for conv, skip in zip(self.blocks, skips):
            x = torch.cat((resize(x, 2.0, "bilinear", skip), skip), 1)
            x = F.leaky_relu(conv(x), 0.3)
        return resize(x, 2.0, "bilinear", image)


class SEResNeXt50TransUNet(nn.Module):
    """(N, 3, H, W) -> (N, 1, H, W) logits. The position table fixes the image size."""

    def __init__(
        self, in_channels: int = 3, num_classes: int = 1, image_size: tuple[int, ...] = (224, 224)
    ) -> None:
        super().__init__()
        if num_classes > 1:
            raise ValueError("num_classes must be 1 in this file: several classes need a softmax")
        self.image_size = list(image_size)
        num_tokens = math.prod(-(-s // 32) for s in image_size)  # P5: five halvings, rounded up
        self.encoder = Encoder(in_channels)
        self.vit = Vit(num_tokens)
        self.mask_decoder = MaskDecoder(num_classes)
        self.decoder = Decoder(num_classes)
        self.head = nn.Conv2d(DECODER_FILTERS[-1], num_classes, 1)
        for module in self.modules():  # where no norm follows, PyTorch's default is small
            if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
                if isinstance(module, nn.Linear):
                    nn.init.xavier_uniform_(module.weight)
                elif module is not self.head:
                    nn.init.kaiming_uniform_(module.weight)

    def pyramid(self, x: Tensor) -> dict[str, Tensor]:
        return dict(self.encoder(x))

    def forward(self, image: Tensor) -> Tensor:
        if list(image.shape[2:]) != self.image_size:
            raise ValueError(f"expected image size {self.image_size}, got {list(image.shape[2:])}")
        pyramid = self.encoder(image)
        maps = self.mask_decoder(self.vit(pyramid), pyramid)
        return self.head(self.decoder(maps, pyramid, image))


# Written by plainnet 0.1.0 with black 26.10.1, for you to own. To write it again:
#     plainnet emit seresnext50 --target torch --dims 2 --segmentor trans_unet
# sha256: text a79cd8973ac188ae79019c2efe992141, code e6da43f9de7c6885313ffa19b5d54337
