"""Forged files, valid but for a few places, for test_forged_checkpoints.py.

python tests/support/forged.py KIND COUNT [SEED]

Reads COUNT of a KIND in a process that may not take more than 2 GB or two minutes, and says how
many were refused. Each must be refused with a ValueError, or do all that one does with such a file.
"""

import json
import math
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

import microtensor as mt
from models import GPT2, GPT2Config, ModernMiniGPT, ModernMiniGPTConfig
from models.generation import sampling
from models.ladder.minigpt import MiniGPT, MiniGPTConfig
from models.ladder.tiny_lm import TinyLM, TinyLMConfig
from models.pretrained import llama
from models.text.data import ShardedWindows, read_tokens, split
from models.text.tokenizers import BPETokenizer, CharTokenizer, load_tokenizer, tokenizer_from
from models.training import NonFiniteLoss, Trainer, TrainingConfig, checkpoints, model_from

DEEP = []
for _ in range(200):
    DEEP = [DEEP]
PLAIN = [
    None, True, False, -1, 0, 1, 2, 3, 255, 10**9, 2**31, 2**53, 2**63, 2**64, -(10**30), 10**400,
    -0.0, 0.5, 1.0, 1e-320, 1e300, math.nan, math.inf, -math.inf, "", "0", "\x00", "\ud800",
    "a\x1b[2J", "../x", "byte", "MiniGPT", "GPT2", "NGram", "LookupTable", "sgd", "é" * 3000, [],
    {}, [[]], DEEP,
    [None], [0], ["a"], list(range(3000)), ["ab"] * 3000, {"type": "byte"}, {"": {}}, {"a": [{}]},
    {str(i): i for i in range(300)},
]  # fmt: skip
TENSORS = [
    mt.zeros(0), mt.zeros(()), mt.zeros(4), mt.zeros(4, 4), mt.zeros(31, 4), mt.zeros(1, 1, 1, 1),
    mt.zeros(4, dtype=mt.int64), mt.zeros(4, 4, dtype=mt.bool), mt.zeros(31, 4, dtype=mt.float16),
    mt.full((4,), math.nan), mt.full((4, 4), math.inf), mt.zeros(2, dtype=mt.float64),
    mt.full((2,), math.nan, dtype=mt.float64), mt.zeros(180, dtype=mt.uint8),
    mt.zeros(1).expand(1 << 20, 1 << 12), mt.zeros(1, dtype=mt.float64).expand(1 << 31),
    mt.tensor(list(b'[0, {"bit_generator": "MT19937"}]'), dtype=mt.uint8),
    mt.tensor(list(b"[" * 3000), dtype=mt.uint8),
]  # fmt: skip


def places(value, path=()):
    """The paths to all values inside of dicts and lists, but of very deep ones."""
    if isinstance(value, (dict, list)) and len(path) < 9:
        for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
            yield (*path, key)
            yield from places(inner, (*path, key))


def copied(value):
    """A copy of dicts and lists; what is in them stays itself."""
    if isinstance(value, dict):
        return type(value)((key, copied(inner)) for key, inner in value.items())
    return [copied(inner) for inner in value] if isinstance(value, list) else value


def at(value, path):
    for key in path:
        value = value[key]
    return value


def forged(valid, rng, hostile):
    """A deep copy of a value, changed in one to three places."""
    value = copied(valid)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        inside = list(places(value))
        if not inside:
            break
        # a key near the top is as likely as one far below
        depth = rng.choice(sorted({len(p) for p in inside}))
        path = rng.choice([p for p in inside if len(p) == depth])
        parent, key = at(value, path[:-1]), path[-1]
        how = rng.randrange(8)
        if how == 0:
            del parent[key]
        elif how == 1 and isinstance(parent, dict):
            parent[rng.choice(("x", "", "\ud800", "params", "step", "type"))] = parent.pop(key)
        elif how == 2 and isinstance(parent, dict):
            parent[rng.choice(("x", "epoch", "n_layers", "weight"))] = rng.choice(hostile)
        elif how == 3:
            parent[key] = copied(at(value, rng.choice(inside)))
        elif how == 4 and type(parent[key]) in (int, float):
            parent[key] = parent[key] * rng.choice((-1, 2, 10, 10**6, 10**9, 0.5)) + rng.choice(
                (0, 1)
            )
        elif how == 5 and isinstance(parent[key], mt.Tensor) and parent[key].numel() < 10_000:
            t = parent[key]
            parent[key] = rng.choice(
                (t.flatten()[:0], t[..., None], t.double(), t.long(), t * math.nan, t * -1.5, t.mT)
                if t.ndim > 1
                else (t.flatten()[:-1], t[..., None], t.bool(), t.half(), t * math.inf, t * -1.5)
            )
        else:
            parent[key] = copied(rng.choice(hostile))
    return value


