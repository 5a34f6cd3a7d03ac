"""A process in which one library multiplies with all matrices of GPT-2 (124 M), for one token.

python -m tests.benchmarks.quantized float32|int8|int4|torch-float32|torch-dynamic|torch-weight-only
prints the least and the median of seconds.
"""

import statistics
import sys
import time
import warnings

import numpy as np

BLOCK = [(2304, 768), (768, 768), (3072, 768), (768, 3072)]
SHAPES = [*BLOCK * 12, (50257, 768)]
KINDS = "float32 int8 int4 torch-float32 torch-dynamic torch-weight-only".split()


def ours(kind):
    """A function that multiplies a row with every matrix once."""
    import microtensor as mt
    from microtensor import nn, quantization

    layers = []
    for m, n in SHAPES:
        layers.append(nn.Linear(n, m, bias=False))
        if kind != "float32":
            config = quantization.Int8WeightOnlyConfig()
            if kind == "int4":
                config = quantization.Int4WeightOnlyConfig(32)
            quantization.quantize_(layers[-1], config)
    rows = {n: mt.randn(1, n) for _, n in SHAPES}

    def token():
        with mt.inference_mode():
            for layer, (_, n) in zip(layers, SHAPES):
                layer(rows[n])

    return token


def theirs(kind):
    """The same with PyTorch: as it is, int8 in and out, or int8 weights alone."""
    import torch

    warnings.simplefilter("ignore")  # of what is deprecated there
    torch.set_num_threads(1)
    torch.backends.quantized.engine = "fbgemm"
    layers, rows = [], {n: torch.randn(1, n) for _, n in SHAPES}
    for m, n in SHAPES:
        layer = torch.nn.Linear(n, m, bias=False)
        if kind == "torch-dynamic":
            layer = torch.ao.quantization.quantize_dynamic(
                torch.nn.Sequential(layer), {torch.nn.Linear}, torch.qint8
            )
        elif kind == "torch-weight-only":
            weight = (torch.randn(m, n) * 40).clamp(-127, 127).to(torch.int8)
            scale = torch.rand(m).bfloat16()
            layer = lambda x, w=weight, s=scale: torch._weight_int8pack_mm(x.bfloat16(), w, s)
        layers.append(layer)

    def token():
        with torch.inference_mode():
            for layer, (_, n) in zip(layers, SHAPES):
                layer(rows[n])

    return token


def main(kind, seconds=3.0):
    token = (theirs if kind.startswith("torch") else ours)(kind)
    token()
    times, end = [], time.perf_counter() + float(seconds)
    while time.perf_counter() < end or len(times) < 5:
        start = time.perf_counter()
        token()
        times.append(time.perf_counter() - start)
    print(min(times), statistics.median(times))


if __name__ == "__main__":
    np.random.seed(0)
    main(*sys.argv[1:])
