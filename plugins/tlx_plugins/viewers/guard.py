"""A door before FiftyOne's web server, which has none of its own.

Unguarded, the server gives every file of the user to whoever reaches the port, runs Python code
that comes with a request, and takes such requests from any web page that is open in the browser.
The guard is plain ASGI (https://asgi.readthedocs.io) and lets a request through only if

1. ``Host`` is ours: a name that was rebound to 127.0.0.1 is answered 421;
2. it comes from our own page: a foreign ``Origin``, or ``Sec-Fetch-Site`` (Fetch Metadata, W3C)
   that says so, is answered 403;
3. it carries the session's token: 401. The token comes once in the URL and is then kept in a
   cookie that scripts cannot read and that other sites do not send;
4. a file asked for is an image of a loaded dataset: 403;
5. a plugin's file is one that a browser needs, not its Python code: 403.

What goes out carries a content security policy, so that the page can load nothing from elsewhere.
"""

from __future__ import annotations

import asyncio
import hmac
import html
import re
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, quote, urlencode

from tlx.pixels import shown_path

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

_POLICY = (
    b"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'none'; "
    b"form-action 'self'; base-uri 'self'"
)
_PLUGIN_FILES = re.compile(r"\.(?:js|css|svg|png|map)$")
_PLAIN = (b"content-type", b"text/plain; charset=utf-8")
_REASONS = {
    401: "This page needs the address with the token that tlx inspect printed.",
    403: "Refused.",
    421: "Refused: this server answers only at the address that tlx inspect printed.",
}


class Guard:
    """Lets requests of the user's own browser page through to ``application``.

    Args:
        application: The ASGI application behind the guard.
        port: The port that is listened on, at 127.0.0.1.
        token: The session's secret.
        media: Paths of the files that ``/media`` may give out, exactly as they are asked for.
        tickets: Tokens that work once: for a URL that other users may see on a command line.
    """

    def __init__(
        self,
        application: Application,
        *,
        port: int,
        token: str,
        media: Collection[str],
        tickets: Collection[str] = (),
    ) -> None:
        self.application = application
        self.hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        self.origins = {f"http://{host}" for host in self.hosts}
        # Cookies do not tell ports apart, so two sessions need two names.
        self.cookie = f"tlx_{port}"
        self.token = token
        self.tickets = set(tickets)
        self.media = media

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one connection, as ASGI has it."""
        if scope["type"] == "lifespan":
            await self.application(scope, receive, send)
            return
        headers = _headers(scope)
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        status = self._foreign(scope, headers)
        if status is None and (given := query.get("token")):
            if self._admits(given[-1]):
                await self._welcome(scope, headers, query, send)
                return
            status = 401
        if status is None and not self._known(headers):
            status = 401
        if status is None and not self._open(scope["path"], query):
            status = 403
        if status is not None:
            await _refuse(scope, receive, send, status)
            return

        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(b"content-security-policy", _POLICY), (b"referrer-policy", b"no-referrer")]
                message = {**message, "headers": [*message.get("headers", ()), *own]}
            await send(message)

        if str(scope["path"]).rstrip("/") == "/media":
            scope = await asyncio.to_thread(_with_viewable, scope, query)
        await self.application(scope, receive, send_with_policy)

    def _foreign(self, scope: Message, headers: dict[str, str]) -> int | None:
        """The status for a request that another site made, None for one of our own."""
        if headers.get("host") not in self.hosts:
            return 421
        if "origin" in headers and headers["origin"] not in self.origins:
            return 403
        site = headers.get("sec-fetch-site", "none")
        navigation = headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")
        typed = scope.get("method") == "GET" and navigation == ("navigate", "document")
        if site not in ("none", "same-origin") and not typed:
            return 403
        return None

    def _admits(self, given: str) -> bool:
        if given in self.tickets:
            self.tickets.discard(given)
            return True
        return hmac.compare_digest(given.encode(), self.token.encode())

    def _known(self, headers: dict[str, str]) -> bool:
        try:
            cookies = SimpleCookie(headers.get("cookie", ""))
        except CookieError:
            return False
        morsel = cookies.get(self.cookie)
        return morsel is not None and hmac.compare_digest(
            morsel.value.encode(), self.token.encode()
        )

    def _open(self, path: str, query: dict[str, list[str]]) -> bool:
        if path.rstrip("/") == "/media":
            asked = query.get("filepath", [])
            return bool(asked) and all(name in self.media for name in asked)
        if path.startswith("/plugins/"):
            return _PLUGIN_FILES.search(path) is not None
        return True

    async def _welcome(
        self, scope: Message, headers: dict[str, str], query: dict[str, list[str]], send: Send
    ) -> None:
        """Put the token into a cookie and lead on to the address without it."""
        rest = urlencode({k: v for k, v in query.items() if k != "token"}, doseq=True)
        # A path that starts with two slashes would lead to another host.
        path = "/" + str(scope["path"]).lstrip("/")
        target = quote(path) + (f"?{rest}" if rest else "")
        cookie = f"{self.cookie}={self.token}; Path=/; HttpOnly; SameSite=Strict"
        own = [(b"set-cookie", cookie.encode()), (b"referrer-policy", b"no-referrer")]
        if headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
            await _answer(send, 303, [(b"location", target.encode()), _PLAIN, *own], b"")
            return
        # After a click on another page the browser would withhold the cookie from a redirect; it
        # sends it when our own page leads on.
        page = f'<!doctype html><meta http-equiv="refresh" content="0;url={html.escape(target)}">'
        kind = (b"content-type", b"text/html; charset=utf-8")
        await _answer(send, 200, [kind, *own], page.encode())


def _with_viewable(scope: Message, query: dict[str, list[str]]) -> Message:
    """The request with a picture that a browser shows in place of raw sensor data."""
    asked = query["filepath"]
    shown = [shown_path(name) for name in asked]
    if shown == asked:
        return scope
    changed = urlencode({**query, "filepath": shown}, doseq=True)
    return {**scope, "query_string": changed.encode("latin-1")}


def _headers(scope: Message) -> dict[str, str]:
    """Headers by lower-case name. Repeated ones are joined, so that a double is refused."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope.get("headers", ()):
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        joint = "; " if name == "cookie" else ", "
        headers[name] = f"{headers[name]}{joint}{value}" if name in headers else value
    return headers


async def _refuse(scope: Message, receive: Receive, send: Send, status: int) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})
        return
    await _answer(send, status, [_PLAIN], _REASONS[status].encode())


async def _answer(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    fixed = [(b"content-length", str(len(body)).encode()), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *fixed]})
    await send({"type": "http.response.body", "body": body})
