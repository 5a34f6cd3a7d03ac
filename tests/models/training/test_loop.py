"""Training: the data, the schedule, the loop, and going on exactly where it stopped."""

import math
from dataclasses import dataclass

import numpy as np
import pytest

import microtensor as mt
from microtensor.utils.data import DataLoader
from models import MiniGPT, MiniGPTConfig
from models.text.data import TextWindows, split
from models.text.tokenizers import ByteTokenizer, CharTokenizer
from models.training import (
    ARCHITECTURES,
    NonFiniteLoss,
    Trainer,
    TrainingConfig,
    evaluate,
    load_checkpoint,
    model_from,
    register,
)

TEXT = "It is a truth universally acknowledged, that a single man in possession of " * 30
CONFIG = TrainingConfig(
    steps=20, batch_size=4, warmup=3, eval_every=10, eval_batches=2, eval_batch_size=8, seed=5
)


def trainer(folder=None, config=CONFIG, text=TEXT, tokenizer=None, **sizes):
    mt.manual_seed(config.seed)
    tokenizer = tokenizer or CharTokenizer.from_text(text)
    sizes = {"context_length": 8, "d_model": 12, "n_heads": 3, "n_layers": 2, **sizes}
    model = MiniGPT(MiniGPTConfig(vocab_size=tokenizer.vocab_size, **sizes))
    parts = split(tokenizer.encode_array(text), sizes["context_length"])
    path = folder and folder / "checkpoint.safetensors"
    return Trainer(model, tokenizer, *parts, config, path, {"text": "Pride and Prejudice"})


# ---- data --------------------------------------------------------------------------------------


def test_the_target_is_the_input_one_token_later():
    windows = TextWindows(np.arange(10, dtype=np.uint8), 4)
    assert len(windows) == 6
    x, y = windows[0]
    assert x.tolist() == [0, 1, 2, 3] and y.tolist() == [1, 2, 3, 4]
    assert x.dtype is mt.int64
    x, y = windows[5]
    assert x.tolist() == [5, 6, 7, 8] and y.tolist() == [6, 7, 8, 9]
    assert windows[-1][1].tolist() == [6, 7, 8, 9]
    with pytest.raises(IndexError):
        windows[6]


def test_positions_give_a_batch():
    x, y = TextWindows([0, 1, 2, 3, 4], 2)[[2, 0]]
    assert x.tolist() == [[2, 3], [0, 1]] and y.tolist() == [[3, 4], [1, 2]]


def test_windows_own_their_memory_and_do_not_copy_the_text():
    ids = np.arange(10, dtype=np.uint16)
    windows = TextWindows(ids, 4)
    assert np.shares_memory(windows.windows, ids)
    windows[0][0][0] = 9
    assert ids[0] == 0


def test_random_batches_reach_every_window():
    windows = TextWindows(np.arange(9), 3)
    generator = mt.Generator().manual_seed(0)
    x, y = windows.random_batch(200, generator)
    assert x.shape == y.shape == (200, 3)
    assert set(x[:, 0].tolist()) == set(range(6)) and bool((y == x + 1).all())
    again = windows.random_batch(200, mt.Generator().manual_seed(0))
    assert x.equal(again[0])


@pytest.mark.parametrize(
    "batches, size, expected", [(2, 3, [3, 3]), (3, 4, [4, 4, 2]), (1, 1, [1])]
)
def test_spread_batches_are_even_and_always_the_same(batches, size, expected):
    windows = TextWindows(np.arange(12), 2)  # 10 windows
    got = list(windows.spread(batches, size))
    assert [len(x) for x, _ in got] == expected
    starts = mt.cat([x[:, 0] for x, _ in got]).tolist()
    assert starts[0] == 0 and starts == sorted(set(starts))
    if len(starts) > 1:
        assert starts[-1] == 9 and max(np.diff(starts)) - min(np.diff(starts)) <= 1


