"""The class of fixtures/files/module.safetensors, a whole module saved by the name of its class."""

import microtensor.nn.functional as F
from microtensor import nn


class Net(nn.Module):
    """An ordinary module: layers, containers, a function and a class among the attributes."""

    def __init__(self):
        super().__init__()
        self.embedding, self.out = nn.Embedding(5, 4), nn.Linear(4, 5, bias=False)
        self.out.weight = self.embedding.weight
        self.net = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        self.act, self.norm, self.sizes = F.gelu, nn.LayerNorm, {"width": 4}

    def forward(self, x):
        return self.out(self.act(self.net(self.embedding(x))))
