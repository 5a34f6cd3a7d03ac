"""Transformers from scratch: encoder and decoder with label smoothing and warm-up, Llama's block
with rotary positions and grouped heads, BERT's masks, a state-space scan, einsum everywhere."""

import copy
import math
from functools import partial
from typing import NamedTuple, Optional

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor, einsum  # noqa: F401
from torch.optim.lr_scheduler import LambdaLR


def settle(model, rng, scale=0.2):
    for p in model.parameters():
        if p.dim() > 1:
            nn.init.xavier_uniform_(p)
        p.data.copy_(torch.as_tensor(rng.normal(0, scale, p.size())))
    return model


# ---- encoder and decoder --------------------------------------------------------------


def clones(module, N):
    return nn.ModuleList([copy.deepcopy(module) for _ in range(N)])


def subsequent_mask(size):
    attn_shape = (1, size, size)
    return torch.triu(torch.ones(attn_shape), diagonal=1).type(torch.uint8) == 0


def attention(query, key, value, mask=None, dropout=None):
    d_k = query.size(-1)
    scores = torch.matmul(query, key.transpose(-2, -1)) / math.sqrt(d_k)
    if mask is not None:
        scores = scores.masked_fill(mask == 0, -1e9)
    p_attn = scores.softmax(dim=-1)
    if dropout is not None:
        p_attn = dropout(p_attn)
    return torch.matmul(p_attn, value), p_attn


class MultiHeadedAttention(nn.Module):
    def __init__(self, h, d_model, dropout=0.0):
        super(MultiHeadedAttention, self).__init__()  # noqa: UP008
        self.d_k, self.h = d_model // h, h
        self.linears = clones(nn.Linear(d_model, d_model), 4)
        self.attn = None
        self.dropout = nn.Dropout(p=dropout)

    def forward(self, query, key, value, mask=None):
        if mask is not None:
            mask = mask.unsqueeze(1)
        nbatches = query.size(0)
        query, key, value = [
            lin(x).view(nbatches, -1, self.h, self.d_k).transpose(1, 2)
            for lin, x in zip(self.linears, (query, key, value))
        ]
        x, self.attn = attention(query, key, value, mask=mask, dropout=self.dropout)
        x = x.transpose(1, 2).contiguous().view(nbatches, -1, self.h * self.d_k)
        return self.linears[-1](x)


class LayerNorm(nn.Module):
    def __init__(self, features, eps=1e-6):
        super().__init__()
        self.a_2 = nn.Parameter(torch.ones(features))
        self.b_2 = nn.Parameter(torch.zeros(features))
        self.eps = eps

    def forward(self, x):
        mean, std = x.mean(-1, keepdim=True), x.std(-1, keepdim=True)
        return self.a_2 * (x - mean) / (std + self.eps) + self.b_2


class DecoderLayer(nn.Module):
    def __init__(self, size, self_attn, src_attn, feed_forward):
        super().__init__()
        self.self_attn, self.src_attn = self_attn, src_attn
        self.feed_forward, self.norms = feed_forward, clones(LayerNorm(size), 3)

    def forward(self, x, memory, src_mask, tgt_mask):
        y = self.norms[0](x)
        x = x + self.self_attn(y, y, y, tgt_mask)
        x = x + self.src_attn(self.norms[1](x), memory, memory, src_mask)
        return x + self.feed_forward(self.norms[2](x))


class LabelSmoothing(nn.Module):
    def __init__(self, size, padding_idx, smoothing=0.0):
        super().__init__()
        self.criterion = nn.KLDivLoss(reduction="sum")
        self.padding_idx, self.size = padding_idx, size
        self.confidence, self.smoothing = 1.0 - smoothing, smoothing

    def forward(self, x, target):
        true_dist = x.data.clone()
        true_dist.fill_(self.smoothing / (self.size - 2))
        true_dist.scatter_(1, target.data.unsqueeze(1), self.confidence)
        true_dist[:, self.padding_idx] = 0
        mask = torch.nonzero(target.data == self.padding_idx)
        if mask.dim() > 0:
            true_dist.index_fill_(0, mask.squeeze(), 0.0)
        return self.criterion(x, true_dist.clone().detach())


def rate(step, model_size, factor, warmup):
    step = max(step, 1)
    return factor * (model_size ** (-0.5) * min(step ** (-0.5), step * warmup ** (-1.5)))