def test_a_data_loader_takes_them():
    loader = DataLoader(TextWindows(np.arange(10), 4), batch_size=3)
    batches = list(loader)
    assert [tuple(x.shape) for x, _ in batches] == [(3, 4), (3, 4)]
    assert batches[1][1].tolist() == [[4, 5, 6, 7], [5, 6, 7, 8], [6, 7, 8, 9]]


@pytest.mark.parametrize("n", [0, 1, 4])
def test_a_text_too_short(n):
    with pytest.raises(ValueError, match=f"a text of {n} tokens is too short: .* need 5"):
        TextWindows(np.arange(n), 4)


@pytest.mark.parametrize("ids", [np.zeros((2, 9), int), np.zeros(9), [0.5] * 9])
def test_what_is_not_a_row_of_integers(ids):
    with pytest.raises(ValueError, match="a text is a row of integers"):
        TextWindows(ids, 4)


def test_the_last_part_is_held_out():
    train, held_out = split(np.arange(100), 4, 0.1)
    assert len(train) == 86 and len(held_out) == 6
    assert train[-1][1][-1].item() == 89 and held_out[0][0][0].item() == 90
    with pytest.raises(ValueError, match="40 tokens is too short: 36 to learn from and 4 held out"):
        split(np.arange(40), 4, 0.1)
    for share in (0, 1, -0.1, 1.5, math.nan):
        with pytest.raises(ValueError, match="must be between 0 and 1"):
            split(np.arange(100), 4, share)


# ---- the schedule ------------------------------------------------------------------------------


def test_the_learning_rate_rises_in_a_line_and_falls_as_a_cosine():
    config = TrainingConfig(steps=1100, warmup=100, final_lr=0.1)
    factor = config.lr_factor
    assert [factor(s) for s in (0, 49, 99, 100)] == [0.01, 0.5, 1.0, 1.0]
    assert factor(600) == pytest.approx(0.55)  # half way: half way from 1 to 0.1
    assert factor(350) == pytest.approx(0.1 + 0.9 * (1 + math.sqrt(0.5)) / 2)
    assert factor(1100) == pytest.approx(0.1) == factor(5000)
    assert TrainingConfig(warmup=0).lr_factor(0) == 1


def test_the_optimizer_follows_the_schedule():
    t = trainer()
    rates = []
    for record in t.run():
        rates.append(record.lr)
    expected = [CONFIG.lr * CONFIG.lr_factor(s) for s in range(21)]
    assert rates == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "wrong, complaint",
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"batch_size": -1}, "batch_size must be at least 1"),
        ({"eval_every": 0}, "eval_every must be at least 1"),
        ({"optimizer": "adam"}, "optimizer must be adamw or sgd, got adam"),
        ({"lr": 0.0}, "lr must be a positive number"),
        ({"lr": math.nan}, "lr must be"),
        ({"lr": math.inf}, "lr must be"),
        ({"clip": 0.0}, "clip must be above 0"),
        ({"clip": math.nan}, "clip must be above 0"),
        ({"weight_decay": -0.1}, "weight_decay must be"),
        ({"final_lr": 1.5}, "final_lr must be a share"),
        ({"warmup": -1}, "warmup must not be negative"),
    ],
)
def test_numbers_that_cannot_be_meant(wrong, complaint):
    with pytest.raises(ValueError, match=complaint):
        TrainingConfig(**wrong)


# ---- the loop ----------------------------------------------------------------------------------


def test_a_run_from_start_to_end(tmp_path):
    t = trainer(tmp_path)
    records = list(t.run())
    assert [r.step for r in records] == list(range(21))
    assert records[0].loss is None and all(math.isfinite(r.loss) for r in records[1:])
    assert [r.step for r in records if r.validation is not None] == [0, 10, 20]
    assert t.validation == [[r.step, r.validation] for r in records if r.validation is not None]
    assert t.losses == [r.loss for r in records[1:]]
    assert t.saved_step == 20 and list(t.run()) == []


def test_the_loss_falls():
    config = TrainingConfig(steps=60, batch_size=16, lr=1e-2, warmup=5, eval_every=60)
    t = trainer(config=config)
    list(t.run())
    (_, first), (_, last) = t.validation
    assert last < 0.6 * first


