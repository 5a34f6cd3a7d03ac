"""Supervised fine-tuning: a base model learns to answer, from conversations.

    loss = − mean over the assistant's tokens of  log p(token | all before it)

It is the loss of pre-training, on other text, with the prompts masked out: the model learns what to
answer, not what to ask. (InstructGPT, arXiv:2203.02155, section 3.5, step 1.)
"""

import microtensor as mt

from ..generation.sampling import evaluating
from ..text import chat
from ..training import Trainer


def sft_loss(model, batch):
    """The mean cross-entropy of the assistant's tokens of a `conversations.Batch`."""
    more = {} if batch.segments is None else {"segments": batch.segments}
    return model(batch.idx, batch.targets, **more)[1]


class SFTTrainer(Trainer):
    """A Trainer whose data are `Conversations`."""

    def loss(self):
        return sft_loss(self.model, self.train.random_batch(self.config.batch_size, self.generator))

    def held_out_loss(self):
        config, total, count = self.config, 0.0, 0
        with evaluating(self.model), mt.no_grad():
            for batch in self.held_out.spread(config.eval_batches, config.eval_batch_size):
                tokens = int((batch.targets >= 0).sum())
                total += sft_loss(self.model, batch).item() * tokens
                count += tokens
        return total / count


def with_chat(model, tokenizer):
    """A model for conversations and its tokenizer: a copy, with rows for the tokens of a chat.

    What was learned stays; the rows of the new tokens are the mean of all others, with some noise.
    (A new row of random numbers would begin as the surest of all; Hewitt, "Initializing new word
    embeddings for pretrained language models", 2021.)
    """
    new = chat.with_chat_tokens(tokenizer)
    sizes = {**vars(model.config), "vocab_size": new.vocab_size}
    copy = type(model)(type(model.config)(**sizes))
    theirs, ours = model.state_dict(), copy.state_dict()
    old = tokenizer.vocab_size
    for name, tensor in theirs.items():
        if tensor.shape != ours[name].shape:  # a row for each token
            mean, spread = tensor.mean(0), tensor.std()
            noise = mt.randn(new.vocab_size - old, tensor.shape[1]) * spread * 0.1
            tensor = mt.cat([tensor, mean + noise])
        ours[name] = tensor
    copy.load_state_dict(ours)
    return copy, new
