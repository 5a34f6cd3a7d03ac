"""See a text as a language model does: cut into tokens, each with its number.

python demos/tokens.py                                     a line, by character, byte and byte pairs
python demos/tokens.py "Wherefore art thou?" --vocab-size 2000
python demos/tokens.py --tokenizer FILE                    any saved tokenizer, or GPT-2's two files

Byte pairs are learned from Shakespeare, or from --data FILE; --save FILE keeps them, and
--write FILE encodes all of the text to a file of tokens, however large it is.
"""

import os
import shutil
import sys
import time
from pathlib import Path

from models.cli import program, showing
from models.inside import token_view
from models.text.corpus import load_corpus, text_pieces
from models.text.data import write_tokens
from models.text.tokenizers import BPETokenizer, ByteTokenizer, CharTokenizer, load_tokenizer

TEXT = "O Romeo, Romeo! wherefore art thou Romeo?\nDeny thy father and refuse thy name."
KINDS = "char", "byte", "bpe"


def main(argv=None):
    return program.run(demo, parser(), argv)


def parser():
    p = program.Parser("tokens.py", __doc__, "%(prog)s [options] [TEXT]")
    add = p.add_argument
    add("text", nargs="?", default=TEXT, metavar="TEXT", help="the text to look at; - reads stdin")
    add(
        "--tokenizer", metavar="KIND", help="char, byte, bpe, or a file or folder (the first three)"
    )
    add("--vocab-size", type=int, default=1000, metavar="N", help="tokens to learn for bpe (1000)")
    add("--data", metavar="FILE", help="the text to learn from, in place of Shakespeare")
    add("--out", default="runs/tokens", metavar="FOLDER", help="for the pictures (runs/tokens)")
    add("--save", metavar="FILE", help="keep the tokenizer; a folder gets vocab.json, merges.txt")
    add("--write", metavar="FILE", help="encode --data to a file of tokens")
    return p


def demo(args):
    if (args.save or args.write) and args.tokenizer is None:
        args.tokenizer = "bpe"
    if args.write and args.data is None:
        raise ValueError("--write needs --data FILE, the text to encode")
    text = sys.stdin.read() if args.text == "-" else args.text
    names = [args.tokenizer] if args.tokenizer else KINDS
    views = []
    for name in names:
        tokenizer = chosen(name, args, text)
        views.append((f"{name}, {tokenizer.vocab_size:,} ids", token_view.pieces(tokenizer, text)))
    coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    columns = shutil.get_terminal_size((80, 24)).columns
    for view in views:
        print(f"\n{token_view.summary(*view)}\n")
        print(token_view.printed(view[1], columns, coloured))
    print()
    page = token_view.as_page("A text as its tokens", views)
    showing.save(args.out, {"tokens.png": token_view.drawn(views), "tokens.html": page})
    if args.save:
        tokenizer.save(args.save)
        print(f"written: {args.save}, {tokenizer}")
    if args.write:
        start = time.perf_counter()
        count = write_tokens(args.write, tokenizer, text_pieces(args.data))
        size = Path(args.data).expanduser().stat().st_size
        rate = size / 1e6 / (time.perf_counter() - start)
        print(f"written: {args.write}, {count:,} tokens, {rate:.1f} MB of text a second")


def chosen(name, args, text):
    """The tokenizer of that name: one of the kinds, or a saved one."""
    if name == "byte":
        return ByteTokenizer()
    if name == "char":
        return CharTokenizer.from_text(load_corpus(args.data).text if args.data else text)
    if name != "bpe":
        if not Path(name).exists():
            raise ValueError(f"--tokenizer {name}: neither char, byte or bpe, nor a file or folder")
        return load_tokenizer(name)
    if args.data:
        source, where = text_pieces(args.data), args.data
    else:
        corpus = load_corpus()
        source, where = corpus.text, corpus.name
    start = time.perf_counter()
    tokenizer = BPETokenizer.from_text(source, args.vocab_size)
    seconds = time.perf_counter() - start
    print(f"byte pairs: {tokenizer.vocab_size:,} tokens learned from {where} in {seconds:.1f} s")
    return tokenizer


if __name__ == "__main__":
    sys.exit(main())
