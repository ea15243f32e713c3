"""PP-YOLOE for small objects: backbone, neck and head in one network.

Tensor legend: B batch, C classes, L anchors over all levels (stride 32 first, row-major cells), n bins a side.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from eyas.models.blocks import ConvBN, init_conv_weights
from eyas.models.csppan import CustomCSPPAN
from eyas.models.cspresnet import CSPResNet

NECK_CHANNELS = {32: 768, 16: 384, 8: 192, 4: 96}
"""Width of each level of the neck before the width factor; stride 4 continues the published row of halves."""


@dataclass(frozen=True)
class PPYOLOEConfig:
    """The shape of one network. `reg_range` holds the first distance bin and one past the last, in strides."""

    width: float
    depth: float
    reg_range: tuple[int, int] = (-2, 8)
    strides: tuple[int, ...] = (32, 16, 8)
    encoder_layers: int = 4
    encoder_hidden: int = 2048


class HeadOutput(NamedTuple):
    """What training needs: scores [B,L,C] after the sigmoid, side-major distance logits [B,L,4n], anchor centres
    [L,2] (x, y) in grid units of their level, and strides [L,1] in pixels."""

    scores: Tensor
    reg_logits: Tensor
    anchors: Tensor
    strides: Tensor


class ESEAttention(nn.Module):
    """ConvBN(x * sigmoid(fc(pooled))), the pre-head gate. [B,C,H,W], [B,C,1,1] -> [B,C,H,W]"""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Conv2d(channels, channels, 1)
        self.conv = ConvBN(channels, channels, 1)

    def forward(self, x: Tensor, pooled: Tensor) -> Tensor:
        return self.conv(x * torch.sigmoid(self.fc(pooled)))


class PPYOLOEHead(nn.Module):
    """Per level: class logits [B,C,H,W] and distance logits [B,4n,H,W]."""

    def __init__(self, channels: tuple[int, ...], num_classes: int, bins: tuple[int, int]) -> None:
        super().__init__()
        self.num_bins = bins[1] - bins[0]
        self.stem_cls = nn.ModuleList(ESEAttention(c) for c in channels)
        self.stem_reg = nn.ModuleList(ESEAttention(c) for c in channels)
        self.pred_cls = nn.ModuleList(nn.Conv2d(c, num_classes, 3, padding=1) for c in channels)
        self.pred_reg = nn.ModuleList(nn.Conv2d(c, 4 * self.num_bins, 3, padding=1) for c in channels)
        self.proj_conv = nn.Conv2d(self.num_bins, 1, 1, bias=False)
        self._reset(bins)

    def _reset(self, bins: tuple[int, int]) -> None:
        """Scores start at 0.01 (bias -log 99), distances at a flat distribution; the bins are fixed."""
        init_conv_weights(self)
        for cls, reg in zip(self.pred_cls, self.pred_reg, strict=True):
            assert isinstance(cls, nn.Conv2d) and isinstance(reg, nn.Conv2d)
            nn.init.zeros_(cls.weight)
            nn.init.constant_(cls.bias, -4.59511985)  # type: ignore[arg-type]
            nn.init.zeros_(reg.weight)
            nn.init.constant_(reg.bias, 1.0)  # type: ignore[arg-type]
        values = torch.linspace(bins[0], bins[1] - 1, self.num_bins)
        self.proj_conv.weight = nn.Parameter(values.view(1, -1, 1, 1), requires_grad=False)

    def forward(self, maps: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
        levels = []
        for i, x in enumerate(maps):
            pooled = x.mean((2, 3), keepdim=True)
            cls = self.pred_cls[i](self.stem_cls[i](x, pooled) + x)
            levels.append((cls, self.pred_reg[i](self.stem_reg[i](x, pooled))))
        return levels

    def expect(self, reg: Tensor) -> Tensor:
        """Distance logits [B,4n,H,W] of one level -> expected distances [B,H*W,4] in strides (l, t, r, b)."""
        bins = reg.permute(0, 2, 3, 1).flatten(1, 2).unflatten(2, (4, self.num_bins))
        return (bins.softmax(-1) * self.proj_conv.weight.view(-1)).sum(-1)


class PPYOLOE(nn.Module):
    """Images float32 [B,3,H,W], values 0..255, H and W multiples of 32 -> scores and distances.

    `forward` gives what prediction needs: scores [B,C,L] and distances [B,L,4] in strides (left, top, right, bottom
    of the anchor centre), see `eyas.vision.decode`. `forward_train` gives `HeadOutput`. Division by 255 happens inside.
    """

    outputs = ("scores", "distances")

    def __init__(self, config: PPYOLOEConfig, num_classes: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.config, self.num_classes = config, num_classes
        self.backbone = CSPResNet(config.width, config.depth)
        stride_channels = dict(zip((4, 8, 16, 32), self.backbone.channels, strict=True))
        neck_channels = tuple(round(NECK_CHANNELS[s] * config.width) for s in config.strides)
        self.neck = CustomCSPPAN(
            [stride_channels[s] for s in config.strides],
            neck_channels,
            config.depth,
            encoder_layers=config.encoder_layers,
            encoder_hidden=config.encoder_hidden,
            dropout=dropout,
        )
        init_conv_weights(self)
        self.yolo_head = PPYOLOEHead(neck_channels, num_classes, config.reg_range)

    def levels(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Class and distance logits of each level, coarse to fine."""
        maps = self.backbone(images / 255.0)[-len(self.config.strides) :]
        levels: list[tuple[Tensor, Tensor]] = self.yolo_head(self.neck(maps))
        return levels

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        levels = self.levels(images)
        scores = torch.cat([cls.flatten(2) for cls, _ in levels], 2).sigmoid()
        distances = torch.cat([self.yolo_head.expect(reg) for _, reg in levels], 1)
        return scores, distances

    def forward_train(self, images: Tensor) -> HeadOutput:
        levels = self.levels(images)
        scores = torch.cat([cls.flatten(2) for cls, _ in levels], 2).transpose(1, 2).float().sigmoid()
        logits = torch.cat([reg.flatten(2) for _, reg in levels], 2).transpose(1, 2).float()
        anchors, strides = anchor_grid([cls.shape[-2:] for cls, _ in levels], self.config.strides)
        return HeadOutput(scores, logits, anchors.to(logits), strides.to(logits))


def anchor_grid(sizes_hw: list[torch.Size], strides: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Anchor centres [L,2] (x, y) in grid units and strides [L,1] in pixels for maps of the given sizes."""
    centres, steps = [], []
    for (height, width), stride in zip(sizes_hw, strides, strict=True):
        y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
        centres.append(torch.stack([x, y], -1).reshape(-1, 2))
        steps.append(torch.full((height * width, 1), float(stride)))
    return torch.cat(centres), torch.cat(steps)
