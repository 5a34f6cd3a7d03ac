"""Checkpoints that are odd, forged or old: each is used, or refused in one line that names it.

MICROTENSOR_FORGED=6000 pytest tests/models/test_forged_checkpoints.py -k bounds -s   (of each kind)
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import forged
import pytest
from places import CLONE, FIXTURES, program

import microtensor as mt
from microtensor import nn
from models import GPT2, MODELS, files, training
from models.cli import command_line, showing
from models.ladder import RUNGS
from models.ladder.minigpt import MiniGPTConfig
from models.ladder.modern_minigpt import ModernMiniGPTConfig
from models.pretrained import llama, published
from models.pretrained.fitting import check_size, distinct
from models.text.tokenizers import ByteTokenizer
from models.training import ARCHITECTURES, architecture, memory, model_from, register, schema
from models.training.checkpoints import load_checkpoint, load_newest
from models.training.counts import save_counts
from models.training.small import save_small

OLD = FIXTURES / "checkpoints"
COUNT = int(os.environ.get("MICROTENSOR_FORGED", 300))
demo = program("train_shakespeare")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The old checkpoints and their text, in the folder where we are."""
    shutil.copytree(OLD, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ---- those of earlier versions -------------------------------------------------------------------


def test_an_old_checkpoint_goes_on_and_writes(capfd):
    assert demo.main(["--out", "shakespeare", "--prompt", "To", "--length", "5"]) == 0
    out, err = capfd.readouterr()
    assert out.startswith("To") and err == ""
    more = ["--resume", "--out", "shakespeare", "--steps", "4", "--length", "5"]
    assert demo.main(more) == 0
    assert "going on after step 2 of 4" in capfd.readouterr().out
    state = load_checkpoint("shakespeare/checkpoint.safetensors")
    assert state["step"] == len(state["losses"]) == 4 and len(state["validation"]) == 5


def test_an_old_rung_writes(capfd):
    command = ["--out", "tiny_lm", "--load", "--prompt", "To be", "--sample-length", "5"]
    assert command_line.main("tiny_lm", command) == 0
    out, err = capfd.readouterr()
    assert "To be" in out and err == ""


def test_keys_that_older_checkpoints_lack():
    state = mt.load("shakespeare/checkpoint.safetensors")
    del state["data"], state["training"]["optimizer"]
    state["a key of a later version"] = [1, 2]
    mt.save(state, "shakespeare/checkpoint.safetensors")
    assert demo.main(["--resume", "--out", "shakespeare", "--steps", "3", "--length", "5"]) == 0


# ---- odd ones, through every program that reads one ----------------------------------------------


def without(*path):
    def change(state):
        del forged.at(state, path[:-1])[path[-1]]

    return f"without {path}", change


def having(value, *path):
    def change(state):
        forged.at(state, path[:-1])[path[-1]] = value

    return f"{path} = {type(value).__name__} {value!r:.20}", change


ODD = dict(
    [
        *(without(key) for key in schema.KEYS if key != "data"),
        *(
            having(value, key)
            for key in schema.KEYS
            for value in (7, "text", [], {"a": 1}, mt.zeros(2))
            if (key, value) not in [("validation", []), ("about", {"a": 1}), ("data", {"a": 1})]
        ),
        *(having(None, key) for key in schema.KEYS if key != "data"),
        *(
            having(value, "config", size)
            for size in ("n_layers", "d_model", "context_length", "vocab_size", "n_heads")
            for value in (10**9, 0, -1, True, 1.5, "4", 10**400, None, [4], 10**18)
        ),
        having(10**9, "config", "n_layer"),
        having("LookupTable", "architecture"),
        having("NGram", "architecture"),
        having("ModernMiniGPT", "architecture"),
        having("a\x1b[2Jb", "architecture"),
        having({"type": "byte"}, "tokenizer"),
        having("\ud800", "tokenizer", "characters"),
        having(7, "tokenizer", "characters"),
        having("sgdd", "training", "optimizer"),
        having(["adamw"], "training", "optimizer"),
        having(10**9, "training", "batch_size"),
        having("2", "training", "steps"),
        having(10**30, "training", "steps"),
        having(10**400, "training", "lr"),
        having(float("nan"), "training", "lr"),
        having(-1, "step"),
        having(3, "step"),
        having(2.0, "step"),
        having([[1, 1.0], [0, 1.0]], "validation"),
        having([[9, 1.0]], "validation"),
        having([[0]], "validation"),
        having([[0, float("inf")]], "validation"),
        having(mt.zeros(2), "model", "norm.bias"),
        having(mt.zeros(4, dtype=mt.int64), "model", "norm.bias"),
        having(mt.zeros(4), "model", "extra"),
        without("model", "norm.bias"),
    ]
)


def answered(capfd, code):
    """The one line on standard error of a program that did not do it."""
    out, err = capfd.readouterr()
    assert code == 2 and "Traceback" not in out + err
    assert err.count("\n") == 1 and len(err) < 700, err
    return err


@pytest.mark.parametrize("what", ODD)
def test_an_odd_checkpoint_is_refused_in_one_line(what, capfd):
    path = Path("shakespeare", "checkpoint.safetensors")
    state = mt.load(path)
    ODD[what](state)
    mt.save(state, path)
    for arguments in (["--prompt", "To"], ["--resume", "--steps", "3"]):
        err = answered(capfd, demo.main(["--out", "shakespeare", *arguments]))
        assert err.startswith("train_shakespeare.py: shakespeare/checkpoint.safetensors"), err
    code = command_line.main("minigpt", ["--out", "shakespeare", "--load"])
    assert "models.minigpt: shakespeare/checkpoint.safetensors" in answered(capfd, code)
    for load in (load_checkpoint, load_newest):
        with pytest.raises(ValueError, match=r"shakespeare/checkpoint\.safetensors"):
            load(path, use=model_from)
    assert os.listdir("shakespeare") == ["checkpoint.safetensors"]


def in_itself():
    value = []
    value.append(value)
    return value


def twice_each():
    value = []
    for _ in range(60):
        value = [value, value]
    return value


@pytest.mark.parametrize("make", [in_itself, twice_each])
@pytest.mark.parametrize(
    "place", [("about",), ("config",), ("tokenizer",), ("optimizer", "param_groups", 0)]
)
def test_a_value_without_end_is_no_settings(place, make):
    state = mt.load("shakespeare/checkpoint.safetensors")
    forged.at(state, place)["a key"] = make()
    with pytest.raises(ValueError, match=place[0]):
        schema.check_checkpoint(state)


RESUME_ONLY = dict(
    [
        *(without("about", key) for key in ("data", "tokenizer", "held_out", "text", "sha256")),
        having(7, "about", "data"),
        having("nowhere.txt", "about", "data"),
        having("/dev/zero", "about", "data"),
        having("\x00", "about", "data"),
        having("bpe", "about", "tokenizer"),
        having("1", "about", "held_out"),
        having(float("nan"), "about", "held_out"),
        having(mt.zeros(3), "optimizer", "state", 0, "exp_avg"),
        having({"exp_avg": mt.zeros(4)}, "optimizer", "state", 99),
        having(mt.zeros(4), "optimizer", "state", 2, "exp"),
        having(None, "optimizer", "state", 2, "exp_avg"),
        having(-1, "optimizer", "state", 0, "step"),
        having("adamw", "optimizer", "param_groups"),
        having([], "optimizer", "param_groups"),
        having((9, 9), "optimizer", "param_groups", 0, "betas"),
        having("1", "optimizer", "param_groups", 0, "lr"),
        having([0], "optimizer", "param_groups", 0, "params"),
        having(list(range(16)) + [0], "optimizer", "param_groups", 0, "params"),
        having(3, "schedule", "last_epoch"),
        having([0.1, 0.2], "schedule", "base_lrs"),
        having("step", "schedule", "step"),
        having([{"a": 1}], "schedule", "lr_lambdas"),
        having(mt.zeros(3, dtype=mt.uint8), "random", "default"),
        having(mt.tensor(list(b"[1, 2]"), dtype=mt.uint8), "random", "batches"),
        having({"epoch": 0}, "data"),
        having({"a": 1}, "about"),
    ]
)


SHOWN = {  # what shows numbers of a model: program, and arguments besides the folder
    "predictions": ("visualize_inference", ["--length", "1"]),
    "logit lens": ("visualize_inference", ["--length", "1", "--logit-lens"]),
    "saliency": ("visualize_inference", ["--length", "1", "--saliency"]),
    "attention": ("animate_attention", ["--length", "1"]),
    "next token": ("next_token", ["--length", "1"]),
    "writing": ("train_shakespeare", ["--length", "1"]),
    "resuming": ("train_shakespeare", ["--resume", "--steps", "4"]),
}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", SHOWN)
def test_a_model_whose_weights_are_no_numbers_is_refused(name, value, capfd):
    path = "shakespeare/checkpoint.safetensors"
    state = mt.load(path)
    next(iter(state["model"].values()))[0, 0] = value
    mt.save(state, path)
    shutil.rmtree("out", ignore_errors=True)
    file, options = SHOWN[name]
    where = (
        ["--out", "shakespeare"]
        if file == "train_shakespeare"
        else ["--model", "shakespeare", "--out", "out"]
    )
    prompt = [] if name == "resuming" else ["--prompt", "To"]
    assert program(file).main([*where, *prompt, *options]) != 0
    out, err = capfd.readouterr()
    assert "has numbers that are not finite" in err and err.count("\n") == 1
    assert not Path("out").exists()


@pytest.mark.parametrize("what", RESUME_ONLY)
def test_what_only_a_training_needs_is_refused_by_it(what, capfd):
    path = Path("shakespeare", "checkpoint.safetensors")
    state = mt.load(path)
    RESUME_ONLY[what](state)
    mt.save(state, path)
    answered(capfd, demo.main(["--out", "shakespeare", "--resume", "--steps", "3"]))


def test_the_folder_of_another_model(capfd):
    for arguments in (["--resume"], ["--resume", "--steps", "3"]):
        err = answered(capfd, demo.main(["--out", "tiny_lm", *arguments]))
        assert "it holds a TinyLM, and this program goes on with a MiniGPT" in err
    for name in set(RUNGS) - {"ngram", "tiny_lm"}:
        code = command_line.main(name, ["--out", "tiny_lm", "--load"])
        assert "holds a TinyLM, not a" in answered(capfd, code)
    assert demo.main(["--out", "tiny_lm", "--prompt", "To", "--length", "3"]) == 0


def test_a_minigpt_of_another_program(capfd):
    state = mt.load("shakespeare/checkpoint.safetensors")
    state["about"] = {"text": "hamlet.txt", "repeats": 1}
    mt.save(state, "shakespeare/checkpoint.safetensors")
    err = answered(capfd, demo.main(["--out", "shakespeare", "--resume"]))
    assert "another program made it" in err and "data" in err


def test_links_in_the_folder_of_a_stranger_are_replaced_and_not_followed(tmp_path):
    victims = tmp_path / "victims"
    victims.mkdir()
    names = ["loss.png", "checkpoint-3.safetensors", "best.safetensors", "checkpoint-2.safetensors"]
    for name in names:
        (victims / name).write_text("precious")
        Path("shakespeare", name).symlink_to(victims / name)
    command = ["--out", "shakespeare", "--resume", "--steps", "3", "--length", "3"]
    assert demo.main(command) == 0
    assert [(victims / name).read_text() for name in names] == ["precious"] * 4
    assert not Path("shakespeare/checkpoint-3.safetensors").is_symlink()
    showing.save("shakespeare", {"loss.png": b"new"})
    assert Path("shakespeare/loss.png").read_bytes() == b"new" and not (
        Path("shakespeare/loss.png").is_symlink()
    )
    assert (victims / "loss.png").read_text() == "precious"
    Path("mine").symlink_to(victims / "loss.png")
    mt.save(1, "mine")  # who names a link himself means the file that it leads to
    assert Path("mine").is_symlink() and mt.load(victims / "loss.png") == 1


def test_whatever_is_written_into_a_run_replaces_a_link(tmp_path):
    model = RUNGS["minigpt"].build(256, context_length=8, d_model=8, n_heads=1, n_layers=1)
    precious, link = tmp_path / "precious", tmp_path / "run" / "file"
    link.parent.mkdir()
    counts, tokenizer = RUNGS["ngram"].build(256), ByteTokenizer()
    counts.fit(tokenizer.encode_array("To be, or not to be"))
    writers = {
        "files.save": lambda: files.save({}, link),
        "files.write": lambda: files.write(link, b""),
        "files.without_link": lambda: files.without_link(link).touch(),
        "counts": lambda: save_counts(counts, tokenizer, {}, link),
        "small": lambda: save_small(model, tokenizer, {}, link),
    }
    for name, write in writers.items():
        precious.write_bytes(b"precious")
        link.unlink(missing_ok=True)
        link.symlink_to(precious)
        write()
        assert precious.read_bytes() == b"precious" and not link.is_symlink(), name
        assert link.exists(), name


@pytest.mark.parametrize("content", [b"secret words\n" * 100, b"secret\xff\xfe", b""])
def test_of_a_file_that_a_checkpoint_names_nothing_is_told(content, tmp_path, capfd):
    secret = tmp_path / "secret.txt"
    secret.write_bytes(content)
    path = Path("shakespeare", "checkpoint.safetensors")
    state = mt.load(path)
    state["about"]["data"] = str(secret)
    mt.save(state, path)
    assert demo.main(["--out", "shakespeare", "--resume", "--steps", "3"]) == 2
    out, err = capfd.readouterr()
    assert out == f"the checkpoint names a text, which is read: {secret}\n"
    assert err.endswith(f"another text than what {secret} is now: give the text by --data FILE\n")


# ---- the same rule for all: the one before ------------------------------------------------------


def damaged(path, how):
    state = mt.load(path)
    shutil.copy(path, path.with_name("checkpoint-1.safetensors"))
    if how == "damaged":
        path.write_bytes(path.read_bytes()[:-50])
    elif how == "missing":
        path.unlink()
    elif how == "forged":
        state["config"]["n_layers"] = 10**9
        mt.save(state, path)
    else:
        state["model"]["another name"] = state["model"].pop("head.weight")
        mt.save(state, path)


@pytest.mark.parametrize("how", ["damaged", "missing", "forged", "renamed"])
def test_every_program_takes_the_one_before(how, capfd):
    """Writing, going on, a rung's --load, and a demo that shows a model."""
    damaged(Path("shakespeare", "checkpoint.safetensors"), how)
    told = "; checkpoint-1.safetensors is used, of step 2\n"
    assert demo.main(["--out", "shakespeare", "--prompt", "To", "--length", "3"]) == 0
    out, err = capfd.readouterr()
    assert out.startswith("To") and err.endswith(told)
    command = ["--out", "shakespeare", "--load", "--prompt", "To", "--sample-length", "3"]
    assert command_line.main("minigpt", command) == 0
    assert told in capfd.readouterr().out
    args = showing.Parser("demo.py", "", "pictures").parse_args(["--model", "shakespeare"])
    args.prompt, args.temperature, args.top_k, args.top_p, args.min_p = "To", 1, None, None, None
    model, _ = showing.trained_model(args)
    assert model.config.d_model == 4 and told in capfd.readouterr().out
    assert demo.main(["--out", "shakespeare", "--resume", "--steps", "3", "--length", "3"]) == 0
    assert told in capfd.readouterr().out


def test_the_best_is_meant_when_it_is_asked_for(capfd):
    shutil.copy("shakespeare/checkpoint.safetensors", "shakespeare/best.safetensors")
    damaged(Path("shakespeare", "best.safetensors"), "damaged")
    code = demo.main(["--out", "shakespeare", "--prompt", "To be", "--best"])
    assert "best.safetensors cannot be loaded" in answered(capfd, code)


# ---- sizes: no model is made that is not in its file ---------------------------------------------


def configs():
    """Configs of every model that a checkpoint may hold."""
    small = {"vocab_size": 7, "context_length": 5, "d_model": 8, "n_heads": 2, "n_layers": 3}
    more = {"d_embedding": 3, "d_hidden": 6, "n_kv_heads": 1, "d_mlp": 10}
    for name in MODELS:
        if name in ("LookupTable", "NGram"):
            continue
        model, config = architecture(name)
        known = config.__dataclass_fields__
        sizes = {n: v for n, v in {**small, **more}.items() if n in known}
        sizes |= {"context_length": 1} if name == "Bigram" else {}
        sizes |= {"n_layers": 1} if name == "ModernBlock" else {}
        for cell in ("rnn", "gru", "lstm") if name == "Recurrent" else (None,):
            yield model, config(**sizes, **({"cell": cell} if cell else {}))


CONFIGS = list(configs())


@pytest.mark.parametrize("model, config", CONFIGS)
def test_the_numbers_that_a_config_tells_are_those_of_its_model(model, config):
    model = model(config)
    assert config.numbers == sum(p.numel() for p in model.parameters())
    check_size(model.state_dict(), config)
    buffers = {name: b for name, b in model.named_buffers() if name not in model.state_dict()}
    assert config.tables * 4 + 4 >= sum(b.nbytes for b in buffers.values())


@pytest.mark.parametrize("model, config", CONFIGS)
def test_a_size_that_the_tensors_do_not_have(model, config):
    tensors, tried = model(config).state_dict(), 0
    for size in ("vocab_size", "context_length", "d_model", "n_layers", "d_embedding", "d_hidden"):
        free = type(config).__name__ == "RecurrentConfig" and size == "context_length"
        if free or size not in vars(config):  # a state has no table of places
            continue
        for large in (10**9, 10**18):
            try:
                asked = type(config)(**{**vars(config), size: large})
            except ValueError:
                continue
            with pytest.raises(ValueError, match="the weights do not fit the config"):
                check_size(tensors, asked)
            tried += 1
    assert tried >= 2


def test_tensors_that_share_their_memory_count_once():
    table = mt.zeros(10, 4)
    assert distinct({"a": table, "b": table, "c": table[:5], "d": table.t()}) == 40
    assert distinct({"a": mt.zeros(1).expand(10**6, 10**3)}) == 1
    assert distinct({"a": mt.zeros(0), "b": mt.zeros(()), "c": mt.zeros(3, dtype=mt.float16)}) == 4
    names = [f"blocks.{i}.{j}" for i in range(1000) for j in range(12)]
    config = MiniGPTConfig(1, 1, 1000, 1, 1000)  # 12 billion numbers in 48 kB
    with pytest.raises(ValueError, match="asks for 12,013,005,000 numbers; the file has 12,000 "):
        check_size(dict.fromkeys(names, mt.zeros(12_000)), config)


@pytest.mark.parametrize(
    "config", [MiniGPTConfig(9, 10**5, 1, 1, 1), ModernMiniGPTConfig(9, 10**9)]
)
def test_tables_beside_the_weights_are_bounded(config):
    numbers = config.numbers
    with pytest.raises(ValueError, match=r"a context_length of .* is too long"):
        check_size({str(i): mt.zeros(numbers) for i in range(9)}, config)


def test_a_batch_that_no_memory_holds_is_refused_before_the_model_is_made(capfd, monkeypatch):
    path = "shakespeare/checkpoint.safetensors"
    sizes = {"batch_size": 2**20, "eval_batch_size": 2**20}
    monkeypatch.setattr(memory, "available_memory", lambda: 1 << 30)
    monkeypatch.setattr(training, "Trainer", None)  # it is not called
    for name, size in sizes.items():
        state = mt.load(str(OLD / path))
        state["training"][name] = size
        mt.save(state, path)
        assert demo.main(["--resume", "--out", "shakespeare", "--steps", "4"]) == 2
        err = capfd.readouterr().err
        assert "GB for a step" in err and "Traceback" not in err and err.count("\n") == 1


@pytest.mark.parametrize("rung", ["bigram", "recurrent", "minigpt", "modern_minigpt"])
def test_a_vocabulary_that_no_memory_holds(rung, capfd, monkeypatch, tmp_path):
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 20_000))) * 2
    Path("many.txt").write_text(text)
    monkeypatch.setattr(memory, "available_memory", lambda: 1 << 30)
    monkeypatch.setattr(RUNGS[rung].model, "__init__", None)
    options = ["--data", "many.txt", "--tokenizer", "char", "--out", "new"]
    assert command_line.main(rung, options) == 2
    err = capfd.readouterr().err
    assert "a smaller vocabulary (of 20,000 tokens)" in err and err.count("\n") == 1


