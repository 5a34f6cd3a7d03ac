"""Checks of a client's requests: each mistake is a `Refused` with a sentence.

The names are those of OpenAI's interface (platform.openai.com/docs/api-reference).
"""

import math
from dataclasses import dataclass, field

from .. import files
from ..generation import sampling
from ..text import chat


class Refused(Exception):
    """A request that is answered with an error in OpenAI's form."""

    def __init__(self, message, status=400, code=None, param=None, kind="invalid_request_error"):
        super().__init__(message)
        self.message, self.status, self.code, self.param, self.kind = (
            message, status, code, param, kind,
        )  # fmt: skip

    def body(self):
        """The error as OpenAI's clients read it."""
        return {
            "error": {
                "message": self.message, "type": self.kind, "param": self.param, "code": self.code
            }
        }  # fmt: skip


@dataclass
class Wanted:
    """A request that can be answered: for each prompt its ids, and how to continue them."""

    served: object
    prompts: list
    chat: bool
    max_tokens: int
    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    stop: list = field(default_factory=list)
    stop_ids: tuple = ()
    logprobs: int | None = None
    stream: bool = False
    include_usage: bool = False
    echo: list | None = None  # the texts of the prompts, to be repeated


MOST_TEXTS, MOST_TOKENS, MOST_STOPS = 16, 4096, 16
# What has no effect here, and what may only be as if it were not there.
IGNORED = {"user", "store", "metadata", "service_tier", "safety_identifier", "prompt_cache_key",
           "prompt_cache_retention", "best_of"}  # fmt: skip
USUAL = {"presence_penalty": (0, None), "frequency_penalty": (0, None), "logit_bias": ({}, None),
         "suffix": (None, ""), "tools": (None, []), "tool_choice": (None, "none", "auto"),
         "response_format": (None, {"type": "text"}), "functions": (None, []),
         "modalities": (None, ["text"]), "parallel_tool_calls": (None, True, False),
         "function_call": (None, "none", "auto")}  # fmt: skip
KNOWN = {"model", "max_tokens", "n", "temperature", "top_p", "seed", "stop", "logprobs", "stream",
         "stream_options"}  # fmt: skip
OF_CHAT = {"messages", "max_completion_tokens", "top_logprobs"}
OF_TEXT = {"prompt", "echo"}


def wanted(body, models, of_chat):
    """A request's body, bytes of JSON, as what is `Wanted`. Refused for what cannot be done."""
    try:
        asked = files.parsed(body)
    except (ValueError, RecursionError) as error:
        raise Refused(f"the body is not JSON: {error}", code="invalid_json") from None
    if not isinstance(asked, dict):
        raise Refused("the body must be a JSON object with names")
    known = KNOWN | (OF_CHAT if of_chat else OF_TEXT)
    for name, value in asked.items():
        if name in USUAL and not any(value == usual for usual in USUAL[name]):
            raise Refused(f"{name} is not there; leave it out", param=name)
        if name not in known | IGNORED | USUAL.keys():
            raise Refused(f"there is no parameter {name!r:.60}", param=f"{name:.60}")
    served = _served(asked.get("model"), models)
    number = _Numbers(asked)
    stream = _flag(asked, "stream")
    options = asked.get("stream_options") or {}
    if not isinstance(options, dict) or options and not stream:
        raise Refused("stream_options is an object, for stream: true", param="stream_options")
    found = Wanted(
        served, [], of_chat, 16,
        n=number("n", 1, 1, MOST_TEXTS, int),
        temperature=float(number("temperature", 1.0, 0, 2)),
        top_p=float(number("top_p", 1.0, 0, 1)),
        seed=number("seed", None, -(2**63), 2**64 - 1, int),
        stop=_stops(asked.get("stop")), stream=stream,
        include_usage=_flag(options, "include_usage"),
    )  # fmt: skip
    found.top_p = max(found.top_p, 1e-9)  # 0: the likeliest alone
    if found.seed is not None:
        found.seed %= 2**63
    (_of_chat if of_chat else _of_text)(found, asked, number)
    room = min(sampling.room(served.model, ids) for ids in found.prompts)
    if room < 0:
        context = served.model.config.context_length
        raise Refused(
            f"the prompt has {max(map(len, found.prompts))} tokens, but the model sees {context} "
            "at once; give a shorter one",
            code="context_length_exceeded", param="messages" if of_chat else "prompt",
        )  # fmt: skip
    if len(found.prompts) * found.n > MOST_TEXTS:
        raise Refused(f"at most {MOST_TEXTS} texts at once, prompts times n", param="n")
    return found


