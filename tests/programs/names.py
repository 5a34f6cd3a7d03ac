"""A maker of names by characters: counting, then an embedding and a hidden layer with batch norm
by hand, then the same gradient written out step by step."""

import torch
import torch.nn.functional as F

WORDS = "emma olivia ava isabella sophia charlotte mia amelia harper evelyn abigail emily".split()
chars = sorted(set("".join(WORDS)))
stoi = {s: i + 1 for i, s in enumerate(chars)}
stoi["."] = 0
itos = {i: s for s, i in stoi.items()}
V = len(itos)


def counted():
    N = torch.zeros((V, V), dtype=torch.int32)
    for w in WORDS:
        chs = ["."] + list(w) + ["."]
        for a, b in zip(chs, chs[1:]):
            N[stoi[a], stoi[b]] += 1
    P = (N + 1).float()
    P /= P.sum(1, keepdim=True)
    log_likelihood, n = 0.0, 0
    for w in WORDS:
        chs = ["."] + list(w) + ["."]
        for a, b in zip(chs, chs[1:]):
            log_likelihood += torch.log(P[stoi[a], stoi[b]])
            n += 1
    g = torch.Generator().manual_seed(2147483647)
    ix, out = 0, []
    while True:
        ix = torch.multinomial(P[ix], num_samples=1, replacement=True, generator=g).item()
        out.append(itos[ix])
        if ix == 0 or len(out) > 50:
            break
    assert all(len(c) == 1 for c in out)
    return [N[0, 1].item(), N.sum().item(), (-log_likelihood / n).item(), P[3].max().item()]


def build_dataset(words, block_size=3):
    X, Y = [], []
    for w in words:
        context = [0] * block_size
        for ch in w + ".":
            ix = stoi[ch]
            X.append(context)
            Y.append(ix)
            context = context[1:] + [ix]
    return torch.tensor(X), torch.tensor(Y)


def one_layer(rng):
    xs, ys = build_dataset(WORDS, 1)
    W = torch.tensor(rng.normal(size=(V, V)), requires_grad=True)
    for _k in range(10):
        xenc = F.one_hot(xs[:, 0], num_classes=V).to(W.dtype)
        logits = xenc @ W
        counts = logits.exp()
        probs = counts / counts.sum(1, keepdims=True)
        loss = -probs[torch.arange(len(ys)), ys].log().mean() + 0.01 * (W**2).mean()
        W.grad = None
        loss.backward()
        W.data += -10 * W.grad
    return [loss.item()]


def mlp(rng):
    Xtr, Ytr = build_dataset(WORDS)
    shapes = [(V, 4), (12, 16), (16,), (16, V), (V,)]
    C, W1, b1, W2, b2 = parameters = [torch.from_numpy(rng.normal(0, 0.5, s)) for s in shapes]
    bngain, bnbias = torch.ones((1, 16)).to(C.dtype), torch.zeros((1, 16), dtype=C.dtype)
    bnmean_running = torch.zeros((1, 16), dtype=C.dtype)
    bnstd_running = torch.ones((1, 16), dtype=C.dtype)
    parameters += [bngain, bnbias]
    for p in parameters:
        p.requires_grad = True
    assert sum(p.nelement() for p in parameters) == V * 4 + 12 * 16 + 16 + 17 * V + 32
    for i in range(12):
        ix = torch.from_numpy(rng.integers(0, Xtr.shape[0], (32,)))
        Xb, Yb = Xtr[ix], Ytr[ix]
        emb = C[Xb]
        hpreact = emb.view(emb.shape[0], -1) @ W1 + b1
        bnmeani = hpreact.mean(0, keepdim=True)
        bnstdi = hpreact.std(0, keepdim=True)
        hpreact = bngain * (hpreact - bnmeani) / bnstdi + bnbias
        with torch.no_grad():
            bnmean_running = 0.9 * bnmean_running + 0.1 * bnmeani
            bnstd_running = 0.9 * bnstd_running + 0.1 * bnstdi
        h = torch.tanh(hpreact)
        logits = h @ W2 + b2
        loss = F.cross_entropy(logits, Yb)
        for p in parameters:
            p.grad = None
        loss.backward()
        lr = 0.1 if i < 8 else 0.01
        for p in parameters:
            p.data += -lr * p.grad
    saturated = (h.abs() > 0.9).to(torch.float).mean().item()
    return [loss.item(), saturated, bnmean_running.sum().item(), bnstd_running.mean().item(),
            *(p.grad.std().item() for p in parameters)]  # fmt: skip


