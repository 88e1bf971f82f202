"""What the guard lets through and what it refuses, in front of an application that says yes."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

import numpy as np
import pytest
from PIL import Image

from tlx_plugins.viewers.guard import Guard

PORT = 5151
TOKEN = "secret-token"
HOST = {"host": f"127.0.0.1:{PORT}"}
KNOWN = {**HOST, "cookie": f"theme=dark; tlx_{PORT}={TOKEN}"}
IMAGE = "/data/city drive/a.jpg"


async def application(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"yes"})


def guard(**settings: Any) -> Guard:
    return Guard(application, port=PORT, token=TOKEN, media={IMAGE}, **settings)


def ask(
    target: str,
    headers: dict[str, str],
    *,
    door: Guard | None = None,
    method: str = "GET",
    query: str = "",
    kind: str = "http",
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer to one request."""
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "websocket.connect"}

    scope = {
        "type": kind,
        "method": method,
        "path": target,
        "query_string": query.encode(),
        "headers": [(n.encode(), v.encode()) for n, v in headers.items()],
    }
    asyncio.run((door or guard())(scope, receive, send))
    start = sent[0]
    if start["type"] == "websocket.close":
        return start["code"], {}, b""
    answered = {n.decode(): v.decode() for n, v in start["headers"]}
    return start["status"], answered, sent[1]["body"]


def test_raw_sensor_data_goes_out_as_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    raw = tmp_path / "a b" / "DE_1_k0.tiff"
    raw.parent.mkdir()
    Image.fromarray(np.full((4, 6), 1600, np.uint16)).save(raw)
    asked: list[str] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        asked.append(parse_qs(scope["query_string"].decode())["filepath"][0])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"yes"})

    door = Guard(application, port=PORT, token=TOKEN, media={str(raw), IMAGE})
    for name in (str(raw), IMAGE):
        query = urlencode({"filepath": name})
        assert ask("/media", KNOWN, door=door, query=query)[0] == 200
    with Image.open(asked[0]) as image:
        assert (image.format, image.size, image.getpixel((1, 1))) == ("JPEG", (6, 4), (100,) * 3)
    assert asked[0].startswith(str(tmp_path / "cache"))
    assert asked[1] == IMAGE
    assert ask("/media", KNOWN, door=door, query=urlencode({"filepath": asked[0]}))[0] == 403


def test_the_token_opens_the_page_and_leaves_the_address() -> None:
    status, headers, _ = ask("/datasets/a b", HOST, query=f"token={TOKEN}&view=mistakes")
    assert status == 303
    assert headers["location"] == "/datasets/a%20b?view=mistakes"
    assert headers["set-cookie"] == f"tlx_{PORT}={TOKEN}; Path=/; HttpOnly; SameSite=Strict"
    cookie = headers["set-cookie"].partition(";")[0]
    status, headers, body = ask("/datasets/a b", {**HOST, "cookie": cookie})
    assert (status, body) == (200, b"yes")
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]


def test_after_a_click_elsewhere_our_own_page_leads_on() -> None:
    click = {
        **HOST,
        "sec-fetch-site": "cross-site",
        "sec-fetch-mode": "navigate",
        "sec-fetch-dest": "document",
    }
    status, headers, body = ask("/", click, query=f"token={TOKEN}&view=%22%3E%3Cb")
    assert status == 200
    assert "set-cookie" in headers
    assert b'url=/?view=%22%3E%3Cb"' in body


def test_a_redirect_stays_on_this_host() -> None:
    status, headers, _ = ask("//evil.example/\r\nx", HOST, query=f"token={TOKEN}")
    assert status == 303
    assert headers["location"] == "/evil.example/%0D%0Ax"


def test_a_ticket_works_once() -> None:
    door = guard(tickets=("once",))
    assert ask("/", HOST, door=door, query="token=once")[0] == 303
    assert ask("/", HOST, door=door, query="token=once")[0] == 401


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        (HOST, ""),
        (HOST, "token=wrong"),
        (HOST, "token="),
        (HOST, "token=%C3%A9"),
        ({**HOST, "cookie": f"tlx_{PORT}=wrong"}, ""),
        ({**HOST, "cookie": f"tlx_5152={TOKEN}"}, ""),
        ({**HOST, "cookie": 'tlx_5151="'}, ""),
        (KNOWN, "token=wrong"),
    ],
)
def test_without_the_token_nothing_is_answered(headers: dict[str, str], query: str) -> None:
    status, answered, body = ask("/graphql", headers, query=query)
    assert status == 401
    assert "set-cookie" not in answered
    assert TOKEN.encode() not in body


@pytest.mark.parametrize("host", ["evil.example", f"evil.example:{PORT}", "127.0.0.1:80", ""])
def test_a_foreign_host_name_is_refused(host: str) -> None:
    assert ask("/", {**KNOWN, "host": host})[0] == 421


def test_a_repeated_host_is_refused() -> None:
    async def never(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("it was let through")

    door = Guard(never, port=PORT, token=TOKEN, media=())
    headers = [(b"host", f"127.0.0.1:{PORT}".encode()), (b"host", b"evil.example")]
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers}
    asyncio.run(door(scope, send, send))  # type: ignore[arg-type]
    assert sent[0]["status"] == 421


@pytest.mark.parametrize(
    "foreign",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:8888"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "cors"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
    ],
)
def test_another_page_cannot_act_for_the_user(foreign: dict[str, str]) -> None:
    assert ask("/operators/execute", {**KNOWN, **foreign}, method="POST")[0] == 403
    assert ask("/graphql", {**KNOWN, **foreign})[0] == 403


def test_a_form_of_another_page_is_refused_although_it_navigates() -> None:
    form = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    headers = {**KNOWN, **form, "sec-fetch-dest": "document"}
    assert ask("/tag", headers, method="POST")[0] == 403


def test_our_own_page_may_write() -> None:
    own = {"origin": f"http://127.0.0.1:{PORT}", "sec-fetch-site": "same-origin"}
    assert ask("/tag", {**KNOWN, **own}, method="POST")[0] == 200


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("filepath=/data/city%20drive/a.jpg", 200),
        ("filepath=/data/city+drive/a.jpg", 200),
        ("filepath=/etc/passwd", 403),
        ("filepath=/data/city%20drive/../../etc/passwd", 403),
        ("filepath=/data/city%20drive/a.jpg&filepath=/etc/passwd", 403),
        ("filepath=/data/city%20drive/b.jpg", 403),
        ("", 403),
    ],
)
@pytest.mark.parametrize("path", ["/media", "/media/"])
def test_only_images_of_the_dataset_are_given_out(path: str, query: str, status: int) -> None:
    assert ask(path, KNOWN, query=query)[0] == status


def test_code_of_plugins_is_not_given_out() -> None:
    assert ask("/plugins/tlx/__init__.py", KNOWN)[0] == 403
    assert ask("/plugins/tlx/fiftyone.yml", KNOWN)[0] == 403
    assert ask("/plugins/tlx/dist/index.umd.js", KNOWN)[0] == 200
    assert ask("/plugins", KNOWN)[0] == 200


def test_a_websocket_without_token_is_closed() -> None:
    assert ask("/events", HOST, kind="websocket")[0] == 1008
