"""word2vec: the words, the pairs, the loss, and that words used alike come to be alike."""

import math
from collections import Counter

import numpy as np
import pytest

import microtensor as mt
from models.inside import embedding_view
from models.text.word2vec import SkipGram, Word2VecConfig, Words, learn, pairs

TEXT = "The cat sat; the dog sat. O'er the well-born cat's 3 mats!"


def test_words():
    words = Words(TEXT, min_count=1)
    assert (
        words.words[:2] == ["the", "sat"]
        and {"o'er", "well-born", "cat's", "mats"} <= set(words.words)
        and "3" not in words.index
    )
    assert [words.words[i] for i in words.ids[:4]] == ["the", "cat", "sat", "the"]
    frequent = Words(TEXT, min_count=2)
    assert frequent.words == ["the", "sat"] and frequent.counts.tolist() == [3, 2]
    assert [frequent.words[i] for i in frequent.ids] == ["the", "sat", "the", "sat", "the"]
    assert words.number("The") == 0
    with pytest.raises(ValueError, match="'zebra' is not among the 8 words"):
        words.number("zebra")


@pytest.mark.parametrize("text", ["", "a a a", "1 2 3"])
def test_a_text_without_words(text):
    with pytest.raises(ValueError, match="words that occur 1 times or more; two at least"):
        Words(text, min_count=1)


def test_pairs_are_neighbours():
    words = Words(" ".join(f"w{chr(97 + i)}" for i in range(26)), min_count=1)
    config = Word2VecConfig(window=3, keep=1e9)  # nothing is left out
    rng, found = np.random.default_rng(0), Counter()
    for _ in range(300):
        some = pairs(words, config, rng)
        distances = np.abs(some[:, 0] - some[:, 1])
        found.update(distances.tolist())
    assert set(found) == {1, 2, 3}
    # 25, 24, 23 places; both ways; distance d in (4 − d) of 3 cases
    for d in (1, 2, 3):
        assert found[d] == pytest.approx(300 * 2 * (26 - d) * (4 - d) / 3, rel=0.02)


def test_frequent_words_are_left_out_at_random():
    words = Words("the " * 990 + "rare " * 10, min_count=1)
    config, rng = Word2VecConfig(window=1, keep=1e-2), np.random.default_rng(0)
    kept = np.mean([(pairs(words, config, rng)[:, 0] == 0).sum() / 2 for _ in range(50)])
    assert kept == pytest.approx(990 * math.sqrt(1e-2 / 0.99), rel=0.1)


def test_the_loss_is_that_of_the_paper():
    mt.manual_seed(0)
    model = SkipGram(7, 4).double()
    mt.nn.init.normal_(model.around.weight)
    c, o, n = mt.tensor([1, 2]), mt.tensor([3, 1]), mt.tensor([[0, 4, 4], [5, 6, 0]])
    v, u = (t.weight.detach().numpy() for t in (model.centre, model.around))
    sigmoid = lambda x: 1 / (1 + math.exp(-x))
    wanted = 0
    for i in range(2):
        centre = v[c[i].item()]
        wanted -= math.log(sigmoid(u[o[i].item()] @ centre))
        wanted -= sum(math.log(sigmoid(-(u[k] @ centre))) for k in n[i].tolist())
    assert model(c, o, n).item() == pytest.approx(wanted / 2, rel=1e-12)


def test_nothing_is_known_at_first():
    """Every pair is as likely as not: (1 + K) log 2."""
    words = Words(TEXT, min_count=1)
    (step, share, _, loss), (_, _, _, first), *_ = learn(words, Word2VecConfig(keep=1))
    assert step == share == 0 and loss is None
    assert first == pytest.approx(6 * math.log(2), rel=1e-6)


def test_words_used_alike_become_alike():
    """Animals eat and sleep, ships sail and sink; no two animals ever stand side by side."""
    rng = np.random.default_rng(0)
    animals, ships = ["cat", "dog", "horse"], ["frigate", "barge", "schooner"]
    lines = []
    for _ in range(800):
        who = animals if rng.random() < 0.5 else ships
        does = ["eats", "sleeps"] if who is animals else ["sails", "sinks"]
        lines.append(f"one {rng.choice(who)} {rng.choice(does)} now")
    words = Words(" ".join(lines), min_count=1)
    config = Word2VecConfig(channels=8, window=2, epochs=6, batch_size=256, lr=0.02, keep=1)
    *_, (_, share, model, loss) = learn(words, config)
    assert share == 1 and loss < 3
    table = model.centre.weight.detach().numpy()
    for kind in (animals, ships):
        for word in kind:
            near = [words.words[j] for j, _ in embedding_view.neighbours(table, words.index[word])]
            assert set(near[:2]) == set(kind) - {word}


def test_seeds_repeat_it():
    words = Words(TEXT, min_count=1)

    def last(seed):
        *_, (_, _, model, _) = learn(words, Word2VecConfig(epochs=2, channels=4, keep=1, seed=seed))
        return model.centre.weight.tolist()

    assert last(1) == last(1) != last(2)


def test_a_text_too_short():
    with pytest.raises(ValueError, match="the text is too short"):
        list(learn(Words("a b " * 3, min_count=1), Word2VecConfig(keep=1e-9)))


@pytest.mark.parametrize("wrong", [{"channels": 0}, {"window": 0}, {"lr": 0}, {"keep": -1}])
def test_numbers_that_cannot_be_meant(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
        Word2VecConfig(**wrong)
