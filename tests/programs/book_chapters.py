"""A GPT as a book on language models builds it: sliding windows, attention step by step, training
with two loaders, weights by `assign`, classification finetuning, low-rank adapters."""

import math

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

CONFIG = {
    "vocab_size": 50, "context_length": 16, "emb_dim": 16, "n_heads": 2, "n_layers": 2,
    "drop_rate": 0.0, "qkv_bias": False,
}  # fmt: skip


class GPTDataset(Dataset):
    def __init__(self, token_ids, max_length, stride):
        self.input_ids, self.target_ids = [], []
        for i in range(0, len(token_ids) - max_length, stride):
            self.input_ids.append(torch.tensor(token_ids[i : i + max_length]))
            self.target_ids.append(torch.tensor(token_ids[i + 1 : i + max_length + 1]))

    def __len__(self):
        return len(self.input_ids)

    def __getitem__(self, idx):
        return self.input_ids[idx], self.target_ids[idx]


def create_dataloader(token_ids, batch_size=4, max_length=16, stride=16, drop_last=True):
    dataset = GPTDataset(token_ids, max_length, stride)
    return DataLoader(
        dataset, batch_size=batch_size, shuffle=False, drop_last=drop_last, num_workers=0
    )


def attention_step_by_step(rng):
    inputs = torch.tensor(rng.random((6, 3)))
    query = inputs[1]
    scores = torch.empty(inputs.shape[0], dtype=inputs.dtype)
    for i, x_i in enumerate(inputs):
        scores[i] = torch.dot(x_i, query)
    weights = torch.softmax(scores, dim=0)
    context = torch.zeros(query.shape, dtype=inputs.dtype)
    for i, x_i in enumerate(inputs):
        context += weights[i] * x_i
    everything = torch.softmax(inputs @ inputs.T, dim=-1) @ inputs
    assert torch.allclose(everything[1], context)
    scores = inputs @ inputs.T
    mask = torch.triu(torch.ones(6, 6), diagonal=1)
    masked = scores.masked_fill(mask.bool(), -torch.inf)
    weights = torch.softmax(masked / inputs.shape[-1] ** 0.5, dim=1)
    simple = torch.tril(torch.ones(6, 6)).to(scores.dtype) * torch.softmax(scores, -1)
    simple = simple / simple.sum(dim=-1, keepdim=True)
    print(mask.bool()[0].tolist(), list(weights.shape), f"{weights[1, 0]:.4f}")
    return context.tolist() + weights[3].tolist() + simple[2].tolist()


class MultiHeadAttention(nn.Module):
    def __init__(self, d_in, d_out, context_length, dropout, num_heads, qkv_bias=False):
        super().__init__()
        assert d_out % num_heads == 0, "d_out must be divisible by num_heads"
        self.d_out, self.num_heads, self.head_dim = d_out, num_heads, d_out // num_heads
        self.W_query = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.W_key = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.W_value = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.out_proj = nn.Linear(d_out, d_out)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer(
            "mask", torch.triu(torch.ones(context_length, context_length), diagonal=1)
        )

    def forward(self, x):
        b, num_tokens, d_in = x.shape
        keys, queries, values = self.W_key(x), self.W_query(x), self.W_value(x)
        keys, queries, values = (
            t.view(b, num_tokens, self.num_heads, self.head_dim).transpose(1, 2)
            for t in (keys, queries, values)
        )
        attn_scores = queries @ keys.transpose(2, 3)
        mask_bool = self.mask.bool()[:num_tokens, :num_tokens]
        attn_scores.masked_fill_(mask_bool, -torch.inf)
        attn_weights = torch.softmax(attn_scores / keys.shape[-1] ** 0.5, dim=-1)
        context_vec = (self.dropout(attn_weights) @ values).transpose(1, 2)
        return self.out_proj(context_vec.contiguous().view(b, num_tokens, self.d_out))


class LayerNorm(nn.Module):
    def __init__(self, emb_dim):
        super().__init__()
        self.eps = 1e-5
        self.scale = nn.Parameter(torch.ones(emb_dim))
        self.shift = nn.Parameter(torch.zeros(emb_dim))

    def forward(self, x):
        mean = x.mean(dim=-1, keepdim=True)
        var = x.var(dim=-1, keepdim=True, unbiased=False)
        return self.scale * (x - mean) / torch.sqrt(var + self.eps) + self.shift