def _of_chat(found, asked, number):
    tokenizer = found.served.tokenizer
    messages = asked.get("messages")
    if not chat.has_chat_tokens(tokenizer):
        raise Refused(
            f"{found.served.name} was not taught to converse: its tokenizer has no chat template; "
            "use /v1/completions",
            param="model",
        )  # fmt: skip
    try:
        ids, _ = chat.render(tokenizer, _plain(messages), add_generation_prompt=True)
    except ValueError as error:
        raise Refused(str(error), param="messages") from None
    found.prompts = [ids]
    found.stop_ids = tuple(tokenizer.special_ids.values())  # whoever speaks next, it is over
    first = number("max_completion_tokens", None, 1, MOST_TOKENS, int)
    found.max_tokens = first or number("max_tokens", None, 1, MOST_TOKENS, int)
    if found.max_tokens is None:
        room = sampling.room(found.served.model, ids)
        found.max_tokens = int(max(1, min(room, 256)))
    if _flag(asked, "logprobs"):
        found.logprobs = number("top_logprobs", 0, 0, 20, int)
    elif asked.get("top_logprobs") is not None:
        raise Refused("top_logprobs needs logprobs: true", param="top_logprobs")


def _plain(messages):
    """Messages whose content is a text, also where it came as a list of parts that are texts."""
    if not isinstance(messages, list):
        return messages
    found = []
    for message in messages:
        if isinstance(message, dict):
            message = {k: v for k, v in message.items() if k != "name"}
            parts = message.get("content")
            if isinstance(parts, list) and parts and all(
                isinstance(p, dict) and p.get("type") == "text" and isinstance(p.get("text"), str)
                for p in parts
            ):  # fmt: skip
                message["content"] = "".join(p["text"] for p in parts)
            if message.get("role") == "developer":
                message["role"] = "system"
        found.append(message)
    return found


def _of_text(found, asked, number):
    served, prompt = found.served, asked.get("prompt")
    several = isinstance(prompt, list) and prompt and not _are_ids(prompt)
    prompts = prompt if several else [prompt]
    if len(prompts) > MOST_TEXTS:
        raise Refused(f"at most {MOST_TEXTS} prompts at once, got {len(prompts)}", param="prompt")
    found.prompts = [_ids(served, p) for p in prompts]
    end = served.tokenizer.special_ids.get("<|endoftext|>")
    found.stop_ids = () if end is None else (end,)
    tokens = number("max_tokens", 16, 0, MOST_TOKENS, int)
    if tokens == 0:
        raise Refused("max_tokens must be at least 1, got 0", param="max_tokens")
    found.max_tokens = tokens
    found.logprobs = number("logprobs", None, 0, 5, int)
    if _flag(asked, "echo"):
        found.echo = [served.tokenizer.decode(ids) for ids in found.prompts]


def _are_ids(prompt):
    return isinstance(prompt, list) and all(type(id) is int for id in prompt)


def _ids(served, prompt):
    """The ids of a prompt: a text, or ids already."""
    tokenizer = served.tokenizer
    if _are_ids(prompt) and prompt:
        if not all(0 <= id < tokenizer.vocab_size for id in prompt):
            raise Refused(f"ids lie within 0 … {tokenizer.vocab_size - 1}", param="prompt")
        return prompt
    if not isinstance(prompt, str):
        raise Refused("prompt must be a text, a list of texts, or ids", param="prompt")
    try:
        sampling.check_prompt(prompt)
        return tokenizer.encode(prompt, special=False)
    except UnicodeEncodeError:
        raise Refused("the prompt is no text: it holds a lone surrogate", param="prompt") from None
    except ValueError as error:
        raise Refused(str(error), param="prompt") from None


def _served(name, models):
    if not isinstance(name, str):
        raise Refused("a model must be named", param="model")
    if name not in models:
        raise Refused(
            f"there is no model {name!r:.80}; there are {', '.join(models)}",
            404, "model_not_found", "model",
        )  # fmt: skip
    return models[name]


class _Numbers:
    """The numbers of a request."""

    def __init__(self, asked):
        self.asked = asked

    def __call__(self, name, usual, least, most, kind=float):
        """A number within bounds; the usual one where it is not given, or null."""
        value = self.asked.get(name)
        if value is None:
            return usual
        right = type(value) is int or kind is float and type(value) is float
        if not right or not math.isfinite(value) or not least <= value <= most:
            what = "an integer" if kind is int else "a number"
            raise Refused(
                f"{name} must be {what} within {least} … {most}, got {value!r:.60}", param=name
            )
        return value


def _flag(asked, name):
    value = asked.get(name)
    if value is not None and type(value) is not bool:
        raise Refused(f"{name} must be true or false, got {value!r:.60}", param=name)
    return bool(value)


def _stops(stop):
    stops = [stop] if isinstance(stop, str) else [] if stop is None else stop
    right = isinstance(stops, list) and all(isinstance(s, str) and s for s in stops)
    if not right or len(stops) > MOST_STOPS:
        raise Refused(f"stop must be one to {MOST_STOPS} texts, not empty", param="stop")
    return stops
