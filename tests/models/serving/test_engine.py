"""A text gets what it would get alone, whatever else runs; rows come back; nobody waits long."""

import queue
import random
import threading
import time

import pytest
from served import SMALL, small_model, until

import microtensor as mt
from microtensor import nn
from microtensor.quantization import Int4WeightOnlyConfig, Int8WeightOnlyConfig, quantize_
from models import GPT2, GPT2Config
from models.serving.batching import PIECE
from models.serving.engine import Engine, Job, QueueFull, Stopped


class Client:
    """One text: its tokens as they come."""

    def __init__(self, engine, ids, tokens, **options):
        self.ids, self.done, self.why, self.tokens = [], threading.Event(), None, queue.Queue()
        self.job = Job("m", ids, tokens, self.deliver, **{"temperature": 0, **options})
        engine.submit([self.job])

    def deliver(self, token):
        if token.id is not None:
            self.ids.append(token.id)
            self.tokens.put(token)
        if token.end:
            self.why, self.error = token.end, token.error
            self.done.set()

    def result(self):
        assert self.done.wait(60)
        return self.ids


@pytest.fixture
def engine_of():
    engines = []

    def make(model, **options):
        engines.append(Engine({"m": model}, **options).start())
        return engines[-1]

    yield make
    for engine in engines:
        engine.stop()
        engine.join(10)
        assert not engine.thread.is_alive()


def gpt2():
    mt.manual_seed(0)
    return GPT2(GPT2Config(45, context_length=48, d_model=24, n_heads=2, n_layers=2)).eval()


def quantized(config):
    model = small_model(**SMALL).model
    quantize_(model, config)
    return model


MODELS = {
    "minigpt": lambda: small_model(**SMALL).model,
    "narrow": lambda: small_model(**SMALL | {"d_model": 8}).model,
    "modern": lambda: small_model("modern_minigpt", **SMALL, d_mlp=44, n_kv_heads=1).model,
    "gpt2": gpt2,
    "int8": lambda: quantized(Int8WeightOnlyConfig()),
    "int4": lambda: quantized(Int4WeightOnlyConfig()),
    "recurrent": lambda: small_model("recurrent", d_model=16).model,
    "tiny_lm": lambda: small_model("tiny_lm").model,
    "tiny_transformer": lambda: small_model("tiny_transformer", d_model=16, n_heads=2).model,
    "bigram": lambda: small_model("bigram").model,
}


@pytest.mark.parametrize("name", MODELS)
def test_greedy_texts_in_a_crowd_are_those_of_a_request_alone(name, engine_of):
    model, chance = MODELS[name](), random.Random(0)
    engine = engine_of(model, rows=11)
    prompts = [[chance.randrange(40) for _ in range(chance.randint(1, 40))] for _ in range(14)]
    lengths = [chance.randint(1, 40) for _ in prompts]  # some slide out of the context
    alone = [Client(engine, p, n).result() for p, n in zip(prompts, lengths)]
    generated = [
        [int(t) for t in model.generate(mt.tensor([p]), n, temperature=0)]
        for p, n in zip(prompts, lengths)
    ]
    assert alone == generated
    assert len({tuple(a[:8]) for a in alone}) > 3  # they are different texts
    for seed in range(2):
        order = random.Random(seed).sample(range(len(prompts)), len(prompts))
        clients = {i: Client(engine, prompts[i], lengths[i]) for i in order}
        assert [clients[i].result() for i in range(len(prompts))] == alone
    assert all(step.refused is None for step in getattr(engine.batches["m"], "steps", {}).values())


def test_logits_in_a_crowd_are_those_of_a_text_alone_to_the_last_bit(engine_of):
    engine = engine_of(small_model(**SMALL).model, rows=10)
    prompts = [[i, 2 * i % 40, 7] for i in range(10)]

    def logprobs(clients):
        return [[t.logprob for t in (c.tokens.get(timeout=60) for _ in range(12))] for c in clients]

    alone = [logprobs([Client(engine, p, 12, logprobs=0)])[0] for p in prompts]
    assert logprobs([Client(engine, p, 12, logprobs=0) for p in prompts]) == alone


def test_a_seed_gives_the_same_text_again(engine_of):
    engine = engine_of(small_model(**SMALL).model, rows=4)
    options = {"temperature": 1.0, "top_p": 0.9, "seed": 5}
    first = Client(engine, [1, 2], 20, **options).result()
    crowd = [Client(engine, [1, 2], 20, temperature=1.5, seed=i) for i in range(3)]
    again = Client(engine, [1, 2], 20, **options).result()
    assert first == again and len({tuple(c.result()) for c in crowd}) == 3