def backprop_by_hand(rng):
    n, n_embd, n_hidden = 32, 4, 16
    Xb, Yb = (t[:n] for t in build_dataset(WORDS))
    shapes = [(V, n_embd), (3 * n_embd, n_hidden), n_hidden, (n_hidden, V), V]
    C, W1, b1, W2, b2 = parameters = [torch.tensor(rng.normal(0, 0.3, s)) for s in shapes]
    bngain = torch.tensor(rng.normal(1, 0.1, (1, n_hidden)))
    bnbias = torch.tensor(rng.normal(0, 0.1, (1, n_hidden)))
    parameters += [bngain, bnbias]
    for p in parameters:
        p.requires_grad = True
    emb = C[Xb]
    embcat = emb.view(emb.shape[0], -1)
    hprebn = embcat @ W1 + b1
    bnmeani = 1 / n * hprebn.sum(0, keepdim=True)
    bndiff = hprebn - bnmeani
    bndiff2 = bndiff**2
    bnvar = 1 / (n - 1) * bndiff2.sum(0, keepdim=True)
    bnvar_inv = (bnvar + 1e-5) ** -0.5
    bnraw = bndiff * bnvar_inv
    hpreact = bngain * bnraw + bnbias
    h = torch.tanh(hpreact)
    logits = h @ W2 + b2
    logit_maxes = logits.max(1, keepdim=True).values
    norm_logits = logits - logit_maxes
    counts = norm_logits.exp()
    counts_sum = counts.sum(1, keepdims=True)
    counts_sum_inv = counts_sum**-1
    probs = counts * counts_sum_inv
    logprobs = probs.log()
    loss = -logprobs[range(n), Yb].mean()
    for t in [logprobs, probs, counts, norm_logits, logits, h, hpreact, bnraw, bnvar, hprebn, emb]:
        t.retain_grad()
    loss.backward()

    dlogprobs = torch.zeros_like(logprobs)
    dlogprobs[range(n), Yb] = -1.0 / n
    dprobs = (1.0 / probs) * dlogprobs
    dlogits = F.softmax(logits, 1)
    dlogits[range(n), Yb] -= 1
    dlogits /= n
    dh = dlogits @ W2.T
    dhpreact = (1.0 - h**2) * dh
    dbnraw = bngain * dhpreact
    dhprebn = (
        bngain * bnvar_inv / n
        * (n * dhpreact - dhpreact.sum(0) - n / (n - 1) * bnraw * (dhpreact * bnraw).sum(0))
    )  # fmt: skip
    dembcat = dhprebn @ W1.T
    demb = dembcat.view(emb.shape)
    dC = torch.zeros_like(C)
    for k in range(Xb.shape[0]):
        for j in range(Xb.shape[1]):
            dC[Xb[k, j]] += demb[k, j]

    def off(dt, t):
        exact = torch.all(dt == t.grad).item()
        assert exact or torch.allclose(dt, t.grad)
        return (dt - t.grad).abs().max().item() < 1e-9

    pairs = [(dlogprobs, logprobs), (dprobs, probs), (dlogits, logits), (dh, h), (dbnraw, bnraw),
             (dhpreact, hpreact), (dhprebn, hprebn), (demb, emb), (dC, C)]  # fmt: skip
    return [loss.item(), dC.norm().item()] + [float(off(*pair)) for pair in pairs]


def run(rng):
    return counted() + one_layer(rng) + mlp(rng) + backprop_by_hand(rng)
