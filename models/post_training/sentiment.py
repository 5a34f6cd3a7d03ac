"""The sentiment of a text, by a lexicon of words: the gold reward of the lesson on reward hacking.

VADER (Hutto and Gilbert, ICWSM 2014) knows some 7,500 words with their sentiment, and sums them up
to a number from −1 to 1. Needs the package vaderSentiment (MIT; the extra 'sentiment').
"""

import importlib.util


def available():
    """True if the package is installed."""
    return importlib.util.find_spec("vaderSentiment") is not None


def gold():
    """A function from a text to its sentiment. ImportError without the package."""
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    analyzer = SentimentIntensityAnalyzer()
    return lambda text: analyzer.polarity_scores(text)["compound"]
