"""The playground over HTTP: the page, its files, a stream of states, and what buttons ask for.

Only pages of this server may ask: a request must name the server's own address as its Host, and
what changes anything must come from a page of that address (Origin) as JSON. With a token, every
request must have it, in the address or in a cookie. Nothing that comes in is a path or HTML.
"""

import asyncio
import contextlib
import hmac
import json
import re
import tempfile
from concurrent.futures import Future
from functools import partial
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    StreamingResponse,
)
from starlette.routing import Route

import microtensor as mt
from microtensor.utils.pages import printable

from ... import files
from . import looks, sizes, texts

PAGE = Path(__file__).parents[3] / "demos" / "playground"
KINDS = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
# 'unsafe-eval' lets tests that drive a browser wait for an expression; the page evaluates none
POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-eval'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; frame-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
LARGEST = 64 * 1024  # bytes of a question
STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"')  # in JSON
ONE_PICTURE = asyncio.Lock()  # at a time
LARGEST_TEXT = 4 * texts.LONGEST  # bytes of a text
SECONDS = 0.1  # from one state in a stream to the next
POINTS = 2000  # of a curve, when a page is opened
COOKIE = "playground-token"


class Refused(ValueError):
    """The error that a request gets instead of an answer."""

    def __init__(self, status, sentence):
        super().__init__(sentence)
        self.status = status


def application(lab, hosts, token=None, ended=lambda: False, shakespeare=None):
    """The ASGI application. `hosts` are the addresses, with port, that the server is known by."""
    routes = [Route("/", partial(page, lab))]
    for path, answer in {
        "/api/state": state,
        "/api/events": events,
        "/api/sliders": sliders,
        "/api/pictures/{name}": picture,
    }.items():
        routes.append(Route(path, partial(answer, lab)))
    commands = {
        "train": lab.train,
        "pause": lab.pause,
        "step": lab.one_step,
        "reset": lab.reset,
    }
    for name, command in commands.items():
        routes.append(Route(f"/api/{name}", partial(change, lab, command), methods=["POST"]))
    routes += [
        Route("/api/settings", partial(settings, lab), methods=["POST"]),
        Route("/api/load", partial(load, lab), methods=["POST"]),
        Route("/api/text", partial(text, lab, shakespeare), methods=["POST"]),
        Route("/api/tokens", partial(tokens, lab), methods=["POST"]),
        Route("/{name}", partial(own_file, lab)),
    ]
    questions = {
        "next": looks.next_token,
        "suggestions": looks.suggestions,
        "temperatures": looks.at_temperatures,
        "inside": looks.look_inside,
    }
    for name, question in questions.items():
        routes.append(Route(f"/api/{name}", partial(ask, lab, question), methods=["POST"]))
    app = Starlette(routes=routes)
    app.state.ended = ended
    return PageRequestsOnly(app, hosts, token)


class PageRequestsOnly:
    """Lets only requests through that pages of this server make: see the top of this file."""

    def __init__(self, app, hosts, token):
        self.app, self.hosts, self.token = app, set(hosts), token

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http":
            request = Request(scope)
            try:
                self.check(request)
            except Refused as refused:
                answer = JSONResponse({"error": str(refused)}, refused.status)
                return await answer(scope, receive, send)
            send = self.with_headers(send, request)
        return await self.app(scope, receive, send)

    def check(self, request):
        if request.headers.get("host") not in self.hosts:
            raise Refused(403, "This server is not known by that address.")
        origin = request.headers.get("origin")
        if origin is not None and origin not in {f"http://{host}" for host in self.hosts}:
            raise Refused(403, "Only the playground's own page may ask.")
        site = request.headers.get("sec-fetch-site")
        if request.url.path != "/" and site not in (None, "same-origin", "none"):
            raise Refused(403, "Only the playground's own page may ask.")  # its pictures, too
        if request.method == "POST":
            kind = request.headers.get("content-type", "").split(";")[0]
            if kind != "application/json":
                raise Refused(415, "JSON is needed.")
        if self.token is not None:
            given = request.query_params.get("token") or request.cookies.get(COOKIE, "")
            if not hmac.compare_digest(given.encode(), self.token.encode()):
                raise Refused(403, "The address needs the token that the program has printed.")

    def with_headers(self, send, request):
        async def sending(message):
            if message["type"] == "http.response.start":
                headers = message["headers"]
                names = {name for name, _ in headers}
                if b"content-security-policy" not in names:
                    headers.append((b"content-security-policy", POLICY.encode()))
                headers += [
                    (b"x-content-type-options", b"nosniff"),
                    (b"referrer-policy", b"no-referrer"),
                    (b"cache-control", b"no-store"),
                ]
                if self.token is not None and request.query_params.get("token"):
                    cookie = f"{COOKIE}={self.token}; HttpOnly; SameSite=Strict; Path=/"
                    headers.append((b"set-cookie", cookie.encode()))
            await send(message)

        return sending


# ---- answers -------------------------------------------------------------------------------------


def errors_as_answers(function):
    """Errors as a status and a sentence; what nobody expected is one, too, without its insides."""

    async def answering(lab, *arguments):
        try:
            return await function(lab, *arguments)
        except Refused as refused:
            return JSONResponse({"error": str(refused)}, refused.status)
        except (ValueError, LookupError, RuntimeError, ArithmeticError, MemoryError) as error:
            sentence = str(error) or "There is not enough memory."
            return JSONResponse({"error": printable(sentence)}, 400)
        except OSError as error:
            return JSONResponse({"error": printable(error.strerror or str(error))}, 500)

    return answering


