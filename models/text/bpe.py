"""Byte-pair encoding: the algorithm of Sennrich et al. (arXiv:1508.07909), on bytes as in GPT-2.

Text is cut into words, and words into bytes. *Learning* takes the pair of neighbours that occurs
most often, makes one token of it, and repeats. *Encoding* joins the pairs of a word in the order in
which they were learned. Nothing is joined across words, so a word need be encoded only once.

Merges are (left, right, joined): tokens are numbers, those of single bytes are `BYTE_IDS`.
"""

import functools
import heapq
from collections import Counter, defaultdict

# ---- words --------------------------------------------------------------------------------------

# GPT-2's words: an English ending, or letters, or digits, or other signs, each with a space before;
# or white space, of which the last one is left to the word that follows.
PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


@functools.cache
def pattern():
    try:
        import regex  # Python's own `re` knows no classes of letters and digits
    except ImportError:
        raise ImportError(
            "byte-pair encoding needs the package regex: pip install regex (or the extra 'bpe')"
        ) from None
    return regex.compile(PATTERN)


def words(text):
    """The words of a text, white space included: joined, they are the text."""
    return pattern().findall(text)


# ---- letters for bytes --------------------------------------------------------------------------


def _byte_letters():
    """A visible letter for each byte, GPT-2's: a space is Ġ, a line break is Ċ.

    A byte that Latin-1 shows stands for itself; the others get the letters from U+0100 on.
    """
    shown = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = [byte for byte in range(256) if byte not in shown]
    codes = {byte: byte for byte in shown} | {byte: 0x100 + i for i, byte in enumerate(hidden)}
    return [chr(codes[byte]) for byte in range(256)]


LETTERS = _byte_letters()
ALPHABET = sorted(LETTERS)  # the first 256 tokens
BYTE_IDS = [ALPHABET.index(letter) for letter in LETTERS]
_BYTES = {letter: byte for byte, letter in enumerate(LETTERS)}


def to_bytes(letters):
    """The bytes of a token as `vocab.json` and `merges.txt` write it. ValueError if it is none."""
    try:
        return bytes(_BYTES[letter] for letter in letters)
    except KeyError as error:
        raise ValueError(f"{letters!r} has {error.args[0]!r}, which is no byte's letter") from None


# ---- learning -----------------------------------------------------------------------------------


def learn(counts, size, min_count=2):
    """Merges that bring the vocabulary to `size` tokens, or all with pairs seen `min_count` times.

    `counts` has how often each word, as bytes, occurs. Of pairs equally frequent, the one with the
    smaller ids comes first, as in the package `tokenizers`.
    """
    tokens, left, right, weights = _linked(counts)
    frequency, places = _pairs(tokens, right, weights)
    queue = [(-count, pair) for pair, count in frequency.items()]
    heapq.heapify(queue)

    merges, made = [], {(id,): id for id in BYTE_IDS}  # the bytes of a token -> the token
    spelled = {id: (id,) for id in BYTE_IDS}
    while queue and len(made) < size:
        count, (a, b) = queue[0]
        if -count != frequency[a, b]:  # it has lost places to other merges since
            heapq.heapreplace(queue, (-frequency[a, b], (a, b)))
            continue
        if -count < max(min_count, 1):
            break
        heapq.heappop(queue)
        spelling = spelled[a] + spelled[b]
        new = made.setdefault(spelling, len(made))
        spelled[new] = spelling
        merges.append((a, b, new))

        fresh = set()
        for i in sorted(places.pop((a, b))):  # from the left: of three equal letters, the first two
            j = right[i]
            if tokens[i] != a or j < 0 or tokens[j] != b:
                continue  # not there any more
            before, after, weight = left[i], right[j], weights[i]
            tokens[i], tokens[j], right[i] = new, -1, after
            if before >= 0:
                frequency[tokens[before], a] -= weight
                frequency[tokens[before], new] += weight
                places[tokens[before], new].append(before)
                fresh.add((tokens[before], new))
            if after >= 0:
                left[after] = i
                frequency[b, tokens[after]] -= weight
                frequency[new, tokens[after]] += weight
                places[new, tokens[after]].append(i)
                fresh.add((new, tokens[after]))
        del frequency[a, b]
        for pair in fresh:
            heapq.heappush(queue, (-frequency[pair], pair))
    return merges


def _linked(counts):
    """All words in one row, as a linked list, so that a merge changes only its own places.

    For each place: the token, the places of the tokens before and after it in its word (−1: none),
    and how often the word occurs.
    """
    tokens, left, right, weights = [], [], [], []
    for word, count in counts.items():
        start, end = len(tokens), len(tokens) + len(word)
        tokens += [BYTE_IDS[byte] for byte in word]
        left += [-1, *range(start, end - 1)] if word else []
        right += [*range(start + 1, end), -1] if word else []
        weights += [count] * len(word)
    return tokens, left, right, weights


def _pairs(tokens, right, weights):
    """(how often each pair of neighbours occurs, the places of its first tokens)."""
    frequency, places = Counter(), defaultdict(list)
    for i, j in enumerate(right):
        if j >= 0:
            frequency[tokens[i], tokens[j]] += weights[i]
            places[tokens[i], tokens[j]].append(i)
    return frequency, places


# ---- encoding -----------------------------------------------------------------------------------


def encode(tokens, ranks):
    """The tokens of a word after all merges: `ranks` has (rank, joined) for each pair of tokens.

    A heap of the pairs that could be joined makes it n log n even for a word as long as a book.
    """
    tokens = list(tokens)
    left, right = [*range(-1, len(tokens) - 1)], [*range(1, len(tokens)), -1]
    queue = [(*ranks[pair], i) for i, pair in enumerate(zip(tokens, tokens[1:])) if pair in ranks]
    heapq.heapify(queue)
    while queue:
        rank, new, i = heapq.heappop(queue)
        j = right[i]
        if j < 0 or ranks.get((tokens[i], tokens[j])) != (rank, new):
            continue  # one of the two has been joined with another since
        before, after = left[i], right[j]
        tokens[i], tokens[j], right[i], right[j] = new, -1, after, -1
        if after >= 0:
            left[after] = i
        for k in (before, i):
            if k >= 0 and right[k] >= 0 and (pair := (tokens[k], tokens[right[k]])) in ranks:
                heapq.heappush(queue, (*ranks[pair], k))
    return [token for token in tokens if token >= 0]