def test_nobody_waits_for_the_end_of_another_s_long_prompt(engine_of):
    model = small_model(**SMALL | {"context_length": 40 * PIECE}).model
    engine, order = engine_of(model, rows=4), []
    long = Client(engine, [1] * (30 * PIECE), 1)
    short = Client(engine, [2, 3], 5)
    for client, name in ((long, "long"), (short, "short")):
        deliver = client.job.deliver
        client.job.deliver = lambda t, d=deliver, n=name: (order.append(n), d(t))[1]
    long.result(), short.result()
    assert order == ["short"] * 5 + ["long"]


def test_a_client_that_leaves_frees_its_row_within_two_tokens(engine_of):
    engine = engine_of(small_model(**SMALL).model, rows=1)
    first, second = Client(engine, [1], 4000), Client(engine, [2], 3)
    first.tokens.get(timeout=60)
    first.job.cancel()
    seen = len(first.ids)
    second.result()
    assert len(first.ids) <= seen + 2 and not first.done.is_set()
    until(lambda: engine.batches["m"].free == [0])


def test_the_queue_is_bounded_and_those_who_left_it_do_not_count(engine_of):
    engine = engine_of(small_model(**SMALL).model, rows=2, waiting=3)
    running = [Client(engine, [1], 4000) for _ in range(2)]
    for client in running:
        client.tokens.get(timeout=60)
    waiting = [Client(engine, [1], 5) for _ in range(3)]
    with pytest.raises(QueueFull):
        Client(engine, [1], 5)
    waiting[0].job.cancel()
    last = Client(engine, [1], 5)
    for client in running:
        client.job.cancel()
    assert last.result() == waiting[2].result()


def test_an_error_ends_the_texts_that_it_is_of_and_no_others(engine_of):
    model = small_model(**SMALL).model
    engine = engine_of(model, rows=2)
    bad = Client(engine, [10_000], 5)  # no id of this model
    good = Client(engine, [1], 5)
    assert bad.result() == [] and bad.why == "error" and "IndexError" in bad.error
    assert len(good.result()) == 5 and good.why == "length"
    until(lambda: len(engine.batches["m"].free) == 2)


def test_stopping_lets_short_texts_end_and_cuts_long_ones(engine_of):
    engine = engine_of(small_model(**SMALL).model, rows=2)
    endless, short = Client(engine, [1], 10**9), Client(engine, [2], 30)
    waiting = Client(engine, [3], 10**9)
    endless.tokens.get(timeout=60)
    start = time.monotonic()
    engine.stop(seconds=0.5)
    with pytest.raises(Stopped):
        Client(engine, [1], 1)
    assert len(short.result()) == 30 and short.why == "length"
    endless.result(), waiting.result()
    assert endless.why == waiting.why == "cut" and time.monotonic() - start < 10
    engine.join(10)
    assert not engine.thread.is_alive()


def test_a_batch_cache_gives_each_text_what_a_cache_of_its_own_gives():
    for name in ("minigpt", "modern_minigpt"):
        model = small_model(name, **SMALL).model
        batch = nn.BatchCache(model.new_cache(5))
        texts = {4: [1, 2, 3], 0: [5], 2: [7, 8, 9, 10, 11]}
        with mt.no_grad():
            for row, ids in texts.items():
                batch.select([row])
                model(mt.tensor([ids]), cache=batch)
                batch.advance(len(ids))
            for rows in ([0, 2, 4], [4, 0], [2]):
                for _ in range(3):
                    batch.select(rows)
                    found = model(mt.tensor([[12]] * len(rows)), cache=batch)[:, -1]
                    batch.advance(1)
                    for row, logits in zip(rows, found):
                        texts[row].append(12)
                        wanted = model(mt.tensor([texts[row]]))[0, -1]
                        assert mt.allclose(logits, wanted, atol=2e-5)
        assert batch.lengths.tolist() == [len(texts.get(row, [])) for row in range(5)]
        batch.clear(4)
        assert batch.lengths[4] == 0


def test_a_batch_cache_refuses_what_does_not_fit():
    model = small_model(**SMALL).model
    batch = nn.BatchCache(model.new_cache(2))
    with mt.no_grad():
        for rows, idx, error, words in (
            ([0, 1], [[1]], ValueError, "2 texts were selected, got tokens of 1"),
            ([2], [[1]], IndexError, None),
            ([0], [[1] * 49], ValueError, "49 tokens do not fit a context of 48"),
        ):
            with pytest.raises(error, match=words):
                batch.select(rows)
                model(mt.tensor(idx), cache=batch)
    with pytest.raises(RuntimeError, match="a cache keeps no graph"):
        batch.select([0])
        model(mt.tensor([[1]]), cache=batch)