async def answer_of(future: Future):
    return await asyncio.wrap_future(future)


async def body_of(request, largest=LARGEST):
    """The JSON object that came in, of so many bytes at most."""
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > largest:
            raise Refused(413, f"At most {largest:,} bytes are taken.")
    if len(data) > LARGEST and len(STRINGS.sub(b"", data)) > LARGEST:
        raise Refused(413, "Only a text may be as long as that.")
    try:
        value = files.parsed(bytes(data) or b"{}")
    except (ValueError, UnicodeDecodeError):
        raise Refused(400, "That is no JSON.") from None
    if type(value) is not dict:
        raise Refused(400, "A JSON object is needed.")
    return value


KINDS_ASKED = {
    "text": str,
    "model": str,
    "choose": bool,
    "token": int,
    "ids": list,
    "number": int,
    "source": str,
    "name": str,
    "kind": str,
}


def checked(value):
    """The values of a request, checked: each name with a value of its kind."""
    for name, kind in KINDS_ASKED.items():
        if name in value and type(value[name]) is not kind:
            raise Refused(400, f"{name} must be a {kind.__name__}, got {value[name]!r:.40}.")
    if not all(type(i) is int for i in value.get("ids", ())):
        raise Refused(400, "ids must be integers.")
    return value


async def page(lab, request):
    return FileResponse(PAGE / "index.html", media_type="text/html")


async def own_file(lab, request):
    """A file of the page, by its name alone."""
    there = {path.name: path for path in PAGE.iterdir() if path.suffix in KINDS}
    path = there.get(request.path_params["name"])
    if path is None:
        return JSONResponse({"error": "There is no such page."}, 404)
    return FileResponse(path, media_type=KINDS[path.suffix])


async def sliders(lab, request):
    return JSONResponse(
        {"sliders": sizes.described(), "models": looks.MODELS, "tokens": texts.KINDS}
    )


async def state(lab, request):
    return JSONResponse(lab.state)


async def events(lab, request):
    """States as server-sent events, ten a second at most, each with new points of the curves."""
    ended = request.app.state.ended

    async def stream():
        seen, trainer, points = None, None, 0
        yield "retry: 1000\n\n"
        while not ended():
            now = lab.state
            if now["version"] != seen:
                first = trainer is not lab.trainer
                trainer = lab.trainer
                losses, validation = trainer.losses, list(trainer.validation)
                start = 0 if first else points
                points = len(losses)
                stride = max(1, (points - start) // POINTS)
                curve = [[i + 1, losses[i]] for i in range(start, points, stride)]
                seen = now["version"]
                message = {**now, "points": curve, "first": first, "validation": validation}
                yield f"data: {json.dumps(message)}\n\n"
            await asyncio.sleep(SECONDS)

    return StreamingResponse(stream(), media_type="text/event-stream")


@errors_as_answers
async def change(lab, command, request):
    await body_of(request)
    await answer_of(lab.ask(command))
    return JSONResponse(lab.state)


@errors_as_answers
async def settings(lab, request):
    await answer_of(lab.ask(lab.choose, await body_of(request)))
    return JSONResponse(lab.state)


@errors_as_answers
async def load(lab, request):
    asked = checked(await body_of(request))
    await answer_of(lab.ask(lab.load, asked.get("number")))
    return JSONResponse(lab.state)


@errors_as_answers
async def text(lab, shakespeare, request):
    """Learn from another text: Shakespeare, or one that came in."""
    asked = checked(await body_of(request, LARGEST_TEXT))
    kind = asked.get("kind", "char")
    if asked.get("source") == "shakespeare":
        name, words = "Shakespeare", await asyncio.to_thread(shakespeare)
    else:
        name, words = printable(asked.get("name", "your text"))[:80], asked.get("text", "")
        words = words.replace("\r\n", "\n").replace("\r", "\n")
    vocabulary = lab.settings["vocabulary"]
    data = await asyncio.to_thread(texts.data, name, words, kind, vocabulary)
    await answer_of(lab.ask(lab.learn_from, data))
    return JSONResponse(lab.state)


@errors_as_answers
async def tokens(lab, request):
    """The tokens of what was typed, and windows of the text as the model gets them."""
    asked = checked(await body_of(request))
    tokenizer = lab.data.tokenizer
    ids = looks.encoded(tokenizer, asked.get("text", ""))
    return JSONResponse({"tokens": texts.shown(tokenizer, ids)})


@errors_as_answers
async def ask(lab, question, request):
    asked = checked(await body_of(request))
    return JSONResponse(await answer_of(lab.ask(question, lab, asked)))


@errors_as_answers
async def picture(lab, request):
    """One of the project's own pictures as a page; drawn beside the lab's thread."""
    make = looks.PICTURES.get(request.path_params["name"])
    if make is None:
        return JSONResponse({"error": "There is no such picture."}, 404)

    def rendered(drawing):
        with tempfile.TemporaryDirectory() as folder, contextlib.suppress(OSError):
            path = Path(mt.graph.render(drawing, Path(folder) / "picture.html"))
            return path.suffix, path.read_text("utf-8")
        return None, ""

    async with ONE_PICTURE:
        suffix, html = await asyncio.to_thread(rendered, await answer_of(lab.ask(make, lab)))
    if suffix != ".html":
        sentence = 'Pictures need graphviz: pip install -e ".[viz]".'
        return JSONResponse({"error": sentence}, 503)
    return HTMLResponse(html, headers={"content-security-policy": "frame-ancestors 'self'"})
