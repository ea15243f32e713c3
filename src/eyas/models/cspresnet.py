"""CSPRepResNet: the backbone of PP-YOLOE.

Tensor legend: B batch, C channels, H height, W width. Maps come out at strides 4, 8, 16, 32.
"""

from collections import OrderedDict

from torch import Tensor, cat, nn

from eyas.models.blocks import BasicBlock, ConvBN, EffectiveSE

CHANNELS = (64, 128, 256, 512, 1024)
DEPTHS = (3, 6, 6, 3)


class CSPResStage(nn.Module):
    """Halves the map, runs residual blocks on half of the channels, gates, and mixes. [B,in,H,W] -> [B,out,H/2,W/2]"""

    def __init__(self, channels_in: int, channels_out: int, depth: int) -> None:
        super().__init__()
        middle = (channels_in + channels_out) // 2
        self.conv_down = ConvBN(channels_in, middle, 3, stride=2)
        self.conv1 = ConvBN(middle, middle // 2, 1)
        self.conv2 = ConvBN(middle, middle // 2, 1)
        self.blocks = nn.Sequential(*(BasicBlock(middle // 2, shortcut=True, alpha=True) for _ in range(depth)))
        self.attn = EffectiveSE(middle // 2 * 2)
        self.conv3 = ConvBN(middle // 2 * 2, channels_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_down(x)
        mixed = cat([self.conv1(x), self.blocks(self.conv2(x))], 1)
        return self.conv3(self.attn(mixed))


class CSPResNet(nn.Module):
    """Images [B,3,H,W] -> maps at strides 4, 8, 16 and 32; `channels` gives their widths."""

    def __init__(self, width: float, depth: float) -> None:
        super().__init__()
        stem, *stages = (max(round(c * width), 1) for c in CHANNELS)
        self.channels = tuple(stages)
        self.stem = nn.Sequential(
            OrderedDict(
                conv1=ConvBN(3, stem // 2, 3, stride=2),
                conv2=ConvBN(stem // 2, stem // 2, 3),
                conv3=ConvBN(stem // 2, stem, 3),
            )
        )
        widths = (stem, *stages)
        self.stages = nn.ModuleList(
            CSPResStage(widths[i], widths[i + 1], max(round(n * depth), 1)) for i, n in enumerate(DEPTHS)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.stem(x)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps
