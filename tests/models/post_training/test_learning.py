"""Replies, and that each method moves a small model where it should."""

import numpy as np
import pytest

import microtensor as mt
from models import MiniGPT, MiniGPTConfig
from models.post_training import ppo, reward_model, sentiment
from models.post_training.conversations import Conversations, encode, padded
from models.post_training.dpo import DPOTrainer, Pair, answer_logps, with_reference
from models.post_training.grpo import GRPOTrainer
from models.post_training.pairs import sampled_pairs
from models.post_training.replies import (
    divergence,
    examples_of,
    graded,
    replies,
    token_logps,
)
from models.post_training.reward_model import RewardModel, RewardTrainer, agreement
from models.post_training.sft import SFTTrainer
from models.text import chat
from models.text.tokenizers import CharTokenizer
from models.training import TrainingConfig, load_checkpoint, model_from

TOKENIZER = chat.with_chat_tokens(CharTokenizer("ab"))
END = chat.end_id(TOKENIZER)


class Asked:
    """Something that can be asked: answer with the same letter. Stands for a task's problem."""

    task = "echo"

    def __init__(self, letter):
        self.letter = letter

    def prompt(self):
        return [{"role": "user", "content": self.letter}]

    def talk(self, answer):
        return [*self.prompt(), {"role": "assistant", "content": answer}]

    def exact(self, text):
        return text == self.letter

    def preferred(self, text):
        return text.startswith("b")


class Letters:
    def draw(self, count, rng):
        return [Asked("ab"[i]) for i in rng.integers(0, 2, count)]


BOTH = [Asked("a"), Asked("b")]


def small(dropout=0.0):
    mt.manual_seed(0)
    sizes = {"context_length": 12, "d_model": 16, "n_heads": 2, "n_layers": 1, "dropout": dropout}
    return MiniGPT(MiniGPTConfig(vocab_size=TOKENIZER.vocab_size, **sizes))


def settings(steps, **more):
    usual = {"lr": 5e-3, "warmup": 0, "batch_size": 16, "eval_every": steps, "seed": 0}
    return TrainingConfig(steps=steps, **{**usual, **more})


def run(trainer):
    for _ in trainer.run():
        pass
    return trainer.model.eval()


def taught(*pairs):
    """A model that answers as in these (asked, answer)."""
    data = Conversations(encode(TOKENIZER, asked.talk(answer), 12) for asked, answer in pairs)
    return run(SFTTrainer(small(), TOKENIZER, data, data, settings(80, lr=1e-2)))


@pytest.fixture(scope="module")
def undecided():
    """A model that answers with one letter, whatever it is asked."""
    return taught(*[(asked, letter) for asked in BOTH for letter in "ab"])


def copied(model):
    new = small()
    new.load_state_dict(model.state_dict())
    return new


def test_replies_end_where_they_end_and_are_those_of_one_prompt_alone():
    model = taught((BOTH[0], "a"), (BOTH[1], "bb"))
    prompts = [BOTH[0].prompt(), BOTH[1].prompt(), [*BOTH[0].talk("a"), *BOTH[1].prompt()]]
    given = replies(model, TOKENIZER, prompts, 4, temperature=0)
    assert [r.text for r in given[:2]] == ["a", "bb"]
    assert given[0].ids == [TOKENIZER.encode("a")[0], END]
    for prompt, reply in zip(prompts, given):
        assert replies(model, TOKENIZER, [prompt], 4, temperature=0)[0] == reply
    assert replies(model, TOKENIZER, prompts, 1, temperature=0)[1].ids == given[1].ids[:1]
    with pytest.raises(ValueError, match="leaves no room to answer"):
        replies(model, TOKENIZER, [[{"role": "user", "content": "a" * 10}]], 4)


def test_log_probabilities_are_those_that_were_drawn_from(undecided):
    given = replies(undecided, TOKENIZER, [BOTH[0].prompt()] * 50, 4, 1.0, mt.Generator())
    batch = padded(examples_of(given))
    logps = token_logps(undecided, batch).detach().numpy()
    for reply, row, targets in zip(given, logps, batch.targets.numpy()):
        assert targets[targets >= 0].tolist() == reply.ids and (row[targets < 0] == 0).all()
        ids = mt.tensor([reply.prompt + reply.ids])
        wanted = undecided(ids[:, :-1]).log_softmax(-1)[0, len(reply.prompt) - 1 :]
        own = [wanted[i, id].item() for i, id in enumerate(reply.ids)]
        np.testing.assert_allclose(row[targets >= 0], own, atol=1e-5)
    assert divergence(undecided, undecided, TOKENIZER, [BOTH[0].prompt()] * 9) == 0


