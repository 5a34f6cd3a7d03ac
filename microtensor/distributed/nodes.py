"""Several machines with a launcher on each: machine 0 tells the others how to join MPICH's mpiexec.

`mpiexec -launcher manual` prints, for each machine, the arguments of the process
(`hydra_pmi_proxy`) that starts its ranks. Machine 0 gives these, over TCP at its `--master_port`,
to the launcher that says which machine it is; that one runs its own `hydra_pmi_proxy` with them.
Only options with plain values are taken, so nothing else can be run. Nothing is encrypted, and
whoever reaches the port can take part: this is for networks that are one's own, as with torchrun.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

PATIENCE = 120.0  # seconds for all machines to come
PLAIN = re.compile(r"[A-Za-z0-9.:_-]+")


def manual(args: Any) -> list[str]:
    """The arguments with which mpiexec waits for other machines."""
    names = ",".join(f"{args.master_addr if n == 0 else f'node{n}'}" for n in range(args.nnodes))
    return [
        "-launcher", "manual", "-hosts", names, "-ppn", str(args.nproc_per_node),
        "-localhost", args.master_addr, "-disable-hostname-propagation",
    ]  # fmt: skip


def serve(args: Any, process: subprocess.Popen) -> None:
    """On machine 0: start its part of what mpiexec wants started, and tell the others theirs."""
    commands = {}
    while line := line_of(process.stdout):
        if line.startswith(b"HYDRA_LAUNCH_END"):
            break
        if line.startswith(b"HYDRA_LAUNCH:"):
            arguments = line.decode().split()[2:]
            commands[int(arguments[arguments.index("--proxy-id") + 1])] = arguments
    own = subprocess.Popen([proxy(), *commands[0]], stdin=subprocess.DEVNULL)
    threading.Thread(target=own.wait, daemon=True).start()
    threading.Thread(target=answer, args=(args, commands), daemon=True).start()


def line_of(pipe):
    """The next line, with no byte of what follows: the launcher reads on from there."""
    line = b""
    while byte := os.read(pipe.fileno(), 1):
        line += byte
        if byte == b"\n":
            break
    return line


def answer(args, commands):
    """Tell each machine, once, what to start."""
    with socket.create_server((args.master_addr, args.master_port)) as server:
        server.settimeout(PATIENCE)
        waiting = set(range(1, args.nnodes))
        while waiting:
            try:
                connection, _ = server.accept()
            except TimeoutError:
                return
            with connection, connection.makefile("rw") as stream:
                connection.settimeout(5)
                try:
                    number = json.loads(stream.readline(100))
                except (ValueError, OSError):
                    continue
                if number in waiting:
                    stream.write(json.dumps(commands[number]) + "\n")
                    waiting.discard(number)


def join(args: Any) -> list[str]:
    """On another machine: the command that machine 0 tells. OSError if it does not answer."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with socket.create_connection((args.master_addr, args.master_port), 5) as connection:
                stream = connection.makefile("rw")
                stream.write(json.dumps(args.node_rank) + "\n")
                stream.flush()
                arguments = json.loads(stream.readline(10_000))
                break
        except (OSError, ValueError):
            if time.monotonic() > deadline:
                raise OSError(
                    f"machine 0 does not answer at {args.master_addr}:{args.master_port}"
                ) from None
            time.sleep(0.2)
    if not (isinstance(arguments, list) and all(PLAIN.fullmatch(str(a)) for a in arguments)):
        raise OSError("machine 0 sent something else than commands for ranks")
    return [proxy(), *arguments]


def proxy():
    """MPICH's program that starts the ranks of one machine."""
    found = Path(sys.executable).with_name("hydra_pmi_proxy")
    return str(found) if found.exists() else "hydra_pmi_proxy"