def translation(rng):
    V, d = 11, 8
    ff = nn.Sequential(nn.Linear(d, 16), nn.ReLU(), nn.Dropout(0.0), nn.Linear(16, d))
    attn, c = MultiHeadedAttention(2, d), copy.deepcopy
    model = nn.ModuleDict({
        "emb": nn.Embedding(V, d), "enc": c(attn), "ff": c(ff), "out": nn.Linear(d, V),
        "dec": nn.ModuleList([DecoderLayer(d, c(attn), c(attn), c(ff)) for _ in range(2)]),
    })  # fmt: skip
    settle(model, rng)
    optimizer = torch.optim.Adam(model.parameters(), lr=1.0, betas=(0.9, 0.98), eps=1e-9)
    scheduler = LambdaLR(optimizer, lr_lambda=lambda step: rate(step, d, 1.0, warmup=5))
    criterion = LabelSmoothing(size=V, padding_idx=0, smoothing=0.1)
    losses = []
    for _ in range(6):
        data = torch.from_numpy(rng.integers(1, V, (4, 7)))
        data[:, 0] = 1
        data[0, 5:] = 0
        src, tgt, tgt_y = data, data[:, :-1], data[:, 1:]
        src_mask = (src != 0).unsqueeze(-2)
        tgt_mask = (tgt != 0).unsqueeze(-2)
        tgt_mask = tgt_mask & subsequent_mask(tgt.size(-1)).type_as(tgt_mask.data)
        x = model["emb"](src) * math.sqrt(d)
        memory = x + model["enc"](x, x, x, src_mask)
        y = model["emb"](tgt) * math.sqrt(d)
        for layer in model["dec"]:
            y = layer(y, memory, src_mask, tgt_mask)
        out = F.log_softmax(model["out"](y), dim=-1)
        ntokens = (tgt_y != 0).data.sum()
        loss = criterion(out.contiguous().view(-1, V), tgt_y.contiguous().view(-1)) / ntokens
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        scheduler.step()
        losses.append(loss.item())
    return losses + [optimizer.param_groups[0]["lr"], model["enc"].attn.sum().item()]


# ---- Llama's block --------------------------------------------------------------------


class RMSNorm(nn.Module):
    def __init__(self, dim: int, eps: float = 1e-6):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def _norm(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)

    def forward(self, x):
        return self._norm(x).type_as(x) * self.weight


def rotate_half(x: Tensor) -> Tensor:
    x1, x2 = x.chunk(2, dim=-1)
    return torch.cat((-x2, x1), dim=-1)


class Rotary(nn.Module):
    def __init__(self, dim, base=10000):
        super().__init__()
        inv_freq = 1.0 / (base ** (torch.arange(0, dim, 2).float() / dim))
        self.register_buffer("inv_freq", inv_freq, persistent=False)

    def forward(self, x, seq_len: Optional[int] = None):  # noqa: UP045
        t = torch.arange(seq_len or x.shape[-2], device=x.device).type_as(self.inv_freq)
        freqs = torch.einsum("i,j->ij", t, self.inv_freq)
        emb = torch.cat((freqs, freqs), dim=-1).to(x.device)
        return emb.cos()[None, None, :, :], emb.sin()[None, None, :, :]


def repeat_kv(x: torch.Tensor, n_rep: int) -> torch.Tensor:
    bs, n_kv_heads, slen, head_dim = x.shape
    x = x[:, :, None, :, :].expand(bs, n_kv_heads, n_rep, slen, head_dim)
    return x.reshape(bs, n_kv_heads * n_rep, slen, head_dim)