def test_dpo_moves_to_what_was_preferred_and_leaves_dropout_off(undecided):
    pairs = [
        Pair(*(encode(TOKENIZER, asked.talk(letter), 12) for letter in "ba")) for asked in BOTH
    ]
    assert graded(undecided, TOKENIZER, BOTH)["preferred"] <= 1
    known = with_reference(undecided, pairs)
    batch = padded([p.chosen for p in known] + [p.rejected for p in known])
    wanted = answer_logps(undecided, batch).detach().numpy().reshape(2, -1).T
    np.testing.assert_allclose([p.reference for p in known], wanted, atol=1e-6)
    model = copied(undecided)
    model.blocks[0].attention.dropout = 0.5
    trainer = DPOTrainer(model, TOKENIZER, known, known, settings(30), nll=1.0)
    assert trainer.loss_of(known).item() != 0
    first = [trainer.loss().item() for _ in range(2) if trainer.generator.manual_seed(1)]
    assert first[0] == first[1]  # with dropout they would differ
    run(trainer)
    logps = token_logps(model, batch).sum(-1).tolist()
    assert min(logps[:2]) > np.log(0.9) and max(logps[2:]) < np.log(0.1)


def test_a_reward_model_learns_pairs_and_travels(undecided, tmp_path):
    def judge(asked, text):
        return text.count("b")

    draws = mt.Generator().manual_seed(0)
    pairs = sampled_pairs(undecided, TOKENIZER, BOTH * 8, judge, 4, 4, draws)
    for pair in pairs:
        better, worse = (
            chat.reply(TOKENIZER, ids[mask]) for ids, mask in (pair.chosen, pair.rejected)
        )
        assert better.count("b") > worse.count("b")
    path = tmp_path / "checkpoint.safetensors"
    model = RewardModel.on(undecided)
    assert (model.rewards(padded([pairs[0].chosen])) == 0).all()  # at first all are equal
    run(RewardTrainer(model, TOKENIZER, pairs, pairs, settings(30), path))
    assert agreement(model, pairs) == 1
    again, _ = model_from(load_checkpoint(path))
    batch = padded([p.chosen for p in pairs])
    assert isinstance(again, RewardModel) and (again.rewards(batch) == model.rewards(batch)).all()


def test_grpo_learns_from_the_check_alone(undecided):
    """From one right answer in two to nearly all, with no right answer ever shown."""
    trainer = GRPOTrainer(
        copied(undecided), TOKENIZER, Letters(), BOTH, settings(60, batch_size=64, lr=1e-2),
        reward=lambda asked, text: asked.exact(text), group=8, max_new_tokens=3,
    )  # fmt: skip
    run(trainer)
    assert np.mean(trainer.rewards[:3]) < 0.75 and np.mean(trainer.rewards[-3:]) > 0.95
    assert len(trainer.rewards) == len(trainer.losses) == 60


def test_grpo_learns_nothing_from_groups_that_are_all_alike(undecided):
    model = copied(undecided)
    trainer = GRPOTrainer(
        model, TOKENIZER, Letters(), BOTH, settings(2, weight_decay=0.0),
        reward=lambda asked, text: 1.0, group=4, max_new_tokens=3,
    )  # fmt: skip
    run(trainer)
    before = undecided.state_dict()
    assert all((before[k] == v).all() for k, v in model.state_dict().items())


@pytest.mark.parametrize("beta", [0.0, 3.0])
def test_ppo_follows_the_reward_and_beta_holds_it(beta, undecided):
    def reward(batch, given):
        return mt.tensor([float(r.text.count("b")) for r in given])

    trainer = ppo.PPOTrainer(
        copied(undecided), TOKENIZER, lambda n, rng: [a.prompt() for a in Letters().draw(n, rng)],
        None, settings(50, batch_size=32, lr=1e-2, weight_decay=0.0), reward=reward, reference=undecided,
        beta=beta, max_new_tokens=4, gold=lambda text: -text.count("b"),
    )  # fmt: skip
    run(trainer)
    first, last = ([np.mean([row[k] for row in part]) for k in ("reward", "kl", "gold")]
                   for part in (trainer.history[:5], trainer.history[-5:]))  # fmt: skip
    assert last[2] == -last[0]
    if beta:
        assert abs(last[1]) < 0.3
    else:
        assert last[0] > first[0] + 0.3 and last[1] > 0.3


def test_the_lexicon_knows_love_from_hate():
    pytest.importorskip("vaderSentiment", reason="the gold reward: the extra sentiment")
    gold = sentiment.gold()
    assert gold("I love thee") > 0.5 > -0.5 > gold("I hate this villain")
    assert sentiment.available()


def test_a_reward_is_read_where_the_answer_has_been_read(undecided):
    """Padding, and what stands beside in the batch, change nothing."""
    model = RewardModel.on(undecided)
    with mt.no_grad():
        model.score.weight.copy_(mt.randn(1, 16))
    examples = [encode(TOKENIZER, BOTH[0].talk(text), 12) for text in ("a", "abba", "")]
    together = model.rewards(padded(examples)).tolist()
    alone = [model.rewards(padded([e])).item() for e in examples]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert len(set(np.round(alone, 4))) == 3
    assert reward_model.bradley_terry_loss(mt.zeros(2), mt.zeros(2)).tolist() == pytest.approx(
        [np.log(2)] * 2
    )