@pytest.mark.parametrize("model, config", CONFIGS)
def test_every_config_has_an_estimate(model, config, monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 1 << 30)
    memory.check_memory(config, 1, 1, 4)
    with pytest.raises(ValueError, match="GB for a step"):
        memory.check_memory(config, 2**28, 1, 4)


@dataclass(frozen=True)
class OwnConfig:
    width: int = 3
    depth: int = 1


class Own(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.head = nn.Linear(config.width, config.width)


def test_a_model_of_somebodys_own_is_bounded_too(monkeypatch):
    monkeypatch.setattr("models.architectures.ARCHITECTURES", dict(ARCHITECTURES))
    register(Own, OwnConfig)
    check_size(Own(OwnConfig()).state_dict(), OwnConfig())
    with pytest.raises(ValueError, match="its width is 1000000000; the file has 12 numbers in 2"):
        check_size(Own(OwnConfig()).state_dict(), OwnConfig(10**9))


# ---- published folders ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@pytest.mark.parametrize(
    "content, told",
    [
        ('{"layer_norm_epsilon": %s, "rms_norm_eps": %s}', "which is no number"),
        ('{"vocab_size": %s}', "positive integer|do not fit"),
        ('{"n_head": %s, "num_attention_heads": %s}', "positive integer|n_heads must"),
        ('{"n_positions": %s, "max_position_embeddings": %s}', "positive integer|too long|not fit"),
    ],
)
def test_a_config_with_a_number_of_400_digits(kind, content, told, tmp_path):
    config = forged.Folder(tmp_path, kind).config
    change = json.loads(content.replace("%s", str(10**400)))
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(ValueError, match=told) as error:
        (GPT2 if kind == "gpt2" else llama).from_pretrained(tmp_path)
    assert len(str(error.value)) < 300


