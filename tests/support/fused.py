"""Operations whose kernels each backend has its own way of computing, as functions of `A`."""

import importlib.util

import microtensor as mt
from microtensor import nn
from microtensor.nn import functional as F

BACKENDS = ["numba", "numpy"] if importlib.util.find_spec("numba") else ["numpy"]

A, W, B = mt.randn(40, 64), mt.randn(64), mt.randn(64)
FUSED = {
    "relu": F.relu,
    "sigmoid": F.sigmoid,
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "dropout": lambda x: F.dropout(x, 0.3),
    "softmax": lambda x: F.softmax(x, -1),
    "log_softmax": lambda x: F.log_softmax(x, -1),
    "layer_norm": lambda x: F.layer_norm(x, (64,), W, B),
    "layer_norm_alone": lambda x: F.layer_norm(x, (64,)),
    "rms_norm": lambda x: F.rms_norm(x, (64,), W),
    "group_norm": lambda x: F.group_norm(x, 4),
    "linear": lambda x: F.linear(x, A, mt.ones(40)),
    "linear_of_a_row": lambda x: F.linear(x[:1], A, mt.ones(40)),
    "attention": lambda x: F.scaled_dot_product_attention(x, x * 2, x * 3),
    "attention_causal": lambda x: F.scaled_dot_product_attention(x, x * 2, x * 3, is_causal=True),
    "attention_dropout": lambda x: F.scaled_dot_product_attention(x, x, x, dropout_p=0.3),
    "cross_entropy": lambda x: F.cross_entropy(x, mt.arange(40)),
    "cross_entropy_shares": lambda x: F.cross_entropy(x, mt.arange(40), W.abs(), ignore_index=3),
    "cross_entropy_smooth": lambda x: F.cross_entropy(x, mt.arange(40), label_smoothing=0.1),
    "embedding": lambda x: F.embedding(mt.arange(80) % 40, x),
    "gru": lambda x: nn.GRU(64, 8)(x[:, None])[0],
    "lstm": lambda x: nn.LSTM(64, 8)(x[:, None])[0],
}
