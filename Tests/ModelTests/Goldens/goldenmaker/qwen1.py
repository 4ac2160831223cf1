"""Qwen 1 as its published description has it, in plain PyTorch: TransformerLens' numbers are checked against this.

The model's own code (QWenLMHeadModel) is on the hub only. Here are its names, and its arithmetic written anew: RMS norms, fused
queries, keys and values, an MLP whose second projection is the gate, a rotation of half-split pairs whose base grows by steps
past the trained length, and queries that grow with the logarithm of the position there.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F


class RMSNorm(nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(width)), eps

    def forward(self, x):
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.c_attn = nn.Linear(c.hidden_size, 3 * c.hidden_size)
        self.c_proj = nn.Linear(c.hidden_size, c.hidden_size, bias=False)

    def forward(self, x):
        c, length = self.c, x.shape[1]
        width = c.hidden_size // c.num_attention_heads
        q, k, v = (part.unflatten(-1, (-1, width)).transpose(1, 2) for part in self.c_attn(x).chunk(3, dim=-1))
        base = c.rotary_emb_base
        if c.use_dynamic_ntk and length > c.seq_length:
            alpha = 2 ** math.ceil(math.log(length / c.seq_length, 2) + 1) - 1
            base = base * alpha ** (width / (width - 2))
        angles = torch.arange(length)[:, None] * base ** (-torch.arange(0, width, 2) / width)[None]
        cos, sin = torch.cat([angles, angles], -1).cos(), torch.cat([angles, angles], -1).sin()
        q, k = (part * cos + torch.cat([-part[..., width // 2:], part[..., :width // 2]], -1) * sin for part in (q, k))
        if c.use_logn_attn:
            place = torch.arange(1, length + 1)
            q = q * torch.where(place > c.seq_length, place.log() / math.log(c.seq_length), torch.ones(()))[:, None]
        scores = q @ k.transpose(2, 3) / math.sqrt(width)
        scores = scores.masked_fill(torch.ones(length, length).triu(1).bool(), -math.inf)
        return self.c_proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))


class MLP(nn.Module):
    def __init__(self, c):
        super().__init__()
        half = c.intermediate_size // 2
        self.w1, self.w2 = nn.Linear(c.hidden_size, half, bias=False), nn.Linear(c.hidden_size, half, bias=False)
        self.c_proj = nn.Linear(half, c.hidden_size, bias=False)

    def forward(self, x):
        return self.c_proj(self.w1(x) * F.silu(self.w2(x)))


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.ln_1, self.ln_2 = RMSNorm(c.hidden_size, c.layer_norm_epsilon), RMSNorm(c.hidden_size, c.layer_norm_epsilon)
        self.attn, self.mlp = Attention(c), MLP(c)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class QWenLMHeadModel(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.transformer = nn.ModuleDict(dict(wte=nn.Embedding(config.vocab_size, config.hidden_size),
                                              h=nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers)),
                                              ln_f=RMSNorm(config.hidden_size, config.layer_norm_epsilon)))
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def forward(self, tokens):
        x = self.transformer["wte"](tokens)
        for block in self.transformer["h"]:
            x = block(x)
        return self.lm_head(self.transformer["ln_f"](x))
