"""The HTTP interface, by plain requests: answers, streams, errors, those who leave, and metrics."""

import json
import random
import re
import socket
import threading
import time
from dataclasses import replace

import pytest

pytest.importorskip("starlette", reason="the extra serve")
pytest.importorskip("uvicorn", reason="the extra serve")

from served import CHARACTERS, SMALL, running, small_model, until

from models.serving import app, program


@pytest.fixture(scope="module")
def server():
    models = {
        "minigpt": small_model(**SMALL),
        "bigram": small_model("bigram"),
        "long": replace(small_model(**SMALL | {"context_length": 4000}), name="long"),
    }
    with running(models, rows=6, waiting=12) as server:
        yield server


@pytest.fixture(autouse=True)
def no_row_is_lost(server):
    yield
    until(server.idle)


def events(server, body):
    """The events of a stream, as JSON; the last one must be [DONE]."""
    _, text = server.request("/v1/completions", {"model": "minigpt", "stream": True} | body)
    lines = [line for line in text.split("\n\n") if line]
    assert all(line.startswith("data: ") for line in lines) and lines[-1] == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]


# ---- answers ---------------------------------------------------------------------------


def test_a_completion(server):
    body = {"model": "minigpt", "prompt": "hello", "max_tokens": 7, "temperature": 0}
    status, answer = server.request("/v1/completions", body)
    assert status == 200 and answer["object"] == "text_completion"
    (choice,) = answer["choices"]
    assert choice["finish_reason"] == "length" and choice["index"] == 0 and choice["text"]
    assert answer["usage"] == {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
    tokenizer = small_model(**SMALL).tokenizer
    ids = tokenizer.encode("hello")
    assert server.text(ids, 7) == choice["text"] == server.text("hello", 7)
    assert server.text("hello", 7, echo=True) == "hello" + choice["text"]


def test_a_stream_is_the_answer_in_pieces(server):
    body = {"prompt": "so. ", "max_tokens": 30, "temperature": 0, "logprobs": 1}
    whole = server.request("/v1/completions", {"model": "minigpt", **body})[1]["choices"][0]
    found = events(server, body | {"stream_options": {"include_usage": True}})
    *pieces, last = found
    assert "".join(p["choices"][0]["text"] for p in pieces) == whole["text"]
    assert [p["choices"][0]["finish_reason"] for p in pieces] == [None] * 30 + ["length"]
    assert last["choices"] == [] and last["usage"]["completion_tokens"] == 30
    assert all(p["usage"] is None for p in pieces) and len({p["id"] for p in found}) == 1
    parts = [p["choices"][0]["logprobs"] for p in pieces[:-1]]
    for name in whole["logprobs"]:
        assert [v for part in parts for v in part[name]] == whole["logprobs"][name]


@pytest.mark.parametrize("stream", [False, True])
def test_it_stops_before_a_stop_string_wherever_its_pieces_come(server, stream):
    text = server.text("hello", 40)
    for stop in (text[9:12], text[20:21], [text[15:17], "zzzzzz"], "zzzzzz"):
        stops = [stop] if isinstance(stop, str) else stop
        ends = [at for s in stops if (at := text.find(s)) >= 0]
        wanted = text[: min(ends, default=None)] if ends else text
        body = {"prompt": "hello", "max_tokens": 40, "temperature": 0, "stop": stop}
        if stream:
            found = events(server, body)
            got = "".join(e["choices"][0]["text"] for e in found)
            reason = found[-1]["choices"][0]["finish_reason"]
        else:
            choice = server.request("/v1/completions", {"model": "minigpt"} | body)[1]["choices"][0]
            got, reason = choice["text"], choice["finish_reason"]
        assert got == wanted and reason == ("stop" if ends else "length")


def test_several_prompts_and_several_texts_of_each(server):
    body = {"model": "minigpt", "prompt": ["one", "two."], "n": 3, "max_tokens": 9, "seed": 4}
    choices = server.request("/v1/completions", body)[1]["choices"]
    again = server.request("/v1/completions", body)[1]["choices"]
    assert [c["index"] for c in choices] == list(range(6)) and choices == again
    assert len({c["text"] for c in choices}) == 6
    second = server.request("/v1/completions", body | {"n": 1, "seed": 5, "prompt": "one"})[1]
    assert second["choices"][0]["text"] == choices[1]["text"]  # seed + 1


def test_log_probabilities_are_those_of_the_model(server):
    body = {"model": "bigram", "prompt": "a", "max_tokens": 5, "temperature": 0, "logprobs": 3}
    found = server.request("/v1/completions", body)[1]["choices"][0]["logprobs"]
    served = small_model("bigram")
    id = served.tokenizer.encode("a")[0]
    for token, logprob, top in zip(found["tokens"], found["token_logprobs"], found["top_logprobs"]):
        row = served.model.table.weight[id].log_softmax(-1)
        assert logprob == pytest.approx(row.max().item(), abs=1e-5)
        assert list(top.values()) == pytest.approx(row.topk(3).values.tolist(), abs=1e-5)
        id = served.tokenizer.encode(token)[0]


def test_a_conversation(server):
    body = {"model": "minigpt", "messages": [{"role": "user", "content": "2+2?"}], "seed": 3}
    answer = server.request("/v1/chat/completions", body | {"max_completion_tokens": 12})[1]
    (choice,) = answer["choices"]
    assert answer["object"] == "chat.completion" and choice["message"]["role"] == "assistant"
    assert "<|" not in choice["message"]["content"]  # special tokens end it, and are not shown
    assert answer["usage"]["prompt_tokens"] == 4 + 3  # who speaks, the end, and who speaks next
    parts = [{"type": "text", "text": "2+"}, {"type": "text", "text": "2?"}]
    other = body | {"messages": [{"role": "user", "content": parts}], "max_tokens": 12}
    again = server.request("/v1/chat/completions", other)[1]["choices"][0]
    assert again["message"] == choice["message"]


def test_models_health_and_metrics(server):
    listed = server.request("/v1/models")[1]["data"]
    assert [m["id"] for m in listed] == ["minigpt", "bigram", "long"]
    assert server.request("/v1/models/bigram")[1] == listed[1]
    assert server.request("/health") == (200, {"status": "ok"})
    before, text = metrics(server), server.text("a", 6)
    after = metrics(server)
    assert text and after["microtensor_tokens_total"] == before["microtensor_tokens_total"] + 6
    name = 'microtensor_requests_total{status="200"}'
    assert after[name] == before.get(name, 0) + 1
    until(lambda: metrics(server)["microtensor_texts_running"] == 0)


def metrics(server):
    lines = server.request("/metrics")[1].splitlines()
    return {k: float(v) for k, v in (x.rsplit(" ", 1) for x in lines if not x.startswith("#"))}


# ---- what is refused -----------------------------------------------------------------------

RIGHT = {"model": "minigpt", "prompt": "a", "max_tokens": 2}
WRONG = [  # what differs from a right request, its status, and words of the error
    (b"", 400, "not JSON"),
    (b"{", 400, "not JSON"),
    (b"\xff\xfe", 400, "not JSON"),
    (b"[" * 5000, 400, "nested too deeply"),
    (b'{"model": "minigpt", "model": "x"}', 400, "twice"),
    (b"[]", 400, "JSON object"),
    (b" " * (2**20 + 1), 413, "more than 1,048,576 bytes"),
    ({"model": None}, 400, "model must be named"),
    ({"model": "gpt-4"}, 404, "there is no model 'gpt-4'; there are minigpt"),
    ({"prompt": ""}, 400, "prompt is empty"),
    ({"prompt": None}, 400, "prompt must be"),
    ({"prompt": []}, 400, "prompt must be"),
    ({"prompt": {"a": 1}}, 400, "prompt must be"),
    ({"prompt": [1, "a"]}, 400, "prompt must be"),
    ({"prompt": [1, 99]}, 400, "ids lie within 0 … 46"),
    ({"prompt": [True]}, 400, "prompt must be"),
    ({"prompt": "é"}, 400, "'é' at index 0 .* not among"),
    ({"prompt": "a" * 49}, 400, "49 tokens, but the model sees 48"),
    ({"prompt": ["a"] * 17}, 400, "at most 16 prompts"),
    ({"prompt": ["a"] * 5, "n": 4}, 400, "at most 16 texts"),
    ({"max_tokens": 0}, 400, "max_tokens must be"),
    ({"max_tokens": "many"}, 400, "max_tokens must be an integer"),
    ({"max_tokens": 10**9}, 400, "max_tokens must be an integer within"),
    *[
        ({name: sign * 10**400}, 400, f"{name} must be an integer")
        for name in ("max_tokens", "n", "seed")
        for sign in (1, -1)
    ],
    *[({name: 10**400}, 400, f"{name} must be a number") for name in ("temperature", "top_p")],
    ({"temperature": float("nan")}, 400, "temperature must be a number"),
    ({"\ud800": 1}, 400, "there is no parameter"),
    ({"max_tokens": 2.5}, 400, "max_tokens must be an integer"),
    ({"max_tokens": True}, 400, "max_tokens must be an integer"),
    ({"temperature": -0.1}, 400, "temperature must be a number within"),
    ({"temperature": "hot"}, 400, "temperature must be a number"),
    ({"top_p": 1.1}, 400, "top_p must be"),
    ({"n": 0}, 400, "n must be"),
    ({"seed": 1.5}, 400, "seed must be"),
    ({"stop": ""}, 400, "stop must be"),
    ({"stop": ["a", 1]}, 400, "stop must be"),
    ({"stop": ["a"] * 17}, 400, "stop must be"),
    ({"stream": "yes"}, 400, "stream must be true or false"),
    ({"stream_options": {}, "stream": 1}, 400, "stream must be true or false"),
    ({"stream_options": {"include_usage": True}}, 400, "stream_options"),
    ({"logprobs": 6}, 400, "logprobs must be"),
    ({"logprobs": True}, 400, "logprobs must be"),
    ({"presence_penalty": 0.5}, 400, "presence_penalty is not there"),
    ({"temprature": 0.5}, 400, "no parameter 'temprature'"),
    ({"messages": []}, 400, "no parameter 'messages'"),
]


@pytest.mark.parametrize("change, status, words", WRONG, ids=lambda v: repr(v)[:40])
def test_a_wrong_request_gets_a_sentence(server, change, status, words):
    body = change if isinstance(change, bytes) else RIGHT | change
    found, answer = server.request("/v1/completions", body)
    assert found == status
    assert answer["error"].keys() == {"message", "type", "param", "code"}
    assert re.search(words, answer["error"]["message"]), answer
    assert "\n" not in answer["error"]["message"] and len(answer["error"]["message"]) < 300


@pytest.mark.parametrize(
    "change, words",
    [
        ({"messages": None}, "list of messages"),
        ({"messages": []}, "list of messages"),
        ({"messages": [{"role": "robot", "content": "a"}]}, "role must be"),
        ({"messages": [{"role": "user"}]}, "must be"),
        ({"messages": [{"role": "user", "content": 3}]}, "content must be a text"),
        ({"messages": [{"role": "user", "content": "é"}]}, "not among"),
        ({"messages": [{"role": "user", "content": "a" * 48}]}, "51 tokens"),
        ({"top_logprobs": 3}, "top_logprobs needs logprobs"),
        ({"logprobs": 1}, "logprobs must be true or false"),
        ({"prompt": "a"}, "no parameter 'prompt'"),
        ({"tools": [{}]}, "tools is not there"),
    ],
)
def test_a_wrong_conversation_gets_a_sentence(server, change, words):
    body = {"model": "minigpt", "messages": [{"role": "user", "content": "a"}]} | change
    status, answer = server.request("/v1/chat/completions", body)
    assert status == 400 and words in answer["error"]["message"]


def test_other_routes_methods_kinds_and_names(server):
    good = json.dumps(RIGHT).encode()
    json_kind = {"Content-Type": "application/json"}
    for expected, args in (
        (404, ("/v2", None)), (404, ("/v1/models/x", None)), (405, ("/v1/completions", None)),
        (405, ("/health", {})), (415, ("/v1/completions", good, None, {})),
        (415, ("/v1/completions", good, None, {"Content-Type": "text/plain"})),
        (403, ("/v1/completions", good, None, json_kind | {"Host": "evil.example"})),
        (200, ("/v1/completions", good, None, json_kind | {"Host": "LOCALHOST:80"})),
    ):  # fmt: skip
        status, answer = server.request(*args)
        assert status == expected and (status == 200 or answer["error"]["message"]), args


# ---- those who never finish, who leave, and crowds -----------------------------------------------


def connect(server, body):
    """An open socket on which a request was sent."""
    sock = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    data = json.dumps(body).encode()
    head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    sock.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
    return sock


HALVES = {
    "nothing": b"",
    "half a header": b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Ty",
    "half a body": b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{",
}


@pytest.mark.parametrize("sent", HALVES)
def test_half_a_request_is_not_waited_for(server, sent, monkeypatch):
    monkeypatch.setattr(app, "PATIENCE", 0.2)
    monkeypatch.setattr(program, "PATIENCE", 0.2)
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as sock:
        sock.sendall(HALVES[sent])
        answer = b"".join(iter(lambda: sock.recv(4096), b""))  # to the end: the server hangs up
    assert (b" 408 " in answer and b"did not come within" in answer) == (sent == "half a body")


def test_a_long_prompt_keeps_nobody_waiting(server):
    wordy = connect(server, {"model": "minigpt", "prompt": "a" * 900_000, "max_tokens": 1})
    assert server.request("/health")[0] == 200
    assert b" 400 " in wordy.recv(100)
    wordy.close()


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_closes_its_connection_frees_its_row(server, stream):
    body = {"model": "long", "prompt": "a", "max_tokens": 4000, "stream": stream, "seed": 1}
    sockets = [connect(server, body) for _ in range(6)]
    until(lambda: len(server.engine.running) == 6)
    if stream:
        assert all(sock.recv(100) for sock in sockets)
    for sock in sockets:
        sock.close()
    until(server.idle)
    assert server.text("hello", 3)


def test_too_many_are_told_to_come_back(server):
    body = {"model": "long", "prompt": "a", "max_tokens": 4000, "n": 6}
    sockets = [connect(server, body) for _ in range(3)]
    until(lambda: len(server.engine.running) + len(server.engine.queue) == 18)
    status, answer = server.request("/v1/completions", RIGHT)
    assert status == 429 and answer["error"]["type"] == "rate_limit_error"
    for sock in sockets:
        sock.close()
    until(server.idle)
    assert server.request("/v1/completions", RIGHT)[0] == 200


def soak(server, requests, threads, seed=0):
    """Many requests of all kinds at once: how many were answered. Each must get its own text."""
    chance = random.Random(seed)
    prompts = ["".join(chance.choices(CHARACTERS, k=chance.randint(1, 20))) for _ in range(8)]
    wanted = {p: server.text(p, 12) for p in prompts}
    assert len(set(wanted.values())) == 8
    work, errors, answered = list(range(requests)), [], []

    def one(number):
        chance = random.Random(f"{seed} {number}")
        prompt, kind = chance.choice(prompts), chance.random()
        body = {"model": "minigpt", "prompt": prompt, "max_tokens": 12, "temperature": 0}
        if kind < 0.3:  # leave at any time
            sock = connect(server, body | {"stream": chance.random() < 0.5, "max_tokens": 400})
            time.sleep(chance.random() * 0.02)
            sock.close()
        elif kind < 0.5:
            data = bytearray(json.dumps(body).encode())
            for _ in range(chance.randint(1, 4)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            status, answer = server.request("/v1/completions", bytes(data))
            assert status in (200, 400, 404, 429), answer
        elif kind < 0.6:  # what is no HTTP, or not all of it
            with socket.create_connection(("127.0.0.1", server.port), timeout=30) as sock:
                sock.sendall(chance.randbytes(50) if kind < 0.55 else b"POST /v1/completions HTTP/")
        else:
            status, answer = server.request("/v1/completions", body)
            if status == 200:
                assert answer["choices"][0]["text"] == wanted[prompt], "another's text"
                answered.append(number)
            else:
                assert status == 429

    def worker():
        while work:
            try:
                one(work.pop())
            except IndexError:
                return
            except Exception as error:
                errors.append(error)

    crowd = [threading.Thread(target=worker) for _ in range(threads)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join(300)
    assert not errors, errors[:3]
    until(server.idle)
    until(lambda: metrics(server)["microtensor_requests_open"] == 0)
    return len(answered)


def test_a_crowd_of_all_kinds_loses_no_row_and_mixes_no_texts(server):
    assert soak(server, requests=120, threads=8) > 20


if __name__ == "__main__":  # the long form: 1,000 requests, and the memory before and after
    from pathlib import Path

    def memory():
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmRSS"))) // 1024

    with running({"minigpt": small_model(**SMALL)}, rows=6, waiting=12) as one_server:
        soak(one_server, 200, 8, seed=1)
        before = memory()
        print(soak(one_server, 1000, 12), "answered of 1,000;", before, "MiB before,", memory())
