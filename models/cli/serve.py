"""Serve: answer requests over HTTP with any model, by OpenAI's interface.

A model is a checkpoint of a training, a folder in GPT-2's or Llama's layout,
or a file that `python -m models quantize` wrote. Each has a name, by which
requests ask for it; adapters in peft's layout are models of their own, too.
"""

from . import program


def main(argv=None):
    """Run the command line. Returns the exit code."""
    p = program.Parser("models.serve", __doc__)
    p.add_argument("--checkpoint", metavar="PATH", action="append", required=True,
                   help="a file or a folder; may be given several times")  # fmt: skip
    p.add_argument("--name", metavar="NAME", action="append", default=[],
                   help="of each checkpoint, in their order (its folder's)")  # fmt: skip
    p.add_argument("--adapter", metavar="FOLDER", action="append", default=[],
                   help="of the first checkpoint; its name is its folder's")  # fmt: skip
    p.add_argument("--host", default="127.0.0.1", metavar="NAME",
                   help="where to listen: 0.0.0.0 lets other machines in (127.0.0.1)")  # fmt: skip
    p.add_argument("--port", type=int, default=8000, metavar="N", help="0: any that is free (8000)")
    p.add_argument("--rows", type=int, default=16, metavar="N", help="texts at once (16)")
    p.add_argument("--queue", type=int, default=64, metavar="N", help="texts that may wait (64)")
    return program.run(serve, p, argv)


def serve(args):
    """Load the models, and answer requests until Ctrl-C."""
    if not 0 <= args.port < 65536:
        raise ValueError(f"a port lies within 0 … 65535, got {args.port}")
    for flag, least in ("rows", 1), ("queue", 0):
        if getattr(args, flag) < least:
            raise ValueError(f"--{flag} must be at least {least}, got {getattr(args, flag)}")
    if len(args.name) > len(args.checkpoint):
        raise ValueError("there are more names than checkpoints")
    try:
        from ..serving.program import serve as answer
    except ModuleNotFoundError as error:
        raise ValueError(f'{error.name} is missing; pip install -e ".[serve]"') from None
    return answer(models(args), args.host, args.port, args.rows, args.queue, say)


def models(args):
    """The models that the arguments name. ValueError if one cannot be read."""
    from ..serving.loading import load_adapter, load_served

    names = [*args.name, *[None] * len(args.checkpoint)]
    try:
        found = [load_served(p, say, name) for p, name in zip(args.checkpoint, names)]
        found += [load_adapter(p, args.checkpoint[0], say) for p in args.adapter]
    except FileNotFoundError as error:
        raise ValueError(f"there is no {error.filename}") from None
    by_name = {served.name: served for served in found}
    if len(by_name) < len(found):
        twice = [served.name for served in found]
        raise ValueError(f"two models have one name: {', '.join(twice)}; give others by --name")
    return by_name


def say(line):
    print(program.printable(line), flush=True)