class GELU(nn.Module):
    def forward(self, x):
        inner = torch.sqrt(torch.tensor(2.0 / torch.pi)) * (x + 0.044715 * torch.pow(x, 3))
        return 0.5 * x * (1 + torch.tanh(inner))


class TransformerBlock(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        d = cfg["emb_dim"]
        self.att = MultiHeadAttention(
            d_in=d, d_out=d, context_length=cfg["context_length"], num_heads=cfg["n_heads"],
            dropout=cfg["drop_rate"], qkv_bias=cfg["qkv_bias"],
        )  # fmt: skip
        self.ff = nn.Sequential(nn.Linear(d, 4 * d), GELU(), nn.Linear(4 * d, d))
        self.norm1, self.norm2 = LayerNorm(d), LayerNorm(d)
        self.drop_shortcut = nn.Dropout(cfg["drop_rate"])

    def forward(self, x):
        x = self.drop_shortcut(self.att(self.norm1(x))) + x
        return self.drop_shortcut(self.ff(self.norm2(x))) + x


class GPTModel(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.tok_emb = nn.Embedding(cfg["vocab_size"], cfg["emb_dim"])
        self.pos_emb = nn.Embedding(cfg["context_length"], cfg["emb_dim"])
        self.drop_emb = nn.Dropout(cfg["drop_rate"])
        self.trf_blocks = nn.Sequential(*[TransformerBlock(cfg) for _ in range(cfg["n_layers"])])
        self.final_norm = LayerNorm(cfg["emb_dim"])
        self.out_head = nn.Linear(cfg["emb_dim"], cfg["vocab_size"], bias=False)

    def forward(self, in_idx):
        batch_size, seq_len = in_idx.shape
        x = self.tok_emb(in_idx) + self.pos_emb(torch.arange(seq_len, device=in_idx.device))
        return self.out_head(self.final_norm(self.trf_blocks(self.drop_emb(x))))


def generate_text_simple(model, idx, max_new_tokens, context_size):
    for _ in range(max_new_tokens):
        with torch.no_grad():
            logits = model(idx[:, -context_size:])
        probas = torch.softmax(logits[:, -1, :], dim=-1)
        idx = torch.cat((idx, torch.argmax(probas, dim=-1, keepdim=True)), dim=1)
    return idx


def generate(model, idx, max_new_tokens, context_size, temperature=0.0, top_k=None, eos_id=None):
    for _ in range(max_new_tokens):
        with torch.no_grad():
            logits = model(idx[:, -context_size:])[:, -1, :]
        if top_k is not None:
            top_logits, _ = torch.topk(logits, top_k)
            min_val = top_logits[:, -1]
            inf = torch.tensor(float("-inf")).to(logits.device)
            logits = torch.where(logits < min_val, inf, logits)
        if temperature > 0.0:
            idx_next = torch.multinomial(torch.softmax(logits / temperature, dim=-1), 1)
        else:
            idx_next = torch.argmax(logits, dim=-1, keepdim=True)
        if idx_next == eos_id:
            break
        idx = torch.cat((idx, idx_next), dim=1)
    return idx


def calc_loss_batch(input_batch, target_batch, model, device):
    input_batch, target_batch = input_batch.to(device), target_batch.to(device)
    logits = model(input_batch)
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), target_batch.flatten())


def calc_loss_loader(data_loader, model, device, num_batches=None):
    if len(data_loader) == 0:
        return float("nan")
    num_batches = min(num_batches or len(data_loader), len(data_loader))
    total_loss = 0.0
    for i, (inputs, targets) in enumerate(data_loader):
        if i >= num_batches:
            break
        total_loss += calc_loss_batch(inputs, targets, model, device).item()
    return total_loss / num_batches


def assign(left, right):
    if left.shape != right.shape:
        raise ValueError(f"Shape mismatch. Left: {left.shape}, Right: {right.shape}")
    return torch.nn.Parameter(torch.tensor(right, dtype=left.dtype))


