"""Answers to a client: pieces of text as the tokens come, and the JSON of OpenAI's interface."""

import time
import uuid

from ..generation.sampling import Writer
from .engine import Job


class Choice:
    """One continuation: its text as it grows, the entries of its tokens, and why it ended."""

    def __init__(self, wanted, index, prompt):
        self.wanted, self.index, self.prompt = wanted, index, prompt
        tokenizer = wanted.served.tokenizer
        self.tokenizer, self.tokens, self.reason, self.error = tokenizer, 0, None, None
        self.writer = Writer(prompt, index, tokenizer.stream(), wanted.stop)
        self.offset = 0  # characters that the tokens have come to

    def take(self, token):
        """The text and the entry of a token, which the engine's thread hands over."""
        text, entry = "", None
        if token.id is not None:
            self.tokens += 1
            if token.id not in self.wanted.stop_ids:
                text = self.writer(token.id)
                if token.logprob is not None:
                    entry = self.entry(token)
        if self.writer.ended:
            self.reason = "stop"
        elif token.end:
            text += self.writer(None)
            self.reason, self.error = token.end, token.error
        return text, entry

    def entry(self, token):
        """A token and the likeliest ones, with their log-probabilities."""
        return self.shown(token.id, token.logprob) | {
            "top": [self.shown(id, logprob) for id, logprob in token.top]
        }

    def shown(self, id, logprob):
        raw = self.tokenizer.vocabulary[id]
        return {"token": raw.decode("utf-8", "replace"), "logprob": logprob, "bytes": list(raw)}

    def logprobs(self, entries):
        """Entries in the form of a conversation, or of a completion; None if nobody asked."""
        if self.wanted.logprobs is None:
            return None
        if self.wanted.chat:
            return {
                "content": [
                    {**{k: e[k] for k in ("token", "logprob", "bytes")}, "top_logprobs": e["top"]}
                    for e in entries
                ]
            }
        offsets = []
        for e in entries:
            offsets.append(self.offset)
            self.offset += len(e["token"])
        return {
            "tokens": [e["token"] for e in entries],
            "token_logprobs": [e["logprob"] for e in entries],
            "top_logprobs": [{t["token"]: t["logprob"] for t in e["top"]} for e in entries],
            "text_offset": offsets,
        }


class Answer:
    """The answer to one request: its choices, and their form."""

    def __init__(self, wanted):
        self.wanted = wanted
        kind = "chatcmpl" if wanted.chat else "cmpl"
        self.id, self.created = f"{kind}-{uuid.uuid4().hex}", int(time.time())
        self.choices = [
            Choice(wanted, i * wanted.n + j, i)
            for i in range(len(wanted.prompts))
            for j in range(wanted.n)
        ]

    def jobs(self, put):
        """A `Job` for each choice; `put(choice, text, entry, reason)` is called for each token.

        It is the engine's thread that calls; `reason` is None until the choice ends.
        """
        wanted = self.wanted
        for choice in self.choices:

            def deliver(token, choice=choice):
                text, entry = choice.take(token)
                put(choice, text, entry, choice.reason)
                return choice.reason is not None

            yield Job(
                wanted.served.name, wanted.prompts[choice.prompt], wanted.max_tokens, deliver,
                temperature=wanted.temperature, top_p=None if wanted.top_p == 1 else wanted.top_p,
                seed=None if wanted.seed is None else wanted.seed + choice.index % wanted.n,
                logprobs=wanted.logprobs, stop_ids=wanted.stop_ids,
            )  # fmt: skip

    def usage(self):
        given = sum(map(len, self.wanted.prompts))
        made = sum(choice.tokens for choice in self.choices)
        return {
            "prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made
        }  # fmt: skip

    def head(self, chunk=False):
        kind = "text_completion"
        if self.wanted.chat:
            kind = "chat.completion.chunk" if chunk else "chat.completion"
        return {
            "id": self.id, "object": kind, "created": self.created,
            "model": self.wanted.served.name,
        }  # fmt: skip

    def whole(self, texts, entries):
        """The answer as one object."""
        choices = []
        for choice, text, some in zip(self.choices, texts, entries):
            if self.wanted.echo:
                text = self.wanted.echo[choice.prompt] + text
            said = {"message": {"role": "assistant", "content": text, "refusal": None}}
            choices.append(
                {"index": choice.index, **(said if self.wanted.chat else {"text": text}),
                 "logprobs": choice.logprobs(some), "finish_reason": choice.reason}
            )  # fmt: skip
        return {**self.head(), "choices": choices, "usage": self.usage()}

    def chunk(self, choice, text, entry, reason=None, first=False):
        """A piece of a stream."""
        logprobs = choice.logprobs([entry]) if entry else None
        if self.wanted.chat:
            delta = {"role": "assistant"} if first else {}
            if text or first:
                delta["content"] = text
            part = {"delta": delta}
        else:
            part = {"text": text}
        part |= {"index": choice.index, "logprobs": logprobs, "finish_reason": reason}
        usage = {"usage": None} if self.wanted.include_usage else {}
        return {**self.head(chunk=True), "choices": [part], **usage}

    def last_chunk(self):
        """The piece with the usage, for those who asked for it."""
        return {**self.head(chunk=True), "choices": [], "usage": self.usage()}
