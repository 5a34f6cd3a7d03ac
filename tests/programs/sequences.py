"""Sequences: sine waves with LSTM cells and LBFGS, names with an RNN from scratch, translation with
attention, packed sequences and padded batches."""

import random

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from torch.utils.data import DataLoader


def settle(model, rng):
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.from_numpy(rng.normal(0, 0.3, tuple(p.shape))))
    return model


class Sequence(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm1, self.lstm2 = nn.LSTMCell(1, 6), nn.LSTMCell(6, 6)
        self.linear = nn.Linear(6, 1)

    def forward(self, input, future=0):
        outputs = []
        h_t, c_t, h_t2, c_t2 = (torch.zeros(input.size(0), 6, dtype=torch.double) for _ in range(4))
        for input_t in input.split(1, dim=1):
            h_t, c_t = self.lstm1(input_t, (h_t, c_t))
            h_t2, c_t2 = self.lstm2(h_t, (h_t2, c_t2))
            output = self.linear(h_t2)
            outputs += [output]
        for _ in range(future):
            h_t, c_t = self.lstm1(output, (h_t, c_t))
            h_t2, c_t2 = self.lstm2(h_t, (h_t2, c_t2))
            output = self.linear(h_t2)
            outputs += [output]
        return torch.cat(outputs, dim=1)


def waves(rng):
    x = np.arange(14) + rng.integers(-8, 8, 5).reshape(5, 1)
    data = np.sin(x / 2.0).astype("float64")
    input, target = torch.from_numpy(data[2:, :-1]), torch.from_numpy(data[2:, 1:])
    seq = settle(Sequence().double(), rng)
    criterion = nn.MSELoss()
    optimizer = optim.LBFGS(seq.parameters(), lr=0.8, max_iter=4)
    losses = []
    for _ in range(2):

        def closure():
            optimizer.zero_grad()
            loss = criterion(seq(input), target)
            losses.append(loss.item())
            loss.backward()
            return loss

        optimizer.step(closure)
    with torch.no_grad():
        y = seq(torch.from_numpy(data[:2, :-1]), future=3).detach().numpy()
    w = torch.tensor([-1.2, 1.0], dtype=torch.double, requires_grad=True)
    search = optim.LBFGS([w], lr=0.5, max_iter=12, history_size=3)

    def valley():
        search.zero_grad()
        f = (1 - w[0]) ** 2 + 3 * (w[1] - w[0] ** 2) ** 2
        f.backward()
        return f

    search.step(valley)
    return losses + y[0].tolist() + w.tolist()


class RNN(nn.Module):
    def __init__(self, input_size, hidden_size, output_size):
        super().__init__()
        self.hidden_size = hidden_size
        self.i2h = nn.Linear(input_size + hidden_size, hidden_size)
        self.h2o = nn.Linear(hidden_size, output_size)
        self.softmax = nn.LogSoftmax(dim=1)

    def forward(self, input, hidden):
        hidden = torch.tanh(self.i2h(torch.cat((input, hidden), 1)))
        return self.softmax(self.h2o(hidden)), hidden

    def initHidden(self):
        return torch.zeros(1, self.hidden_size)


def line_to_tensor(line):
    tensor = torch.zeros(len(line), 1, 26)
    for li, letter in enumerate(line):
        tensor[li][0][ord(letter) - 97] = 1
    return tensor


def names(rng):
    rnn, criterion = settle(RNN(26, 8, 3), rng), nn.NLLLoss()
    random.seed(3)
    numbers = []
    for name, category in [("satoshi", 0), ("abbas", 1), ("novak", 2)] * 3:
        hidden = rnn.initHidden()
        rnn.zero_grad()
        line = line_to_tensor(name)
        for i in range(line.size()[0]):
            output, hidden = rnn(line[i], hidden)
        loss = criterion(output, torch.tensor([category], dtype=torch.long))
        loss.backward()
        for p in rnn.parameters():
            p.data.add_(p.grad.data, alpha=-0.05)
        top_n, top_i = output.topk(1)
        numbers += [loss.item(), top_i[0].item(), top_n[0][0].item()]
    return numbers


class Attention(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.Wa, self.Ua, self.Va = nn.Linear(size, size), nn.Linear(size, size), nn.Linear(size, 1)

    def forward(self, query, keys):
        scores = self.Va(torch.tanh(self.Wa(query) + self.Ua(keys))).squeeze(2).unsqueeze(1)
        weights = F.softmax(scores, dim=-1)
        return torch.bmm(weights, keys), weights


class Seq2Seq(nn.Module):
    def __init__(self, vocab, size):
        super().__init__()
        self.embedding = nn.Embedding(vocab, size, padding_idx=0)
        self.encoder = nn.GRU(size, size, batch_first=True)
        self.attention = Attention(size)
        self.decoder = nn.GRU(2 * size, size, batch_first=True)
        self.out = nn.Linear(size, vocab)

    def forward(self, source, lengths, steps, target=None):
        packed = pack_padded_sequence(
            self.embedding(source), lengths, batch_first=True, enforce_sorted=False
        )
        packed_out, hidden = self.encoder(packed)
        keys, _ = pad_packed_sequence(packed_out, batch_first=True)
        token = torch.empty(source.size(0), 1, dtype=torch.long).fill_(1)
        outputs = []
        for i in range(steps):
            context, _ = self.attention(hidden.permute(1, 0, 2), keys)
            step = torch.cat((self.embedding(token), context), dim=2)
            output, hidden = self.decoder(step, hidden)
            output = self.out(output)
            outputs.append(output)
            if target is not None:
                token = target[:, i].unsqueeze(1)
            else:
                _, topi = output.topk(1)
                token = topi.squeeze(-1).detach()
        return F.log_softmax(torch.cat(outputs, dim=1), dim=-1)


def collate_fn(batch):
    batch = sorted(batch, key=lambda pair: -len(pair[0]))
    lengths = torch.as_tensor([len(x) for x, _ in batch])
    xs = pad_sequence([torch.as_tensor(x) for x, _ in batch], batch_first=True, padding_value=0)
    ys = torch.tensor([y for _, y in batch])
    return xs, lengths, ys


def translation(rng):
    pairs = [
        (rng.integers(2, 12, int(n)).tolist(), rng.integers(2, 12, 4).tolist())
        for n in rng.integers(2, 7, 9)
    ]
    model = settle(Seq2Seq(12, 6), rng)
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    scheduler = optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.9)
    criterion = nn.NLLLoss(ignore_index=0)
    numbers = []
    for _epoch in range(2):
        for xs, lengths, ys in DataLoader(pairs, batch_size=4, collate_fn=collate_fn):
            optimizer.zero_grad(set_to_none=False)
            out = model(xs, lengths, 4, ys)
            loss = criterion(out.view(-1, out.size(-1)), ys.view(-1))
            loss.backward()
            nn.utils.clip_grad_value_(model.parameters(), 0.5)
            optimizer.step()
            numbers.append(loss.item())
        scheduler.step()
    model.eval()
    with torch.no_grad():
        out = model(xs, lengths, 4)
    return numbers + out.argmax(-1).flatten().tolist() + scheduler.get_last_lr()


def tagger(rng):
    torch.manual_seed(1)
    lstm = settle(nn.LSTM(input_size=5, hidden_size=4, num_layers=2, bidirectional=True), rng)
    x = torch.from_numpy(rng.normal(size=(7, 3, 5))).to(next(lstm.parameters()).dtype)
    out, (h, c) = lstm(x)
    gru = settle(nn.GRU(5, 4, batch_first=True, bidirectional=True), rng)
    y, hn = gru(x.transpose(0, 1))
    (out.mean() + y.pow(2).mean()).backward()
    grads = [p.grad.norm().item() for p in list(lstm.parameters()) + list(gru.parameters())]
    print(list(lstm.state_dict())[:6], lstm, tuple(out.shape), len(hn))
    return grads + [h.sum().item(), c.sum().item(), hn.sum().item()]


def run(rng):
    return waves(rng) + names(rng) + translation(rng) + tagger(rng)