def test_any_model_and_optimizer(tmp_path):
    """What has a config and gives (logits, loss) can be trained, saved and made again."""
    config = TrainingConfig(steps=30, batch_size=32, optimizer="sgd", lr=5.0, eval_every=30)
    t = trainer(tmp_path)
    t = Trainer(Bigrams(BigramsConfig(25)), t.tokenizer, t.train, t.held_out, config, t.checkpoint)
    list(t.run())
    assert type(t.optimizer) is mt.optim.SGD and t.losses[-1] < t.losses[0]
    state = load_checkpoint(t.checkpoint)
    with pytest.raises(ValueError, match="holds a 'Bigrams', which is not among .*MiniGPT"):
        model_from(state)
    register(Bigrams, BigramsConfig)
    try:
        model, _ = model_from(state)
    finally:
        del ARCHITECTURES["Bigrams"]
    assert type(model) is Bigrams and model.table.weight.equal(t.model.table.weight)


@dataclass(frozen=True)
class BigramsConfig:
    vocab_size: int


class Bigrams(mt.nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.table = mt.nn.Embedding(config.vocab_size, config.vocab_size)

    def forward(self, idx, targets=None):
        logits = self.table(idx)
        return logits, mt.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


def test_gradients_are_clipped(monkeypatch):
    t = trainer(config=TrainingConfig(steps=1, batch_size=4, clip=1e-3, eval_every=1))
    t.train_step()
    norm = math.sqrt(sum((p.grad**2).sum().item() for p in t.model.parameters()))
    assert norm == pytest.approx(1e-3, rel=1e-4)


def test_evaluation_is_the_mean_over_the_windows_without_dropout():
    t = trainer()
    losses = []
    t.model.eval()
    for x, y in t.held_out.spread(3, 5):
        losses += [t.model(x[i : i + 1], y[i : i + 1])[1].item() for i in range(len(x))]
    t.model.train()
    before = mt.get_rng_state()
    assert evaluate(t.model, t.held_out, 3, 5) == pytest.approx(np.mean(losses), rel=1e-5)
    assert t.model.training and before.equal(mt.get_rng_state())


def test_looking_on_does_not_change_training():
    quiet, watched = trainer(), None
    list(quiet.run())
    watched = trainer()
    for record in watched.run():
        if record.validation is not None:
            list(
                watched.model.generate(mt.zeros(1, 1, dtype=mt.int64), 3, generator=mt.Generator())
            )
    assert watched.losses == quiet.losses


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(tmp_path, bad, monkeypatch):
    t = trainer(tmp_path)
    records = []
    with pytest.raises(NonFiniteLoss) as error:
        for record in t.run():
            records.append(record)
            if record.step == 13:
                kept = t.checkpoint.read_bytes()
                weights = {k: v.clone() for k, v in t.model.state_dict().items()}
                monkeypatch.setattr(t.model, "forward", lambda *a: (None, mt.tensor(bad)))
    assert str(error.value) == f"the loss at step 14 is {bad}; the checkpoint of step 10 is kept"
    assert len(records) == 14 and t.step == 13
    assert t.checkpoint.read_bytes() == kept
    assert all(weights[k].equal(v) for k, v in t.model.state_dict().items())


def test_a_gradient_that_is_not_finite_does_not_reach_the_weights():
    t = trainer()
    run = t.run()
    next(run)
    t.model.head.weight.register_hook(lambda g: g * math.inf)
    weights = {k: v.clone() for k, v in t.model.state_dict().items()}
    with pytest.raises(NonFiniteLoss, match="the norm of the gradients at step 1 is (nan|inf)$"):
        next(run)
    assert all(weights[k].equal(v) for k, v in t.model.state_dict().items())


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    t = trainer(tmp_path)
    with pytest.raises(NonFiniteLoss, match="the validation loss at step 10 is nan; .* step 0 is"):
        for record in t.run():
            if record.step == 9:
                t.train_step = lambda: poison(t)
    assert load_checkpoint(t.checkpoint)["step"] == 0


def poison(t):
    t.step += 1
    with mt.no_grad():
        t.model.head.weight.fill_(math.nan)


# ---- checkpoints -------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [3, 10])
def test_twenty_steps_equal_some_and_the_rest_byte_for_byte(tmp_path, stop):
    whole, half = (tmp_path / name for name in ("whole", "half"))
    whole.mkdir()
    half.mkdir()
    t = trainer(whole)
    list(t.run())

    first = trainer(half)
    for record in first.run():
        if record.step == stop:
            first.save()
            break
    mt.manual_seed(999)
    mt.rand(7)
    second = trainer(half)  # as a new process has it: other weights, other random numbers
    with mt.no_grad():
        for p in second.model.parameters():
            p.fill_(0.5)
    second.load_state_dict(load_checkpoint(second.checkpoint))
    assert second.step == stop
    records = list(second.run())
    assert [r.step for r in records] == list(range(stop + 1, 21))
    assert second.losses == t.losses and second.validation == t.validation
    assert second.checkpoint.read_bytes() == t.checkpoint.read_bytes()


def test_more_steps_than_planned(tmp_path):
    t = trainer(tmp_path)
    list(t.run())
    longer = trainer(tmp_path, TrainingConfig(**{**vars(CONFIG), "steps": 30}))
    longer.load_state_dict(load_checkpoint(t.checkpoint))
    assert [r.step for r in longer.run()] == list(range(21, 31))


def test_a_checkpoint_gives_the_model_back(tmp_path):
    t = trainer(tmp_path)
    t.save()
    state = load_checkpoint(t.checkpoint)
    model, tokenizer = model_from(state)
    assert model.config == t.model.config and tokenizer.characters == t.tokenizer.characters
    idx = mt.tensor([tokenizer.encode("It is")])
    assert model.eval()(idx).equal(t.model.eval()(idx))
    assert state["about"] == {"text": "Pride and Prejudice"}
    assert state["training"] == vars(CONFIG)


def test_a_checkpoint_of_another_configuration(tmp_path):
    t = trainer(tmp_path)
    t.save()
    state = load_checkpoint(t.checkpoint)
    with pytest.raises(ValueError, match="another config: d_model 12, not 24, n_layers 2, not 1"):
        trainer(d_model=24, n_layers=1).load_state_dict(state)
    bytes_ = trainer(tokenizer=ByteTokenizer())
    with pytest.raises(ValueError, match="vocab_size"):
        bytes_.load_state_dict(state)
    before = {k: v.clone() for k, v in bytes_.model.state_dict().items()}
    assert all(before[k].equal(v) for k, v in bytes_.model.state_dict().items())
    other = CharTokenizer(t.tokenizer.characters[::-1])
    with pytest.raises(ValueError, match="the checkpoint has another tokenizer"):
        trainer(tokenizer=other).load_state_dict(state)


def test_a_file_that_is_no_checkpoint(tmp_path):
    path = tmp_path / "other.safetensors"
    mt.save({"weight": mt.zeros(3)}, path)
    with pytest.raises(
        ValueError, match="other.safetensors is not a checkpoint of a language model"
    ):
        load_checkpoint(path)
    with pytest.raises(FileNotFoundError):
        load_checkpoint(tmp_path / "none.safetensors")
    whole = trainer(tmp_path)
    whole.save()
    path.write_bytes(whole.checkpoint.read_bytes()[:-100])
    with pytest.raises(ValueError, match="other.safetensors"):
        load_checkpoint(path)


def test_a_disk_that_is_full_keeps_the_old_checkpoint(tmp_path, monkeypatch):
    t = trainer(tmp_path)
    t.save()
    before = t.checkpoint.read_bytes()
    t.train_step()

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        t.save()
    assert t.checkpoint.read_bytes() == before and t.saved_step == 0
    names = {f.name for f in tmp_path.iterdir()}
    assert names == {"checkpoint.safetensors", "checkpoint-0.safetensors"}