class LlamaBlock(nn.Module):
    def __init__(self, dim=16, heads=4, kv_heads=2):
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = heads, kv_heads, dim // heads
        self.wq = nn.Linear(dim, dim, bias=False)
        self.wk = nn.Linear(dim, kv_heads * self.head_dim, bias=False)
        self.wv = nn.Linear(dim, kv_heads * self.head_dim, bias=False)
        self.wo = nn.Linear(dim, dim, bias=False)
        self.w1, self.w3 = (nn.Linear(dim, 24, bias=False) for _ in range(2))
        self.w2 = nn.Linear(24, dim, bias=False)
        self.attention_norm, self.ffn_norm = RMSNorm(dim), RMSNorm(dim)
        self.rotary = Rotary(self.head_dim)

    def forward(self, x, cache=None):
        b, t, _ = x.shape
        h = self.attention_norm(x)
        q, k, v = self.wq(h), self.wk(h), self.wv(h)
        q = q.view(b, t, self.heads, -1).transpose(1, 2)
        k, v = (y.view(b, t, self.kv_heads, -1).transpose(1, 2) for y in (k, v))
        cos, sin = self.rotary(q)
        q, k = (y * cos + rotate_half(y) * sin for y in (q, k))
        k, v = (repeat_kv(y, self.heads // self.kv_heads) for y in (k, v))
        mask = torch.full((t, t), float("-inf"), device=x.device)
        mask = torch.triu(mask, diagonal=1)
        scores = torch.matmul(q, k.transpose(2, 3)) / math.sqrt(self.head_dim) + mask
        out = torch.matmul(F.softmax(scores.float(), dim=-1).type_as(q), v)
        assert torch.allclose(
            out, F.scaled_dot_product_attention(q, k, v, is_causal=True), atol=1e-5
        )
        x = x + self.wo(out.transpose(1, 2).contiguous().view(b, t, -1))
        h = self.ffn_norm(x)
        return x + self.w2(F.silu(self.w1(h)) * self.w3(h))


def top_p_sampled(logits, p):
    probs_sort, probs_idx = torch.sort(torch.softmax(logits, -1), dim=-1, descending=True)
    probs_sum = torch.cumsum(probs_sort, dim=-1)
    probs_sort[probs_sum - probs_sort > p] = 0.0
    probs_sort.div_(probs_sort.sum(dim=-1, keepdim=True))
    next_token = torch.multinomial(probs_sort, num_samples=1)
    return torch.gather(probs_idx, -1, next_token)


def llama(rng):
    torch.manual_seed(0)
    model = settle(
        nn.Sequential(nn.Embedding(20, 16), LlamaBlock(), LlamaBlock(), RMSNorm(16)), rng
    )
    idx = torch.tensor(rng.integers(0, 20, (3, 9)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, amsgrad=True)
    numbers = []
    for _ in range(4):
        logits = model(idx[:, :-1]) @ model[0].weight.T
        loss = F.cross_entropy(logits.transpose(1, 2), idx[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        numbers.append(loss.item())
    token = top_p_sampled(logits[:, -1], 0.3)
    likely = torch.topk(logits[:, -1], 10).indices
    assert (likely == token).any(-1).all()
    return numbers


# ---- other kinds ----------------------------------------------------------------------


class Output(NamedTuple):
    loss: Tensor
    logits: Tensor


def bert(rng):
    encoder = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, activation=F.gelu, batch_first=True), 2
    )
    head = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.LayerNorm(8), nn.Linear(8, 12))
    table, segments = nn.Embedding(12, 8, padding_idx=0), nn.Embedding(2, 8)
    position = nn.Parameter(torch.randn(1, 10, 8))
    model = settle(nn.ModuleList([encoder, head, table, segments]), rng)
    position.data = torch.tensor(rng.normal(0, 0.1, (1, 10, 8))).to(position.dtype)
    tokens = torch.tensor(rng.integers(1, 12, (4, 10)))
    tokens[1, 7:] = 0
    valid_lens = torch.tensor([10, 7, 10, 10])
    places = torch.tensor(rng.integers(0, 7, (4, 2)))
    params = [*model.parameters(), position]
    optimizer = torch.optim.RAdam(params, lr=1e-2)
    numbers = []
    for _ in range(7):
        padding = torch.arange(10)[None, :] >= valid_lens[:, None]
        x = table(tokens) + segments((tokens > 5).long()) + position.data * 0 + position
        encoded = encoder(x, src_key_padding_mask=padding)
        batch_idx = torch.repeat_interleave(torch.arange(4), 2)
        masked = encoded[batch_idx, places.reshape(-1)].reshape((4, 2, -1))
        labels = tokens.gather(1, places).reshape(-1)
        logits = head(masked).reshape(-1, 12)
        out = Output(F.cross_entropy(logits, labels, reduction="none").mean(), logits)
        optimizer.zero_grad()
        out.loss.backward()
        nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
        numbers.append(out.loss.item())
    return numbers + [out.logits.std().item()]


def selective_scan(rng):
    b, length, d, n = 2, 6, 4, 3
    make = partial(torch.tensor, requires_grad=True)
    u, delta = make(rng.normal(size=(b, length, d))), make(rng.normal(size=(b, length, d)))
    A_log, D = make(rng.random((d, n))), make(rng.normal(size=d))
    B, C = make(rng.normal(size=(b, length, n))), make(rng.normal(size=(b, length, n)))
    conv = nn.Conv1d(d, d, kernel_size=3, groups=d, padding=2, bias=True).to(u.dtype)
    settle(conv, rng)
    x = conv(u.transpose(1, 2))[..., :length].transpose(1, 2)
    x = F.silu(x)
    step = F.softplus(delta)
    A = -torch.exp(A_log)
    deltaA = torch.exp(einsum("b l d, d n -> b l d n", step, A))
    deltaB_u = einsum("b l d, b l n, b l d -> b l d n", step, B, x)
    state, ys = torch.zeros((b, d, n), dtype=u.dtype), []
    for i in range(length):
        state = deltaA[:, i] * state + deltaB_u[:, i]
        ys.append(einsum("b d n, b n -> b d", state, C[:, i, :]))
    y = torch.stack(ys, dim=1) + x * D
    y.pow(2).mean().backward()
    return [y.sum().item()] + [t.grad.abs().sum().item() for t in (u, delta, A_log, D, B, C)]


def run(rng):
    return translation(rng) + llama(rng) + bert(rng) + selective_scan(rng)
