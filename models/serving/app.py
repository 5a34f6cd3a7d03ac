"""The HTTP interface: OpenAI's routes, streams, and errors in its form, on Starlette.

An answer's tokens come from the engine's thread into a queue of the event loop. While it waits for
them, the server also listens whether the client is still there; when it has gone, its texts are
cancelled, and their rows are free before the next token but one.
"""

import asyncio
import json
import time
from functools import partial

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from .answers import Answer
from .engine import QueueFull, Stopped
from .requests import Refused, parse_request

LARGEST = 2**20  # bytes of a body
SHORT = 2**14  # bytes of a body that is taken apart at once
PATIENCE = 10  # seconds that a request may take to come
CUT = "the server is shutting down; the text was cut"
LOCAL = {"localhost", "127.0.0.1", "[::1]"}


def make_app(models, engine, hosts=None):
    """The application for `ServedModel`s by name, and the `Engine` that computes for them.

    With `hosts`, names by which it may be called, requests for any other are refused: a page in a
    browser could have its own name lead here.
    """
    server = _Server(models, engine, hosts)
    routes = [
        Route("/v1/models", server.list_models),
        Route("/v1/models/{name:path}", server.one_model),
        Route("/v1/completions", server.complete, methods=["POST"]),
        Route("/v1/chat/completions", server.converse, methods=["POST"]),
        Route("/health", server.health),
        Route("/metrics", server.metrics),
    ]
    app = Starlette(
        routes=routes,
        exception_handlers={Refused: refused, HTTPException: failed, Exception: broken},
    )
    app.state.server = server
    return app


async def refused(request, error):
    headers = {"retry-after": "1"} if error.status in (429, 503) else None
    return JSONResponse(error.body(), error.status, headers)


async def failed(request, error):
    """404 and 405 of the routes."""
    message = {
        404: f"there is no {request.url.path:.80}",
        405: f"{request.method} does not go with {request.url.path:.80}",
    }.get(error.status_code, error.detail)
    body = Refused(message, error.status_code).body()
    return JSONResponse(body, error.status_code, error.headers)


async def broken(request, error):
    body = Refused(f"the server failed: {type(error).__name__}", 500, kind="server_error").body()
    return JSONResponse(body, 500)


class _Server:
    """The routes."""

    def __init__(self, models, engine, hosts):
        self.models, self.engine, self.hosts = models, engine, hosts
        self.answered, self.open, self.started = {}, 0, time.time()

    # ---- what is asked for -----------------------------------------------------------------------

    async def list_models(self, request):
        self.check_host(request)
        return JSONResponse(
            {"object": "list", "data": [_model(served) for served in self.models.values()]}
        )

    async def one_model(self, request):
        self.check_host(request)
        name = request.path_params["name"]
        if name not in self.models:
            raise Refused(f"there is no model {name!r:.80}", 404, "model_not_found", "model")
        return JSONResponse(_model(self.models[name]))

    async def health(self, request):
        if self.engine.failed or self.engine.stopping:
            return JSONResponse({"status": "stopping" if self.engine.stopping else "failed"}, 503)
        return JSONResponse({"status": "ok"})

    async def metrics(self, request):
        return PlainTextResponse(
            metrics(self), media_type="text/plain; version=0.0.4; charset=utf-8"
        )

    async def complete(self, request):
        return await self.answer(request, of_chat=False)

    async def converse(self, request):
        return await self.answer(request, of_chat=True)

    # ---- answering -------------------------------------------------------------------------------

    async def answer(self, request, of_chat):
        """The response to a request for text."""
        try:
            self.check_host(request)
            body = await _body(request)
            parse = partial(parse_request, body, self.models, of_chat)
            # a long prompt takes seconds to encode, in which others are answered
            asked = await asyncio.to_thread(parse) if len(body) > SHORT else parse()
            answer, loop, events = Answer(asked), asyncio.get_running_loop(), asyncio.Queue()

            held = []  # what need not be told before the end: to wake the loop takes time

            def put(*event):  # called by the engine's thread
                held.append(event)
                if asked.stream or event[3]:
                    loop.call_soon_threadsafe(_put_all, events, held.copy())
                    held.clear()

            jobs = list(answer.jobs(put))
            try:
                self.engine.submit(jobs)
            except QueueFull:
                raise Refused(
                    "too many texts wait already; try again soon", 429, "queue_full",
                    kind="rate_limit_error",
                ) from None  # fmt: skip
            except Stopped:
                raise Refused(CUT, 503, "shutting_down", kind="server_error") from None
        except Refused as error:
            self.count(error.status)
            raise
        return Stream(self, answer, jobs, events)

    def check_host(self, request):
        """Refused unless the server is called by a name that it has."""
        host = request.headers.get("host", "").rpartition(":")
        name = host[0] if host[2].isdigit() else request.headers.get("host", "")
        if self.hosts is not None and name.lower() not in self.hosts:
            raise Refused(f"this server is not called {name!r:.80}", 403)

    def count(self, status):
        self.answered[status] = self.answered.get(status, 0) + 1


def _put_all(queue, events):
    for event in events:
        queue.put_nowait(event)


def _model(served):
    return {
        "id": served.name, "object": "model", "created": served.created, "owned_by": "microtensor"
    }  # fmt: skip


