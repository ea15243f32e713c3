"""CustomCSPPAN: the neck of the small-object detectors, a PAN of CSP stages with a transformer on its coarsest map.

Tensor legend: B batch, C channels, H height, W width, T = H*W tokens.
"""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eyas.models.blocks import SPP, BasicBlock, ConvBN

HEADS = 4


class CSPStage(nn.Module):
    """One mixing stage of the PAN. [B,in,H,W] -> [B,out,H,W]"""

    def __init__(self, channels_in: int, channels_out: int, depth: int, *, spp: bool) -> None:
        super().__init__()
        middle = channels_out // 2
        self.conv1 = ConvBN(channels_in, middle, 1)
        self.conv2 = ConvBN(channels_in, middle, 1)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for i in range(depth):
            layers[str(i)] = BasicBlock(middle, shortcut=False, alpha=False)
            if spp and i == (depth - 1) // 2:
                layers["spp"] = SPP(middle)
        self.convs = nn.Sequential(layers)
        self.conv3 = ConvBN(middle * 2, channels_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv3(torch.cat([self.conv1(x), self.convs(self.conv2(x))], 1))


class SelfAttention(nn.Module):
    """Multi-head attention with one joint projection, weights [3C, C] in q, k, v order. [B,T,C] -> [B,T,C]"""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.empty(3 * channels, channels))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * channels))
        self.out_proj = nn.Linear(channels, channels)
        self.dropout = dropout
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, positioned: Tensor, value: Tensor) -> Tensor:
        channels = value.shape[-1]
        weight, bias = self.in_proj_weight, self.in_proj_bias
        query_key = F.linear(positioned, weight[: 2 * channels], bias[: 2 * channels])
        query, key = query_key.chunk(2, -1)
        value = F.linear(value, weight[2 * channels :], bias[2 * channels :])
        query, key, value = (x.unflatten(-1, (HEADS, -1)).transpose(1, 2) for x in (query, key, value))
        mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=self.dropout if self.training else 0.0)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))


class EncoderLayer(nn.Module):
    """Post-norm transformer layer; the position is added to queries and keys, not to values. [B,T,C] -> [B,T,C]"""

    def __init__(self, channels: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = SelfAttention(channels, dropout)
        self.linear1 = nn.Linear(channels, hidden)
        self.linear2 = nn.Linear(hidden, channels)
        self.norm1 = nn.LayerNorm(channels)
        self.norm2 = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        x = self.norm1(x + self.dropout(self.self_attn(x + position, x)))
        y = self.linear2(self.dropout(F.gelu(self.linear1(x))))
        return self.norm2(x + self.dropout(y))


class Encoder(nn.Module):
    """Transformer over the cells of one map. [B,C,H,W] -> [B,C,H,W]"""

    def __init__(self, channels: int, layers: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(channels, hidden, dropout) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        position = sincos_position(width, height, x.shape[1]).to(x)
        tokens = x.flatten(2).transpose(1, 2)
        for layer in self.layers:
            tokens = layer(tokens, position)
        return tokens.transpose(1, 2).unflatten(2, (height, width))


def sincos_position(width: int, height: int, channels: int) -> Tensor:
    """The 2-D position embedding [1, T, C]: sin and cos of x, then of y, temperature 10,000.

    The published networks flatten the grid column by column while tokens run row by row, so x and y are swapped on
    square maps and permuted on others. Their weights were trained with it, so it is kept.
    """
    omega = 1.0 / 10000 ** (torch.arange(channels // 4, dtype=torch.float32) / (channels // 4))
    grid_x, grid_y = torch.meshgrid(torch.arange(width).float(), torch.arange(height).float(), indexing="ij")
    x = grid_x.reshape(-1, 1) * omega
    y = grid_y.reshape(-1, 1) * omega
    return torch.cat([x.sin(), x.cos(), y.sin(), y.cos()], 1)[None]


class CustomCSPPAN(nn.Module):
    """Maps of the backbone, fine to coarse, -> mixed maps, coarse to fine, of the widths in `channels_out`.

    `channels_in` and `channels_out` run coarse to fine (stride 32 first). Two levels or more; a fourth one is stride 4.
    """

    def __init__(
        self,
        channels_in: Sequence[int],
        channels_out: Sequence[int],
        depth: float,
        *,
        encoder_layers: int,
        encoder_hidden: int = 2048,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        blocks = max(round(3 * depth), 1)
        coarsest = channels_in[0]
        self.encoder = Encoder(coarsest, encoder_layers, encoder_hidden, dropout) if encoder_layers else None
        fpn_stages, fpn_routes = [], []
        for i, (ch_in, ch_out) in enumerate(zip(channels_in, channels_out, strict=True)):
            above = channels_out[i - 1] // 2 if i else 0
            fpn_stages.append(nn.Sequential(CSPStage(ch_in + above, ch_out, blocks, spp=i == 0)))
            if i + 1 < len(channels_in):
                fpn_routes.append(ConvBN(ch_out, ch_out // 2, 1))
        pan_stages, pan_routes = [], []
        for i in range(len(channels_in) - 1):
            below = channels_out[i + 1]
            pan_routes.append(ConvBN(below, below, 3, stride=2))
            pan_stages.append(nn.Sequential(CSPStage(below + channels_out[i], channels_out[i], blocks, spp=False)))
        self.fpn_stages, self.fpn_routes = nn.ModuleList(fpn_stages), nn.ModuleList(fpn_routes)
        self.pan_stages, self.pan_routes = nn.ModuleList(pan_stages), nn.ModuleList(pan_routes)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        coarse_first = list(maps[::-1])
        if self.encoder is not None:
            coarse_first[0] = self.encoder(coarse_first[0])
        down: list[Tensor] = []
        for i, x in enumerate(coarse_first):
            if i:
                route = F.interpolate(self.fpn_routes[i - 1](down[-1]), scale_factor=2.0, mode="nearest")
                x = torch.cat([route, x], 1)
            down.append(self.fpn_stages[i](x))
        up = [down[-1]]
        for i in reversed(range(len(down) - 1)):
            x = torch.cat([self.pan_routes[i](up[-1]), down[i]], 1)
            up.append(self.pan_stages[i](x))
        return up[::-1]
