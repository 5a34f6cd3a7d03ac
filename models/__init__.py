"""Language models on microtensor, with what they need: tokenizers, text, sampling, training."""

from .corpus import load_corpus
from .minigpt import MiniGPT, MiniGPTConfig
from .tokenizers import BPETokenizer, ByteTokenizer, CharTokenizer