async def _body(request):
    """The bytes of a request. Refused if they are too many, or not said to be JSON."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":  # which no page of another site may send without being asked
        raise Refused("the Content-Type must be application/json", 415)
    body = bytearray()
    try:
        async with asyncio.timeout(PATIENCE):
            async for part in request.stream():
                body += part
                if len(body) > LARGEST:
                    words = f"the body has more than {LARGEST:,} bytes"
                    raise Refused(words, 413, "body_too_large")
    except ClientDisconnect:
        raise Refused("the request was cut off", 400) from None
    except TimeoutError:
        raise Refused(f"the body did not come within {PATIENCE} seconds", 408) from None
    return bytes(body)


class Stream(Response):
    """An answer, as one object or as a stream of events, that ends when its client has gone."""

    def __init__(self, server, answer, jobs, events):
        self.server, self.answer, self.jobs, self.events = server, answer, jobs, events
        self.background = None

    async def __call__(self, scope, receive, send):
        gone = asyncio.ensure_future(_left(receive))
        self.server.open += 1
        try:
            await (self.stream if self.answer.wanted.stream else self.whole)(gone, send)
        except (OSError, ClientDisconnected):
            self.server.count(499)
        finally:
            self.server.open -= 1
            gone.cancel()
            for job in self.jobs:
                job.cancel()

    async def tokens(self, gone):
        """Every (choice, text, entry, reason) until all choices end, or ClientDisconnected."""
        left = len(self.jobs)
        while left:
            if self.events.empty():
                new = asyncio.ensure_future(self.events.get())
                await asyncio.wait([new, gone], return_when=asyncio.FIRST_COMPLETED)
                if not new.done():
                    new.cancel()
                    raise ClientDisconnected
                event = new.result()
            else:
                event = self.events.get_nowait()
            if gone.done():
                raise ClientDisconnected
            left -= event[3] is not None
            yield event

    async def whole(self, gone, send):
        texts, entries = [""] * len(self.jobs), [[] for _ in self.jobs]
        async for choice, text, entry, reason in self.tokens(gone):
            texts[choice.index] += text
            entries[choice.index] += [entry] if entry else []
            if reason in ("error", "cut"):
                await self.reply(send, *_problem(choice))
                return
        await self.reply(send, self.answer.whole(texts, entries), 200)

    async def reply(self, send, value, status):
        self.server.count(status)
        body = _json(value)
        headers = [(b"content-type", b"application/json"),
                   (b"content-length", str(len(body)).encode())]  # fmt: skip
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def stream(self, gone, send):
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"),
                   (b"cache-control", b"no-cache")]  # fmt: skip
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        begun = set()

        async def event(value, more=True):
            data = value if isinstance(value, bytes) else _json(value)
            data = b"data: " + data + b"\n\n"
            await send({"type": "http.response.body", "body": data, "more_body": more})

        for choice in self.answer.choices if self.answer.wanted.echo else ():
            await event(self.answer.chunk(choice, self.answer.wanted.echo[choice.prompt], None))
        async for choice, text, entry, reason in self.tokens(gone):
            if reason in ("error", "cut"):
                self.server.count(200)
                await event(_problem(choice)[0])
                await event(b"[DONE]", more=False)
                return
            first = choice.index not in begun
            begun.add(choice.index)
            if text or entry or first:
                await event(self.answer.chunk(choice, text, entry, first=first))
            if reason:
                await event(self.answer.chunk(choice, "", None, reason))
        if self.answer.wanted.include_usage:
            await event(self.answer.last_chunk())
        self.server.count(200)
        await event(b"[DONE]", more=False)


class ClientDisconnected(Exception):
    """The client has closed its connection."""


async def _left(receive):
    """Wait until the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _problem(choice):
    """An error for a text that did not come to its end, and its status."""
    if choice.reason == "cut":
        error = Refused(CUT, 503, "shutting_down", kind="server_error")
    else:
        error = Refused(f"the text failed: {choice.error}", 500, kind="server_error")
    return error.body(), error.status


def _json(value):
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")


# ---- Prometheus ----------------------------------------------------------------------------------


def metrics(server):
    """The counts of events so far, in the text format of Prometheus."""
    engine = server.engine
    first = engine.counts["first_tokens"]
    shown = {
        "requests_open": ("gauge", "requests that are being answered", server.open),
        "texts_running": ("gauge", "texts that have a row", len(engine.running)),
        "texts_waiting": ("gauge", "texts that wait for a row", len(engine.queue)),
        "tokens_total": ("counter", "tokens that were made", engine.counts["tokens"]),
        "texts_cancelled_total": (
            "counter", "texts whose client had gone", engine.counts["cancelled"]
        ),
        "errors_total": ("counter", "steps of the engine that failed", engine.counts["errors"]),
        "uptime_seconds": ("gauge", "since the start", round(time.time() - server.started, 3)),
    }  # fmt: skip
    lines = []
    for name, (kind, about, value) in shown.items():
        name = f"microtensor_{name}"
        lines += [f"# HELP {name} {about}", f"# TYPE {name} {kind}", f"{name} {value}"]
    name = "microtensor_first_token_seconds"
    lines += [f"# HELP {name} from a request to its first token", f"# TYPE {name} summary"]
    lines += [f"{name}_sum {engine.first_token_seconds:.6f}", f"{name}_count {first}"]
    name = "microtensor_requests_total"
    lines += [f"# HELP {name} requests for text by status (499: the client left)"]
    lines += [f"# TYPE {name} counter"]
    lines += [f'{name}{{status="{s}"}} {n}' for s, n in sorted(server.answered.items())]
    return "\n".join(lines) + "\n"
