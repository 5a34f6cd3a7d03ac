"""Language models on microtensor, with what they need: tokenizers, text, sampling, training.

files        reading what a person names, and the lock of a folder
generation/  from logits to text: sampling, and the loop that appends
text/        tokenizers, corpora, windows of tokens, word2vec
ladder/      the models, from a table written by hand to a modern MiniGPT
pretrained/  GPT-2 and Llama, as they are published
training/    the trainer, its checkpoints, what a person sees of it, the classic mistakes
post_training/  from base model to assistant: SFT, LoRA, DPO, reward models, GRPO, PPO
inside/      looking into a model while it computes, and pages that show it
cli/         the command line: python -m models
"""

from . import paths
from .paths import MODELS
from .text import bpe, corpus, tokenizers
from .text.corpus import load_corpus
from .text.tokenizers import BPETokenizer, ByteTokenizer, CharTokenizer

__getattr__ = paths.attribute
paths.install()
