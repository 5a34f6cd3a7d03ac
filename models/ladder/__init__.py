"""The ladder: language models from a table written by hand to a modern MiniGPT, a file for each."""

from .registry import RUNGS, TRANSFORMER, WINDOW, Rung, window
