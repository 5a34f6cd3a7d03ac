"""Playground: train a GPT in the browser, watch it learn, and look inside.

The page trains in this program, on this machine, and asks nothing of the
network. Its models are kept below runs/playground. Ctrl-C ends it."""

import secrets
import socket
import sys
import threading
import webbrowser
from pathlib import Path

import microtensor as mt

from ..serving.addresses import in_url, listen
from ..text.corpus import load_corpus
from . import program

LOCAL = ("127.0.0.1", "localhost", "::1")


def main(argv=None):
    """Run the command line. Returns the exit code."""
    p = program.Parser("models.playground", __doc__)
    p.add_argument("--no-browser", action="store_true", help="print the address, open no browser")
    p.add_argument(
        "--port", type=int, default=8600, metavar="N", help="(8600; 0: any that is free)"
    )
    p.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="another address lets other machines in, with a token (127.0.0.1)",
    )
    p.add_argument("--checkpoint", metavar="FILE", help="a trained MiniGPT to begin with")
    p.add_argument(
        "--out",
        default="runs/playground",
        metavar="FOLDER",
        help="where models are kept (runs/playground)",
    )
    p.add_argument("--seed", type=int, default=0, metavar="N", help="of the first weights (0)")
    p.add_argument("--data", metavar="FILE", help="any UTF-8 text, in place of Shakespeare")
    return program.run(playground, p, argv)


def playground(args):
    """Serve the page until Ctrl-C."""
    try:
        import uvicorn

        from ..serving.playground import app, texts
        from ..serving.playground.lab import Lab
    except ModuleNotFoundError as error:
        if error.name not in ("starlette", "uvicorn"):
            raise
        raise ValueError(f'{error.name} is missing; pip install -e ".[lab]"') from None
    if not 0 <= args.port < 65536:
        raise ValueError(f"--port must be within 0 … 65535, got {args.port}")
    listener = listen(args.host, args.port)
    port = listener.getsockname()[1]
    mt.set_num_threads(1)  # the other core is the browser's: two waiting for one take much longer
    sys.setswitchinterval(0.001)  # seconds that a question may wait for the thread that trains
    corpus = load_corpus(args.data, offline=True)
    data = texts.data(corpus.name if args.data else "Shakespeare", corpus.text)
    lab = Lab(args.out, data, args.seed)
    if args.checkpoint:
        lab.ask(lab.open, Path(args.checkpoint)).result()
    token = None if args.host in LOCAL else secrets.token_urlsafe(18)
    named = [*LOCAL[:2], "[::1]"] if args.host in LOCAL else [args.host, *names_of_this_machine()]
    shown = in_url(args.host)
    hosts = {f"{name}:{port}" for name in (*named, shown)}
    address = f"http://{'127.0.0.1' if args.host in LOCAL else shown}:{port}/"
    address += f"?token={token}" if token else ""
    answers = app.application(lab, hosts, token, lambda: server.should_exit, shakespeare)
    server = uvicorn.Server(uvicorn.Config(
        answers, log_level="warning", timeout_graceful_shutdown=1, lifespan="off", access_log=False,
    ))  # fmt: skip
    print(f"the playground is at {address}     (Ctrl-C ends it)", flush=True)
    if not args.no_browser:
        threading.Timer(0.5, webbrowser.open, (address,)).start()
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:
        pass
    finally:
        saved = lab.close()
        print(f"the model was saved as {saved}" if saved else "nothing was trained", flush=True)


def shakespeare():
    """The names by which other machines may call this one."""
    return load_corpus(offline=True).text


def names_of_this_machine():
    """What other machines may call this one."""
    name = socket.gethostname()
    try:
        return [name, *socket.gethostbyname_ex(name)[2]]
    except OSError:
        return [name]
