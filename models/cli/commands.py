"""The commands of `python -m models`: the rungs in the ladder's order, then the tools."""

import sys
from functools import partial

from . import command_line, generate, ladder, playground, program, quantize, serve

OWN = {"lookup_table": command_line.lookup_table, "modern_block": command_line.modern_block}
RUNGS = {
    "lookup_table": "a table written by hand, from three characters to the next",
    "ngram": "the same table, counted from a text",
    "bigram": "a table of numbers that learn by gradients",
    "tiny_lm": "embeddings side by side, one tanh layer",
    "recurrent": "RNN, GRU or LSTM: a memory, carried along",
    "tiny_attention": "one head: the last position asks, the earlier ones answer",
    "tiny_transformer": "several heads, an MLP, blocks, all written out",
    "modern_block": "forward only: each step of one block, with its shape",
    "minigpt": "GPT-2 in small",
    "modern_minigpt": "Llama in small",
}
TOOLS = {
    "ladder": (ladder, "compare the rungs: one text, one budget"),
    "generate": (generate, "let any model that was kept in a folder continue a text"),
    "playground": (playground, "train a GPT in the browser, watch it learn, look inside"),
    "quantize": (quantize, "write a model in a quarter of the bytes, and compare the two"),
    "serve": (serve, "answer requests over HTTP, by OpenAI's interface"),
}


def main(argv=None):
    """Run the command that the arguments begin with. Returns the exit code."""
    program.any_letter()
    name, *flags = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("--help", "-h"):
        print(listed())
        return 0
    run = commands().get(name)
    if run is None:
        hint = program.nearest(name, commands()) or "; python -m models lists them"
        print(f"models: there is no command {program.printable(name)!r}{hint}", file=sys.stderr)
        return 2
    return run(flags)


def commands():
    """{name: function of the flags} in the order in which they are listed."""
    rungs = {name: OWN.get(name) or partial(command_line.main, name) for name in RUNGS}
    return rungs | {name: tool.main for name, (tool, _) in TOOLS.items()}


def listed():
    """The commands, a line for each."""
    lines = ["usage: python -m models COMMAND [options]     (COMMAND --help: its options)", ""]
    lines += ["the ladder, each rung a model:"]
    lines += [f"  {name:17} {about}" for name, about in RUNGS.items()]
    lines += ["", "tools:"] + [f"  {name:17} {about}" for name, (_, about) in TOOLS.items()]
    return "\n".join(lines)
