"""OpenAI's own client, against this server: what it sends is understood, what it reads fits."""

import pytest

pytest.importorskip("openai", reason="the official client, which CI installs")
pytest.importorskip("uvicorn", reason="the extra serve")

import openai
from served import SMALL, running, small_model, until

ASKED = {"model": "minigpt", "temperature": 0, "max_tokens": 20}
MESSAGES = [{"role": "system", "content": "be brief."}, {"role": "user", "content": "2+2?"}]


@pytest.fixture(scope="module")
def client():
    with running({"minigpt": small_model(**SMALL)}, rows=4, waiting=4) as server:
        address = f"http://127.0.0.1:{server.port}/v1"
        client = openai.OpenAI(base_url=address, api_key="none", max_retries=0, timeout=60)
        client.server = server
        yield client
        client.close()


def test_models(client):
    (model,) = client.models.list()
    assert model.id == "minigpt" and client.models.retrieve("minigpt") == model
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-4")


def test_completions(client):
    answer = client.completions.create(prompt="hello", logprobs=2, n=2, stop="zz", **ASKED)
    assert [c.finish_reason for c in answer.choices] == ["length"] * 2
    text, logprobs = answer.choices[0].text, answer.choices[0].logprobs
    assert "".join(logprobs.tokens) == text and all(len(t) == 2 for t in logprobs.top_logprobs)
    for token, offset in zip(logprobs.tokens, logprobs.text_offset, strict=True):
        assert text[offset:].startswith(token)
    assert answer.usage.completion_tokens == 40 and answer.usage.prompt_tokens == 5
    stream = client.completions.create(
        prompt="hello", stream=True, stream_options={"include_usage": True}, **ASKED
    )
    *chunks, last = stream
    assert "".join(c.choices[0].text for c in chunks) == text
    assert last.usage.total_tokens == 25 and not last.choices


def test_conversations(client):
    asked = {**ASKED, "messages": MESSAGES, "logprobs": True, "top_logprobs": 3}
    answer = client.chat.completions.create(**asked)
    (choice,) = answer.choices
    assert choice.message.role == "assistant" and choice.finish_reason in ("stop", "length")
    said = "".join(t.token for t in choice.logprobs.content)
    assert said == choice.message.content
    assert all(len(t.top_logprobs) == 3 for t in choice.logprobs.content)
    chunks = list(client.chat.completions.create(**asked, stream=True))
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(c.choices[0].delta.content or "" for c in chunks)
    assert text == choice.message.content
    reasons = [c.choices[0].finish_reason for c in chunks]
    assert reasons == [None] * (len(chunks) - 1) + [choice.finish_reason]


def test_errors_are_of_the_client_s_kinds(client):
    with pytest.raises(openai.BadRequestError, match="temperature must be") as raised:
        client.completions.create(**ASKED | {"prompt": "a", "temperature": 3})
    assert raised.value.param == "temperature"
    with pytest.raises(openai.NotFoundError, match="no model 'x'"):
        client.completions.create(**ASKED | {"prompt": "a", "model": "x"})
    with pytest.raises(openai.BadRequestError) as raised:
        client.completions.create(prompt="a" * 49, **ASKED)
    assert raised.value.code == "context_length_exceeded"


def test_leaving_a_stream_frees_its_row(client):
    stream = client.completions.create(prompt="a", stream=True, **ASKED | {"max_tokens": 4000})
    next(iter(stream))
    stream.close()
    until(client.server.idle)


def test_a_stream_that_is_cut_says_so():
    with running({"minigpt": small_model(**SMALL)}) as server:
        address = f"http://127.0.0.1:{server.port}/v1"
        with openai.OpenAI(base_url=address, api_key="none", max_retries=0) as client:
            stream = client.completions.create(
                prompt="a", stream=True, **ASKED | {"max_tokens": 4000}
            )
            next(iter(stream))
            server.engine.stop()
            with pytest.raises(openai.APIError, match="shutting down; the text was cut"):
                list(stream)
            with pytest.raises(openai.InternalServerError, match="shutting down"):
                client.completions.create(prompt="a", **ASKED)
