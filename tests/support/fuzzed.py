"""Files damaged at random, and what the loaders make of them: run by test_fuzz.py.

python tests/support/fuzzed.py SEED COUNT [KIND]

Loads COUNT damaged files of each kind within 1 GB of memory, and prints how many were refused and
how many were loaded all the same. Whatever but the documented exception comes out ends it.
"""

import random
import resource
import signal
import sys
import tempfile
from pathlib import Path

import microtensor as mt
from microtensor.files.serialization import LoadError
from models import GPT2, BPETokenizer, CharTokenizer, GPT2Config, ModernMiniGPT, ModernMiniGPTConfig
from models.pretrained import llama
from models.text.tokenizers import load_tokenizer

MEMORY = 2**30
SECONDS = 5  # for one file; it takes a few milliseconds

SIZES = {"vocab_size": 20, "context_length": 12, "d_model": 8, "n_heads": 2, "n_layers": 1}
CHECKPOINT = {
    "model": {"w": mt.arange(6.0).reshape(2, 3), "mask": mt.tensor([True, False])},
    "optimizer": {"state": {0: {"step": 7}}, "betas": (0.9, 0.99)},
}


# ---- a whole file of each kind: (the files that are damaged, how one loads, what may come) ------


def of_ours(folder):
    mt.save(CHECKPOINT, folder / "f")
    return ["f"], lambda: mt.load(folder / "f"), LoadError


def of_others(folder):
    mt.serialization.save_file({"w": mt.ones(2, 3), "b": mt.arange(4)}, folder / "f")
    return ["f"], lambda: mt.load(folder / "f"), LoadError


def of_pytorch(folder):
    from torch_archive import SIX, archive, called, dictionary, number, tensor

    program = dictionary(
        w=tensor((2, 3), (3, 1)),
        t=tensor((3, 2), (1, 3)),
        b=tensor((2,), (1,), 0, "BFloat16Storage", "1", 2),
        o=called("collections", "OrderedDict"),
        n=b"](" + number(1) + b"N\x88G?\xf0\0\0\0\0\0\0e",
    )
    (folder / "f").write_bytes(archive(program, s0=SIX, s1=bytes(4)))
    return ["f"], lambda: mt.load(folder / "f"), LoadError


def of_gpt2(folder):
    GPT2(GPT2Config(**SIZES)).save_pretrained(folder)
    return ["config.json", "model.safetensors"], lambda: GPT2.from_pretrained(folder), ValueError


def of_llama(folder):
    model = ModernMiniGPT(ModernMiniGPTConfig(**SIZES, n_kv_heads=1, d_mlp=12))
    llama.save_pretrained(model, folder)
    return ["config.json"], lambda: llama.from_pretrained(folder), ValueError


def of_a_tokenizer(folder):
    CharTokenizer.from_text("to be or not to be, ü€😀").save(folder / "f")
    return ["f"], lambda: load_tokenizer(folder / "f"), ValueError


def of_pairs(folder):
    BPETokenizer.from_text("to be or not to be", 262, ["<|end|>"]).save(folder)
    return ["vocab.json", "merges.txt"], lambda: load_tokenizer(folder), ValueError


def of_pairs_in_one_file(folder):
    BPETokenizer.from_text("to be or not to be", 262).save(folder / "f")
    return ["f"], lambda: load_tokenizer(folder / "f"), ValueError


KINDS = {
    "safetensors of ours": of_ours,
    "safetensors of others": of_others,
    "pt": of_pytorch,
    "gpt2": of_gpt2,
    "llama": of_llama,
    "tokenizer": of_a_tokenizer,
    "vocab and merges": of_pairs,
    "bpe in one file": of_pairs_in_one_file,
}


# ---- damage ------------------------------------------------------------------------------------

DIGITS = b"0123456789"
INSTEAD_OF_A_DIGIT = [
    b"-", b"9" * 9, b"9" * 25, b"9" * 5000, b"1e", b".", b'"', b"null", b"[" * 2000,
]  # fmt: skip


def damaged(data, rng):
    """Bytes changed, cut out, put in, doubled, moved; numbers made huge, as text or in binary."""
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        if not data:
            break
        i = rng.randrange(len(data))
        j = min(len(data), i + rng.randrange(1, 12))
        match rng.randrange(9):
            case 0:
                data[i] ^= 1 << rng.randrange(8)
            case 1:
                data[i:j] = rng.randbytes(j - i)
            case 2:
                del data[i:j]
            case 3:
                data[i:i] = rng.randbytes(rng.randrange(1, 9))
            case 4:
                data[i:i] = data[i:j] * rng.choice([1, 2, 300])
            case 5:
                k = rng.randrange(len(data))
                data[i:j], data[k:k] = b"", data[i:j]
            case 6:
                del data[i:]
            case 7:
                data[i:j] = rng.choice([b"\xff", b"\0", b"\x7f"]) * (j - i)
            case 8:
                places = [k for k, byte in enumerate(data) if byte in DIGITS]
                if places:
                    k = rng.choice(places)
                    more = [
                        b"-",
                        b"9" * 9,
                        b"9" * 25,
                        b"9" * 5000,
                        b"1e",
                        b".",
                        b'"',
                        b"null",
                        b"[" * 2000,
                    ]
                    data[k : k + rng.randrange(2)] = rng.choice(more)
    return bytes(data)


def run(kind, seed, count):
    rng = random.Random(f"{kind} {seed}")
    refused = loaded = 0
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        names, load, documented = KINDS[kind](folder)
        whole = {name: (folder / name).read_bytes() for name in names}
        load()
        for number in range(count):
            name = rng.choice(names)
            (folder / name).write_bytes(damaged(whole[name], rng))
            signal.alarm(SECONDS)
            try:
                load()
            except documented:
                refused += 1
            except BaseException:
                sys.stderr.write(f"{kind}, seed {seed}, file {number}, {name}:\n")
                sys.stderr.write(f"{(folder / name).read_bytes()[:3000]!r}\n")
                raise
            else:
                loaded += 1
            signal.alarm(0)
            (folder / name).write_bytes(whole[name])
    return refused, loaded


if __name__ == "__main__":
    seed, count, *kinds = sys.argv[1:]
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    for kind in kinds or KINDS:
        print(kind, *run(kind, int(seed), int(count)), sep="\t")