# ---- what is done with each kind -----------------------------------------------------------------

TEXT = "To be, or not to be, that is the question: " * 8
SIZES = {"vocab_size": 20, "context_length": 12, "d_model": 8, "n_heads": 2, "n_layers": 2}


class Checkpoint:
    """Checkpoints of two models and optimizers, one on shards; read, written with, trained on."""

    hostile = PLAIN + TENSORS

    def __init__(self, folder):
        self.valid = [
            self.saved(*kind) for kind in ((0, "adamw", 0), (1, "sgd", 0), (0, "adamw", 1))
        ]

    def trainer(self, tiny, optimizer, shards):
        mt.manual_seed(0)
        tokenizer = CharTokenizer.from_text(TEXT)
        if tiny:
            model = TinyLM(TinyLMConfig(tokenizer.vocab_size, 4, d_embedding=2, d_hidden=3))
        else:
            model = MiniGPT(MiniGPTConfig(tokenizer.vocab_size, 4, 4, 2, 1))
        train, held_out = split(tokenizer.encode_array(TEXT), 4)
        if shards:
            train = ShardedWindows(train.ids, 4, shard=4, mixed=2)
        config = TrainingConfig(
            steps=4, batch_size=2, optimizer=optimizer, eval_batches=1, eval_batch_size=2, warmup=1
        )
        return Trainer(model, tokenizer, train, held_out, config)

    def saved(self, *kind):
        trainer = self.trainer(*kind)
        trainer.examine()
        trainer.train_step()
        trainer.train_step()
        return kind, trainer.state_dict()

    def forged(self, rng):
        kind, valid = rng.choice(self.valid)
        return kind, forged(valid, rng, self.hostile)

    def read(self, case):
        kind, state = case
        checkpoints.files.load = lambda path: state  # as if it had been in a file
        checkpoints.load_checkpoint("forged", use=lambda state: self.use(kind, state))

    def use(self, kind, state):
        model, tokenizer = model_from(state)
        prompt = tokenizer.decode([0])
        "".join(sampling.generate_text(model, tokenizer, prompt, 3, temperature=0))
        trainer = self.trainer(*kind)
        trainer.load_state_dict(state)
        trainer.train_step()
        trainer.examine()
        trainer.record()
        json.dumps(trainer.about)


class Folder:
    """A published folder: its config is forged, or its weights."""

    hostile = PLAIN

    def __init__(self, folder, kind):
        self.folder, self.kind = folder, kind
        if kind == "gpt2":
            GPT2(GPT2Config(**SIZES)).save_pretrained(folder)
        else:
            model = ModernMiniGPT(ModernMiniGPTConfig(**SIZES, n_kv_heads=1, d_mlp=12))
            llama.save_pretrained(model, folder)
        self.config = json.loads((folder / "config.json").read_text())
        self.tensors = mt.load(folder / "model.safetensors")
        if kind == "llama":
            self.config["rope_parameters"] = {"rope_type": "default", "rope_theta": 10_000.0}

    def forged(self, rng):
        if rng.random() < 0.6:
            return forged(self.config, rng, PLAIN), self.tensors
        return self.config, forged(self.tensors, rng, TENSORS)

    def read(self, case):
        config, tensors = case
        (self.folder / "config.json").write_text(json.dumps(config))
        from models.pretrained import published

        published.files.load = lambda path: tensors
        model = (GPT2 if self.kind == "gpt2" else llama).from_pretrained(self.folder)
        list(sampling.generate(model, mt.tensor([[1, 2]]), 2, temperature=0))


