"""The vision transformer of CLIP (Radford et al. 2021), the backbone of the two large feature networks.

Parameter names equal those of the published weights. Norms come first, GELU is the exact one, no dropout.
Tensor legend: B batch, T tokens (class token first, then patches row by row), C channels, D features.
"""

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class ViTConfig:
    """The shape of one network. `image_size` fixes the number of position embeddings, so it fixes the input too.

    `class_token` says whether the class token counts in the mean over the tokens: in the published large network it
    does, in the base one it does not.
    """

    patch: int
    width: int
    depth: int
    heads: int
    class_token: bool
    features: int = 512
    image_size: int = 224


class Attention(nn.Module):
    """Multi-head self-attention with one joint projection in q, k, v order. [B,T,C] -> [B,T,C]"""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.proj(mixed.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """Pre-norm transformer layer. [B,T,C] -> [B,T,C]"""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attn = Attention(channels, heads)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(
            OrderedDict(fc1=nn.Linear(channels, 4 * channels), act=nn.GELU(), fc2=nn.Linear(4 * channels, channels))
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    """Images [B,3,S,S], S = `config.image_size`, -> one vector for each [B,D]: the mean over the projected tokens."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        width = config.width
        self.class_token = config.class_token
        patches = (config.image_size // config.patch) ** 2
        self.pos_embed = nn.Parameter(torch.empty(1, patches + 1, width))
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.proj = nn.Parameter(torch.empty(width, config.features))
        conv = nn.Conv2d(3, width, config.patch, config.patch, bias=False)
        self.patch_embed = nn.Sequential(OrderedDict(proj=conv))
        self.ln_pre = nn.LayerNorm(width)
        self.blocks = nn.Sequential(*(Layer(width, config.heads) for _ in range(config.depth)))
        self.norm = nn.LayerNorm(width)
        self._reset()

    def _reset(self) -> None:
        """N(0, 0.02) cut at two for embeddings and linear layers, biases 0, and a projection that keeps the scale."""
        linear = [layer for layer in self.modules() if isinstance(layer, nn.Linear)]
        for weight in (self.pos_embed, self.cls_token, *(layer.weight for layer in linear)):
            nn.init.trunc_normal_(weight, std=0.02)
        for layer in linear:
            nn.init.zeros_(layer.bias)
        nn.init.normal_(self.proj, std=self.proj.shape[0] ** -0.5)

    def forward(self, images: Tensor) -> Tensor:
        patches = self.patch_embed(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(images.shape[0], -1, -1), patches], 1)
        tokens = self.blocks(self.ln_pre(tokens + self.pos_embed))
        if not self.class_token:
            tokens = tokens[:, 1:]
        # The mean before the projection is the published order reversed, which is the same and 200 times less work.
        return self.norm(tokens).mean(1) @ self.proj
