"""Texts as numbers: tokenizers, corpora, windows of tokens, and words as vectors."""
