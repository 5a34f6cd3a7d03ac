"""MiniGPT once more, in PyTorch, to be timed and compared with: the same modules and names."""

import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.ln1 = nn.LayerNorm(config.d_model)
        self.attn = nn.MultiheadAttention(
            config.d_model, config.n_heads, dropout=config.dropout, batch_first=True
        )
        self.ln2 = nn.LayerNorm(config.d_model)
        self.mlp = nn.Sequential(
            nn.Linear(config.d_model, 4 * config.d_model),
            nn.GELU(),
            nn.Linear(4 * config.d_model, config.d_model),
        )

    def forward(self, x, mask):
        h = self.ln1(x)
        h, _ = self.attn(h, h, h, attn_mask=mask, need_weights=False)
        x = x + h
        return x + self.mlp(self.ln2(x))

    def next(self, x, keys, values, t):
        """The block for the token at position t: x (B, 1, C), keys and values (B, H, T, D)."""
        B, _, C = x.shape
        H = self.attn.num_heads
        qkv = F.linear(self.ln1(x), self.attn.in_proj_weight, self.attn.in_proj_bias)
        q, k, v = qkv.view(B, 1, 3, H, C // H).permute(2, 0, 3, 1, 4).unbind()
        keys[:, :, t : t + 1], values[:, :, t : t + 1] = k, v
        h = F.scaled_dot_product_attention(q, keys[:, :, : t + 1], values[:, :, : t + 1])
        x = x + self.attn.out_proj(h.transpose(1, 2).reshape(B, 1, C))
        return x + self.mlp(self.ln2(x))


class MiniGPT(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.position_embedding = nn.Embedding(config.context_length, config.d_model)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.ln_f = nn.LayerNorm(config.d_model)
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        n = config.context_length
        self.register_buffer("causal_mask", torch.triu(torch.ones(n, n, dtype=torch.bool), 1))

    def forward(self, idx, targets=None):
        n = idx.shape[1]
        x = self.token_embedding(idx) + self.position_embedding(torch.arange(n))
        for block in self.blocks:
            x = block(x, self.causal_mask[:n, :n])
        logits = self.head(self.ln_f(x))
        if targets is None:
            return logits
        return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    @torch.no_grad()
    def generate(self, idx, max_new_tokens, use_cache=True):
        """Greedy text after one token idx (B, 1), at most a context; keys and values are kept."""
        if not use_cache:
            for _ in range(max_new_tokens):
                idx = torch.cat([idx, self(idx)[:, -1].argmax(-1, keepdim=True)], 1)
            return idx
        c = self.config
        shape = (2 * c.n_layers, len(idx), c.n_heads, c.context_length, c.d_model // c.n_heads)
        kept = torch.zeros(shape).unbind()
        for t in range(max_new_tokens):
            x = self.token_embedding(idx[:, t:]) + self.position_embedding.weight[t]
            for i, block in enumerate(self.blocks):
                x = block.next(x, kept[2 * i], kept[2 * i + 1], t)
            logits = self.head(self.ln_f(x))[:, -1]
            idx = torch.cat([idx, logits.argmax(-1, keepdim=True)], 1)
        return idx
