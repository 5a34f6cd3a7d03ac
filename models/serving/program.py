"""The server as a program: it listens, and stops within two seconds."""

import signal
import sys

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from .addresses import in_url, listen
from .app import LOCAL, PATIENCE, make_app
from .engine import Engine

LAST = 1.2  # seconds that texts have to come to their end when the server stops


class Protocol(H11Protocol):
    """Uvicorn's protocol, which waits `PATIENCE` seconds for a request and then hangs up."""

    def connection_made(self, transport):
        super().connection_made(transport)
        self.loop.call_later(PATIENCE, self.hang_up)

    def shutdown(self):
        if self.cycle is not None and self.cycle.more_body:  # half a request: nobody waits for it
            self.transport.close()
        super().shutdown()

    def hang_up(self):
        if self.cycle is None:  # no request has come, or half of one
            self.transport.close()


class Server(uvicorn.Server):
    """Uvicorn's server, which has the engine stop as soon as a signal comes."""

    engine = None

    def handle_exit(self, sig, frame):
        self.engine.stop(0 if self.should_exit else LAST)
        super().handle_exit(sig, frame)


def serve(models, host, port, rows, waiting, tell=print):
    """Answer requests until Ctrl-C or SIGTERM. Returns the exit code.

    `models` are `ServedModel`s by name. ValueError if it cannot listen there.
    """
    listening = listen(host, port)
    local = _is_local(host)
    engine = Engine({name: served.model for name, served in models.items()}, rows, waiting)
    app = make_app(models, engine.start(), LOCAL | {host.lower()} if local else None)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=2,
        server_header=False, http=Protocol,
    )  # fmt: skip
    server = Server(config)
    server.engine = engine
    engine.ready.wait()
    port = listening.getsockname()[1]
    shown = in_url(host)
    tell(f"serving {', '.join(models)} at http://{shown}:{port}/v1")
    if not local:
        tell(
            f"anyone who reaches {shown}:{port} can use it: there is no password, and no encryption"
        )
    sys.stdout.flush()
    before = signal.signal(signal.SIGTERM, _interrupt)  # uvicorn raises its signals again
    try:
        server.run(sockets=[listening])
    except KeyboardInterrupt:
        pass
    finally:
        engine.stop()
        engine.join(1)
        signal.signal(signal.SIGTERM, before)
    tell("stopped")
    return 0


def _interrupt(*_):
    raise KeyboardInterrupt


def _is_local(host):
    return host.lower() in ("localhost", "::1") or host.startswith("127.")
