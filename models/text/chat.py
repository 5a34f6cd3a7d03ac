"""Conversations as tokens: the chat template, and the mask that says what is learned of it.

    <|system|>Be brief.<|end|><|user|>12+34<|end|><|assistant|>46<|end|>

Each message begins with a special token that says who speaks, and ends with `<|end|>`. A special
token is one id, which no text can spell: what a person types is encoded as ordinary text, so that
nobody can speak for another by typing `<|assistant|>`.

An assistant learns its own words, and when to stop: the mask is true for the tokens of its answers
and the `<|end|>` after each, and false for all others.
"""

ROLES = "system", "user", "assistant"
END = "<|end|>"
SPECIAL_TOKENS = [*(f"<|{role}|>" for role in ROLES), END]


def with_chat_tokens(tokenizer):
    """The tokenizer, with those special tokens of a chat added that it has not: no id changes."""
    missing = [token for token in SPECIAL_TOKENS if token not in tokenizer.special_ids]
    return tokenizer.with_special_tokens(missing) if missing else tokenizer


def has_chat_tokens(tokenizer):
    """True if conversations can be rendered with this tokenizer."""
    return all(token in tokenizer.special_ids for token in SPECIAL_TOKENS)


def end_id(tokenizer):
    """The id of the token that ends a message. ValueError if the tokenizer has none."""
    check_tokenizer(tokenizer)
    return tokenizer.special_ids[END]


def render(tokenizer, messages, add_generation_prompt=False):
    """A conversation as (ids, mask), two lists of one length.

    `messages` are dicts {"role": "system" or "user" or "assistant", "content": text}. The mask is
    True where the assistant's own tokens are. With `add_generation_prompt` the token follows after
    which the assistant speaks. ValueError for anything else, or a text that the tokenizer does not
    know.
    """
    check_tokenizer(tokenizer)
    check_messages(messages)
    special, ids, mask = tokenizer.special_ids, [], []
    for i, message in enumerate(messages):
        try:
            text = tokenizer.encode(message["content"], special=False)
        except UnicodeEncodeError:
            raise ValueError(f"message {i} is no text: it holds a lone surrogate") from None
        except ValueError as error:
            raise ValueError(f"message {i}: {error}") from None
        ids += [special[f"<|{message['role']}|>"], *text, special[END]]
        mask += [False] + [message["role"] == "assistant"] * (len(text) + 1)
    if add_generation_prompt:
        ids.append(special["<|assistant|>"])
        mask.append(False)
    return ids, mask


def reply(tokenizer, ids):
    """The text of an answer: of its ids, those before the first special token."""
    special = set(tokenizer.special_ids.values())
    stop = next((i for i, id in enumerate(ids) if id in special), len(ids))
    return tokenizer.decode(ids[:stop])


def check_tokenizer(tokenizer):
    """ValueError for a tokenizer that has not all special tokens of a chat."""
    missing = [token for token in SPECIAL_TOKENS if token not in tokenizer.special_ids]
    if missing:
        raise ValueError(
            f"the tokenizer has no {missing[0]}, so its model was not taught to converse; "
            "chat.with_chat_tokens adds it"
        )


def check_messages(messages):
    """ValueError unless messages are a list of dicts with a known role and a text."""
    if not isinstance(messages, list | tuple) or not messages:
        raise ValueError(f"a conversation is a list of messages, not {messages!r:.60}")
    for i, message in enumerate(messages):
        if not isinstance(message, dict) or message.keys() != {"role", "content"}:
            raise ValueError(
                f'message {i} must be {{"role": …, "content": …}}, got {message!r:.80}'
            )
        role, content = message["role"], message["content"]
        if role not in ROLES:
            raise ValueError(f"message {i}: the role must be {', '.join(ROLES)}, got {role!r:.60}")
        if not isinstance(content, str):
            raise ValueError(f"message {i}: the content must be a text, got {content!r:.60}")