class LoRALayer(nn.Module):
    def __init__(self, in_dim, out_dim, rank, alpha):
        super().__init__()
        self.A = nn.Parameter(torch.empty(in_dim, rank))
        nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))
        self.B = nn.Parameter(torch.zeros(rank, out_dim))
        self.alpha = alpha

    def forward(self, x):
        return self.alpha * (x @ self.A @ self.B)


class LinearWithLoRA(nn.Module):
    def __init__(self, linear, rank, alpha):
        super().__init__()
        self.linear = linear
        self.lora = LoRALayer(linear.in_features, linear.out_features, rank, alpha)

    def forward(self, x):
        return self.linear(x) + self.lora(x)


def replace_linear(model, rank, alpha):
    for name, module in model.named_children():
        if isinstance(module, nn.Linear):
            setattr(model, name, LinearWithLoRA(module, rank, alpha))
        else:
            replace_linear(module, rank, alpha)


def run(rng):
    torch.manual_seed(123)
    numbers = attention_step_by_step(rng)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = GPTModel(CONFIG)
    for p in model.parameters():
        p.data = torch.from_numpy(rng.normal(0, 0.1, p.shape)).to(p.dtype)
    model.to(device)
    print(model)
    print(f"Total number of parameters: {sum(p.numel() for p in model.parameters()):,}")
    ids = rng.integers(0, 50, 600).tolist()
    train_loader = create_dataloader(ids[:500])
    val_loader = create_dataloader(ids[500:], drop_last=False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.1)
    peak_lr, warmup, step, total = 4e-3, 3, -1, 2 * len(train_loader)
    for _epoch in range(2):
        model.train()
        for input_batch, target_batch in train_loader:
            optimizer.zero_grad()
            step += 1
            lr = peak_lr * min(1.0, (step + 1) / warmup) * (1 + math.cos(math.pi * step / total))
            for param_group in optimizer.param_groups:
                param_group["lr"] = lr
            loss = calc_loss_batch(input_batch, target_batch, model, device)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
            optimizer.step()
        model.eval()
        with torch.no_grad():
            numbers.append(calc_loss_loader(train_loader, model, device, num_batches=2))
            numbers.append(calc_loss_loader(val_loader, model, device))
    start = torch.tensor(ids[:4]).unsqueeze(0)
    numbers += generate_text_simple(model, start, 6, 16).squeeze(0).tolist()
    assert generate(model, start, 6, 16, temperature=1.4, top_k=5).shape[1] == 10
    numbers += [generate(model, start, 3, 16, eos_id=60).sum().item()]
    logits = model(start)
    perplexity = torch.exp(torch.nn.functional.cross_entropy(logits[0], start[0]))
    numbers.append(perplexity.item())

    qkv = rng.normal(size=(16, 48))  # three matrices in one array, as published weights have them
    q_w, k_w, v_w = np.split(qkv, 3, axis=-1)
    att = model.trf_blocks[0].att
    att.W_query.weight = assign(att.W_query.weight, q_w.T)
    numbers.append(model(start).sum().item())

    for param in model.parameters():
        param.requires_grad = False
    model.out_head = torch.nn.Linear(in_features=16, out_features=2)
    with torch.no_grad():
        for p in model.out_head.parameters():
            p.copy_(torch.from_numpy(rng.normal(0, 0.1, p.shape)))
    for param in model.trf_blocks[-1].parameters():
        param.requires_grad = True
    replace_linear(model, rank=2, alpha=4)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora" in name:
                p.copy_(torch.from_numpy(rng.normal(0, 0.1, p.shape)))
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    numbers.append(trainable)
    x, y = torch.tensor(ids[:96]).view(6, 16), torch.tensor([0, 1, 0, 1, 1, 0])
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], lr=5e-3, weight_decay=0.1
    )
    for _ in range(4):
        logits = model(x)[:, -1, :]
        loss = torch.nn.functional.cross_entropy(logits, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        predicted = torch.argmax(logits, dim=-1)
        numbers += [loss.item(), (predicted == y).sum().item() / len(y)]
    return numbers
