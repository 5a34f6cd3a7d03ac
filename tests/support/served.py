"""A server in a thread of this process, with small models, and a client of plain sockets."""

import contextlib
import http.client
import json
import threading
import time

import microtensor as mt
from models.ladder import RUNGS
from models.serving.engine import Engine
from models.serving.loading import ServedModel
from models.text.chat import with_chat_tokens
from models.text.tokenizers import CharTokenizer

CHARACTERS = "\n abcdefghijklmnopqrstuvwxyz.,!?0123456789+"


def small_model(name="minigpt", seed=0, **sizes):
    """A model of random weights that are large enough for its texts not to repeat at once."""
    tokenizer = with_chat_tokens(CharTokenizer(CHARACTERS))
    mt.manual_seed(seed)
    model = RUNGS[name].build(vocab_size=tokenizer.vocab_size, **sizes).eval()
    with mt.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * mt.randn(*parameter.shape)
    return ServedModel(name, model, tokenizer, 1_700_000_000)


SMALL = {"context_length": 48, "d_model": 32, "n_heads": 2, "n_layers": 2}


class Running:
    """A server that listens: its port, its engine, and requests to it."""

    def __init__(self, models, rows=8, waiting=32):
        import uvicorn  # the extra serve, without which the engine is tested alone

        from models.serving.app import LOCAL, make_app
        from models.serving.program import Protocol

        self.engine = Engine({name: s.model for name, s in models.items()}, rows, waiting).start()
        app = make_app(models, self.engine, LOCAL)
        config = uvicorn.Config(app, port=0, log_level="error", lifespan="off", http=Protocol)
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        until(lambda: self.server.started)
        self.port = self.server.servers[0].sockets[0].getsockname()[1]

    def request(self, path, body=None, method=None, headers=None):
        """The status and the JSON of an answer; the body is a value, or bytes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        usual = {"Content-Type": "application/json"}
        method = method or ("GET" if body is None else "POST")
        connection.request(method, path, data, usual if headers is None else headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, json.loads(text) if text.startswith("{") else text

    def text(self, prompt, max_tokens=20, model="minigpt", **options):
        """The first choice of a completion, greedy unless told otherwise."""
        body = {"model": model, "prompt": prompt, "max_tokens": max_tokens, "temperature": 0}
        status, answer = self.request("/v1/completions", body | options)
        assert status == 200, answer
        return answer["choices"][0]["text"]

    def idle(self):
        """Whether no text has a row, and none waits."""
        engine = self.engine
        return not engine.running and not engine.queue and all(
            len(batch.free) == engine.rows for batch in engine.batches.values()
        )  # fmt: skip

    def stop(self):
        self.engine.stop()
        self.server.should_exit = True
        self.thread.join(10)
        self.engine.join(10)
        assert not self.thread.is_alive() and not self.engine.thread.is_alive()


def until(holds, seconds=20):
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it does not come to hold"
        time.sleep(0.002)


@contextlib.contextmanager
def running(*args, **options):
    server = Running(*args, **options)
    try:
        yield server
    finally:
        server.stop()