class Tokenizer:
    """Saved tokenizers, as one file and as GPT-2's two."""

    hostile = [v for v in PLAIN if v is not DEEP] + ["a b", "Ġ", "<|x|>", "to be", "aa"]

    def __init__(self, folder):
        bpe = BPETokenizer.from_text(TEXT, 270, ["<|end|>"])
        self.folder = folder
        self.valid = [bpe.settings(), CharTokenizer("ab c").settings(), {"type": "byte"}]
        self.vocab = {token: id for id, token in enumerate(bpe.vocab)}
        self.merges = bpe.merges

    def forged(self, rng):
        if rng.random() < 0.6:
            return forged(rng.choice(self.valid), rng, self.hostile), None
        return forged(self.vocab, rng, self.hostile), forged(
            self.merges, rng, ["a b", "", "a", " "]
        )

    def read(self, case):
        value, merges = case
        if merges is None:
            path = self.folder / "tokenizer.json"
            path.write_text(json.dumps(value))
        else:
            path = self.folder
            (path / "vocab.json").write_text(json.dumps(value))
            (path / "merges.txt").write_text("\n".join(map(str, merges)))
        tokenizer = load_tokenizer(path)
        known = tokenizer.decode(range(min(300, tokenizer.vocab_size)))
        if "�" not in known:
            assert tokenizer.decode(tokenizer.encode(known)) == known
        tokenizer_from(tokenizer.settings())


class Tokens:
    """Files of tokens: the header is forged, with a right checksum, or bytes are."""

    hostile = [v for v in PLAIN if v is not DEEP] + ["U8", "U16", "I32", "F32"]

    def __init__(self, folder):
        from models.text.data import write_tokens

        self.path, tokenizer = folder / "tokens", CharTokenizer.from_text(TEXT)
        write_tokens(self.path, tokenizer, TEXT)
        data = self.path.read_bytes()
        self.size = int.from_bytes(data[:8], "little")
        self.header, self.ids = json.loads(data[8 : 8 + self.size]), data[8 + self.size :]
        self.settings = tokenizer.settings()

    def forged(self, rng):
        import hashlib

        header, ids, size = copied(self.header), self.ids, None
        how = rng.randrange(4)
        if how == 0:
            settings = json.dumps(forged(self.settings, rng, self.hostile))
            header["__metadata__"]["tokenizer"] = settings
        if how == 1:
            ids = bytes(rng.choice((b ^ 128, b, b)) for b in ids)
        if how < 3:  # the checksum is right
            told = header["__metadata__"]
            sha256 = hashlib.sha256(told["tokenizer"].encode() + ids)
            told["sha256"] = sha256.hexdigest()
        if how >= 2:
            header = forged(header, rng, self.hostile)
        if rng.random() < 0.1:
            size = rng.choice((0, 7, 2**26, 2**40, 2**63))
        text = json.dumps(header).encode()
        return (len(text) if size is None else size).to_bytes(8, "little") + text + ids

    def read(self, data):
        self.path.write_bytes(data)
        ids, tokenizer = read_tokens(self.path)
        assert tokenizer.encode(tokenizer.decode(ids)) == ids.tolist()


KINDS = {
    "checkpoint": Checkpoint, "tokenizer": Tokenizer, "tokens": Tokens,
    "gpt2": lambda folder: Folder(folder, "gpt2"), "llama": lambda folder: Folder(folder, "llama"),
}  # fmt: skip


def main(kind, count, seed=0):
    told, reasons = Counter(), Counter()
    with tempfile.TemporaryDirectory() as folder:
        forger = KINDS[kind](Path(folder))
        for i in range(count):
            case = forger.forged(random.Random(f"{kind} {seed} {i}"))
            try:
                forger.read(case)
                told["worked"] += 1
            except (ValueError, NonFiniteLoss) as error:
                told["refused"] += 1
                reasons[str(error)[:60]] += 1
                assert len(str(error)) < 2000, error
            except BaseException:
                print(f"{kind} {i} of seed {seed}", file=sys.stderr)
                raise
    print(f"{kind}: {count} forged, {told['worked']} worked, {told['refused']} refused")
    return reasons


if __name__ == "__main__":
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
    resource.setrlimit(resource.RLIMIT_CPU, (120, 120))
    reasons = main(sys.argv[1], int(sys.argv[2]), int((sys.argv[3:] or [0])[0]))
    for reason, count in reasons.most_common(60) if "-v" in sys.argv else ():
        print(count, reason)
