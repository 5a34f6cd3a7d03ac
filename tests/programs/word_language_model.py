"""A word-level language model: RNN, GRU, LSTM or Transformer, truncated backpropagation, plain
gradient steps and a rate that is quartered."""

import math
import os
import tempfile

import torch
import torch.nn as nn
import torch.nn.functional as F


class Dictionary:
    def __init__(self):
        self.word2idx, self.idx2word = {}, []

    def add_word(self, word):
        if word not in self.word2idx:
            self.idx2word.append(word)
            self.word2idx[word] = len(self.idx2word) - 1
        return self.word2idx[word]


def tokenize(dictionary, lines):
    idss = []
    for line in lines:
        ids = [dictionary.add_word(word) for word in line.split() + ["<eos>"]]
        idss.append(torch.tensor(ids).type(torch.int64))
    return torch.cat(idss)


class RNNModel(nn.Module):
    def __init__(self, rnn_type, ntoken, ninp, nhid, nlayers, dropout=0.0, tie_weights=False):
        super().__init__()
        self.ntoken = ntoken
        self.drop = nn.Dropout(dropout)
        self.encoder = nn.Embedding(ntoken, ninp)
        if rnn_type in ["LSTM", "GRU"]:
            self.rnn = getattr(nn, rnn_type)(ninp, nhid, nlayers, dropout=dropout)
        else:
            nonlinearity = {"RNN_TANH": "tanh", "RNN_RELU": "relu"}[rnn_type]
            self.rnn = nn.RNN(ninp, nhid, nlayers, nonlinearity=nonlinearity, dropout=dropout)
        self.decoder = nn.Linear(nhid, ntoken)
        if tie_weights:
            self.decoder.weight = self.encoder.weight
        self.init_weights()
        self.rnn_type, self.nhid, self.nlayers = rnn_type, nhid, nlayers

    def init_weights(self):
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)
        nn.init.uniform_(self.decoder.weight, -0.1, 0.1)

    def forward(self, input, hidden):
        emb = self.drop(self.encoder(input))
        output, hidden = self.rnn(emb, hidden)
        decoded = self.decoder(self.drop(output)).view(-1, self.ntoken)
        return F.log_softmax(decoded, dim=1), hidden

    def init_hidden(self, bsz):
        weight = next(self.parameters())
        if self.rnn_type == "LSTM":
            return (
                weight.new_zeros(self.nlayers, bsz, self.nhid),
                weight.new_zeros(self.nlayers, bsz, self.nhid),
            )
        return weight.new_zeros(self.nlayers, bsz, self.nhid)


class PositionalEncoding(nn.Module):
    def __init__(self, d_model, dropout=0.0, max_len=100):
        super().__init__()
        self.dropout = nn.Dropout(p=dropout)
        pe = torch.zeros(max_len, d_model)
        position = torch.arange(0, max_len, dtype=torch.float).unsqueeze(1)
        div_term = torch.exp(torch.arange(0, d_model, 2).float() * (-math.log(10000.0) / d_model))
        pe[:, 0::2] = torch.sin(position * div_term)
        pe[:, 1::2] = torch.cos(position * div_term)
        self.register_buffer("pe", pe.unsqueeze(0).transpose(0, 1))

    def forward(self, x):
        return self.dropout(x + self.pe[: x.size(0), :])


class TransformerModel(nn.Transformer):
    def __init__(self, ntoken, ninp, nhead, nhid, nlayers, dropout=0.0):
        super().__init__(
            d_model=ninp, nhead=nhead, dim_feedforward=nhid, num_encoder_layers=nlayers,
            dropout=dropout,
        )  # fmt: skip
        self.src_mask = None
        self.pos_encoder = PositionalEncoding(ninp, dropout)
        self.input_emb = nn.Embedding(ntoken, ninp)
        self.ninp = ninp
        self.decoder = nn.Linear(ninp, ntoken)

    def _generate_square_subsequent_mask(self, sz):
        return torch.log(torch.tril(torch.ones(sz, sz)))

    def forward(self, src, has_mask=True):
        if has_mask:
            device = src.device
            if self.src_mask is None or self.src_mask.size(0) != len(src):
                self.src_mask = self._generate_square_subsequent_mask(len(src)).to(device)
        else:
            self.src_mask = None
        src = self.pos_encoder(self.input_emb(src) * math.sqrt(self.ninp))
        output = self.decoder(self.encoder(src, mask=self.src_mask))
        return F.log_softmax(output, dim=-1)


def batchify(data, bsz, device):
    nbatch = data.size(0) // bsz
    data = data.narrow(0, 0, nbatch * bsz)
    return data.view(bsz, -1).t().contiguous().to(device)


def get_batch(source, i, bptt=6):
    seq_len = min(bptt, len(source) - 1 - i)
    return source[i : i + seq_len], source[i + 1 : i + 1 + seq_len].view(-1)


def repackage_hidden(h):
    if isinstance(h, torch.Tensor):
        return h.detach()
    return tuple(repackage_hidden(v) for v in h)


LINES = ["the cat sat on the mat", "a dog sat on the log", "the bird and the cat and a dog",
         "on the log a bird sat", "and the mat sat on a cat"] * 4  # fmt: skip


def run(rng):
    corpus = Dictionary()
    data = batchify(tokenize(corpus, LINES), 4, torch.device("cpu"))
    ntokens = len(corpus.idx2word)
    criterion = nn.NLLLoss()
    numbers = []
    for kind in ("RNN_TANH", "RNN_RELU", "GRU", "LSTM", "Transformer"):
        if kind == "Transformer":
            model = TransformerModel(ntokens, 8, 2, 12, 2)
        else:
            model = RNNModel(kind, ntokens, 8, 8, 2, tie_weights=True)
        with torch.no_grad():
            for p in model.parameters():
                p.copy_(torch.from_numpy(rng.normal(0, 0.2, p.shape)))
        lr, best = 2.0, None
        for epoch in range(2):
            model.train()
            total_loss = 0.0
            if kind != "Transformer":
                hidden = model.init_hidden(4)
            for i in range(0, data.size(0) - 1, 6):
                x, targets = get_batch(data, i)
                model.zero_grad()
                if kind == "Transformer":
                    output = model(x).view(-1, ntokens)
                else:
                    hidden = repackage_hidden(hidden)
                    output, hidden = model(x, hidden)
                loss = criterion(output, targets)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 0.25)
                for p in model.parameters():
                    if p.grad is not None:
                        p.data.add_(p.grad, alpha=-lr)
                total_loss += len(x) * loss.item()
            numbers.append(total_loss / (len(data) - 1))
            if best is None or total_loss < best:
                best = total_loss
            else:
                lr /= 4.0
            print(f"| epoch {epoch:3d} | lr {lr:02.2f} | ppl {math.exp(loss.item()):8.2f}")
        if kind == "GRU":
            with tempfile.TemporaryDirectory() as folder:
                path = os.path.join(folder, "model.pt")
                torch.save(model.state_dict(), path)
                again = RNNModel(kind, ntokens, 8, 8, 2, tie_weights=True)
                again.load_state_dict(torch.load(path, weights_only=True))
            model = again
            model.rnn.flatten_parameters()
        model.eval()
        with torch.no_grad():
            x = data[:5]
            out = model(x, False) if kind == "Transformer" else model(x, model.init_hidden(4))[0]
            weights = out.view(-1, ntokens)[-1].squeeze().div(1.0).exp().cpu()
            numbers += [weights.max().item(), out.sum().item()]
            assert torch.multinomial(weights, 1)[0] < ntokens
    return numbers
