"""Lesson 13: supervised fine-tuning, or learning to answer."""

import numpy as np
from _page import BLUE, GOLD, GREEN, INK, check, close, plt, save, say, show, title

import microtensor as mt
from models import CharTokenizer, MiniGPT, MiniGPTConfig
from models.post_training.conversations import IGNORED, encode, padded
from models.post_training.replies import replies
from models.post_training.sft import sft_loss
from models.text import chat

title("13. Supervised fine-tuning")
say("""A base model continues texts. An assistant answers: it reads what a person says, says
    something itself, and stops. Who speaks is told by special tokens, which are no letters:
    each is one id, and nobody can type it.""")
tokenizer = chat.with_chat_tokens(CharTokenizer("abcdefgh "))
asked = lambda word: [{"role": "user", "content": word}]
talk = lambda word: [*asked(word), {"role": "assistant", "content": word[::-1]}]
ids, mask = chat.render(tokenizer, talk("bad"))
show(text=tokenizer.decode(ids), ids=ids, learned=[int(m) for m in mask])
check("the answer and its end are learned, nothing else", sum(mask) == len("dab") + 1)

say("""The task: say a word of three letters from behind. The loss is the old one, the surprise
    at the next token, but only at the assistant's own tokens: the mask hides the others. So
    whatever the targets of the prompt are, they change nothing.""")
rng = np.random.default_rng(0)
words = sorted({"".join(rng.choice(list("abcdefgh"), 3)) for _ in range(700)})
rng.shuffle(words)
seen, unseen = words[60:], words[:60]
examples = [encode(tokenizer, talk(word), 16) for word in seen]
sizes = {"context_length": 16, "d_model": 48, "n_heads": 4, "n_layers": 2, "dropout": 0.0}
model = MiniGPT(MiniGPTConfig(vocab_size=tokenizer.vocab_size, **sizes))
batch = padded(examples[:4])
own = batch.targets != IGNORED
surprise = -model(batch.idx)[own].log_softmax(-1).gather(1, batch.targets[own][:, None])
check("the loss is the mean of these", close(surprise.mean(), sft_loss(model, batch)))


def exact():
    """The share of words never seen that it answers rightly."""
    given = replies(model, tokenizer, [asked(word) for word in unseen], 6, temperature=0)
    return sum(r.text == word[::-1] for r, word in zip(given, unseen)) / len(unseen), given


optimizer, losses, shares = mt.optim.AdamW(model.parameters(), lr=4e-3), [], [exact()[0]]
for step in range(1, 101):
    loss = sft_loss(model, padded([examples[i] for i in rng.integers(0, len(examples), 32)]))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
    if step % 5 == 0:
        shares.append(exact()[0])
share, given = exact()
for word, reply in list(zip(unseen, given))[:3]:
    show(asked=word, answered=reply.text, tokens=len(reply.ids))
check("before, no answer was right", shares[0] == 0)
check("now nine of ten words that it never saw are right", share >= 0.9)
check("and it stops by itself", all(r.ids[-1] == chat.end_id(tokenizer) for r in given))

figure, (curve, right, masked) = plt.subplots(1, 3, figsize=(17, 5.2))
curve.plot(losses, color=BLUE)
curve.set(title="surprise at its own tokens", xlabel="step")
right.plot(range(0, 101, 5), shares, "o-", color=GREEN)
right.set(title="right answers to words never seen", xlabel="step", ylim=(-0.03, 1.05))
for i, (id, learn) in enumerate(zip(ids, mask)):
    masked.barh(-i, 1, 0.8, color=GOLD if learn else "#e6e9ed")
    masked.text(0.5, -i, tokenizer.decode([id]), ha="center", va="center", color=INK)
masked.set(title="what is learned of a conversation", xticks=[], yticks=[])
masked.spines[:].set_visible(False)
save(figure, "13_fine_tuning")