def test_parts_agree_with_their_index(tmp_path):
    folder = forged.Folder(tmp_path, "gpt2")
    names = sorted(folder.tensors)
    (tmp_path / "model.safetensors").unlink()
    halves = {"a.safetensors": names[:9], "b.safetensors": names[9:]}
    for part, half in halves.items():
        mt.serialization.save_file({n: folder.tensors[n] for n in half}, tmp_path / part)
    index = {name: part for part, half in halves.items() for name in half}
    path = tmp_path / "model.safetensors.index.json"

    def read(**change):
        path.write_text(json.dumps({"weight_map": index | change}))
        return GPT2.from_pretrained(tmp_path)

    assert read().config.n_layers == 2
    with pytest.raises(ValueError, match="do not agree on 'x'"):
        read(x="a.safetensors")
    with pytest.raises(ValueError, match="do not agree on"):
        read(**{names[0]: "b.safetensors"})
    for wrong in (
        "..",
        ".",
        "",
        "\ud800",
        "a\0b",
        "../a",
        "/etc/passwd",
        7,
        None,
        ["a.safetensors"],
    ):
        with pytest.raises(ValueError, match="is no file of the folder|is a folder"):
            read(x=wrong)
    with pytest.raises(FileNotFoundError, match=r"c\.safetensors"):
        read(**dict.fromkeys(names[9:], "c.safetensors"))


def test_null_in_place_of_metadata(tmp_path):
    """A safetensors file of somebody else, whose header says so: tensors, or one line."""
    header = {"__metadata__": None, "a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}
    text = json.dumps(header).encode()
    (tmp_path / "x").write_bytes(len(text).to_bytes(8, "little") + text + b"\7")
    with pytest.raises(ValueError, match="x is not a checkpoint|x cannot be loaded"):
        load_checkpoint(tmp_path / "x")
    with pytest.raises(ValueError, match="do not fit|cannot be loaded|not a file of tensors"):
        published.expect(published._tensors(tmp_path / "x"), MiniGPTConfig())


# ---- forged at random ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", forged.KINDS)
def test_forged_files_stay_within_bounds(kind):
    """In a process of 2 GB and two minutes; whatever is not used is refused by a ValueError."""
    env = {**os.environ, "PYTHONPATH": str(CLONE), "MICROTENSOR_BACKEND": "numpy"}
    command = [sys.executable, forged.__file__, kind, str(COUNT)]
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    print(done.stdout, end="")
    _, worked, refused = (int(s) for s in done.stdout.split() if s.isdigit())
    assert worked > COUNT / 100 and refused > COUNT / 10
