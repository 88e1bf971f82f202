"""One address, from the first request to the image in its place."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import NamedTuple

import urllib3
from urllib3 import exceptions

from tlx.fetched import Settled
from tlx_plugins.fetching.check import KINDS, check_image, note_on
from tlx_plugins.fetching.client import Client, check_address, explained
from tlx_plugins.fetching.failure import Failure
from tlx_plugins.fetching.ledger import Ledger, Part, Validators
from tlx_plugins.fetching.naming import split_suffix
from tlx_plugins.fetching.pace import Pace, retry_after

_CHUNK = 1 << 16
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_NO_IMAGE = ("text/html", "application/json", "application/xml", "text/xml", "application/pdf")
_REASONS = {401: "no-permission", 403: "no-permission", 404: "not-found", 410: "not-found"}
_LONGEST_PAUSE = 60.0
_SLOW_SPAN = 20.0
"""Seconds over which the speed of a transfer is judged."""


class Wanted(NamedTuple):
    """An address that a list names.

    Attributes:
        url: The address.
        name: Where its image goes below the folder, with an image's ending or without.
        line: Line in the list, from 1.
    """

    url: str
    name: str
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """When to give up.

    Attributes:
        attempts: Requests for one address.
        longest_wait: Seconds that a server may ask to wait.
        bytes: Size of one file.
        slowest: Bytes per second, over 20 s, below which a transfer is broken off.
    """

    attempts: int = 4
    longest_wait: float = 120.0
    bytes: int = 64 << 20
    slowest: int = 1024


class Transfer:
    """Fetches addresses; used by all workers at once.

    Args:
        client: Asks.
        ledger: Remembers.
        pace: Whose turn it is.
        limits: When to give up.
    """

    def __init__(self, client: Client, ledger: Ledger, pace: Pace, limits: Limits) -> None:
        self.client = client
        self.ledger = ledger
        self.pace = pace
        self.limits = limits

    def fetch(self, wanted: Wanted) -> Settled:
        """Fetch one address, with as many attempts as it takes and is allowed.

        Raises:
            Stopped: If the job is over.
            OSError: If the disk refuses.
        """
        part = self.ledger.part(wanted.url)
        attempt = 0
        while True:
            attempt += 1
            try:
                content_type = self._load(wanted.url, part)
                return self._adopt(wanted, part, content_type, attempt)
            except Failure as failure:
                self.pace.sleep(0)  # Whoever is called back has not failed.
                if not failure.again or attempt >= self.limits.attempts:
                    if not failure.again:
                        part.remove()
                    return self._failed(wanted, failure, attempt)
                if failure.wait is not None and failure.wait > self.limits.longest_wait:
                    return self._failed(wanted, failure, attempt)
                self._pause(wanted.url, failure, attempt)

    def _pause(self, url: str, failure: Failure, attempt: int) -> None:
        # Half of the pause is left to chance, so that workers do not come back all at once.
        pause = min(_LONGEST_PAUSE, 0.5 * 2.0 ** (attempt - 1))
        pause *= 0.5 + random.random() / 2  # noqa: S311 - no secret
        if failure.wait is not None:
            pause = max(pause, failure.wait)
            self.pace.hold(check_address(url).netloc.lower(), failure.wait)
        self.pace.sleep(pause)

    def _failed(self, wanted: Wanted, failure: Failure, attempts: int) -> Settled:
        entry = Settled(
            url=wanted.url,
            status="failed",
            reason=failure.reason,
            detail=self.client.access.without_token(failure.detail),
            http_status=failure.http_status,
            attempts=attempts,
        )
        self.ledger.settle(entry)
        return entry

    def _adopt(self, wanted: Wanted, part: Part, kind: str | None, attempts: int) -> Settled:
        picture = check_image(part.path, kind)
        name = wanted.name
        note = note_on(picture, name, kind)
        if not split_suffix(name)[1]:
            name += KINDS[picture.kind]
        entry = Settled(
            url=wanted.url,
            status="fetched",
            bytes=part.path.stat().st_size,
            width=picture.width,
            height=picture.height,
            kind=picture.kind,
            http_status=200,
            attempts=attempts,
            note=None if note is None else self.client.access.without_token(note),
        )
        return self.ledger.adopt(entry, part, name)

    def _load(self, url: str, part: Part) -> str | None:
        """Bring the whole file to its part; returns what the server says that it is."""
        begun, known = part.begun()
        headers = {}
        if begun and known is not None and known.condition is not None:
            headers = {"Range": f"bytes={begun}-", "If-Range": known.condition}
        response = self.client.open(url, headers)
        whole = False
        try:
            kind = self._answer(response, part, begun, known)
            whole = True
        except exceptions.HTTPError as error:
            raise explained(error) from error
        finally:
            # Only after a whole body the connection can be asked for something else.
            if whole:
                response.release_conn()
            else:
                response.close()
        return kind

    def _answer(
        self,
        response: urllib3.BaseHTTPResponse,
        part: Part,
        begun: int,
        known: Validators | None,
    ) -> str | None:
        status = response.status
        if status == 416 or (status == 206 and not _is_the_rest(response, begun, known)):
            part.remove()
            raise Failure("range", "does not send the part that was asked for.", again=True)
        self._judge(response)
        start = begun if status == 206 else 0
        kind = (response.headers.get("Content-Type") or "").partition(";")[0].strip().lower()
        if kind in _NO_IMAGE:
            raise Failure("wrong-type", f"is {kind}, no image.", http_status=status)
        self._check_length(response, start)
        self._receive(response, part, start)
        return kind or None

    def _judge(self, response: urllib3.BaseHTTPResponse) -> None:
        status = response.status
        if status in {200, 206}:
            return
        text = f"answers {status} {(response.reason or '')[:60]}".strip() + "."
        wait = retry_after(response.headers.get("Retry-After"), time.time())
        if wait is not None and wait > self.limits.longest_wait:
            text += f" It asks to wait {wait:.0f} s, longer than --longest-wait."
        raise Failure(
            _REASONS.get(status, "http-status"),
            text,
            again=status in _AGAIN,
            http_status=status,
            wait=wait,
        )

    def _check_length(self, response: urllib3.BaseHTTPResponse, start: int) -> None:
        stated = response.headers.get("Content-Length", "")
        if stated.isascii() and stated.isdigit() and len(stated) < 20:
            self._check_size(start + int(stated))

    def _check_size(self, size: int) -> None:
        if size > self.limits.bytes:
            raise Failure(
                "too-large", f"has more than {self.limits.bytes} bytes; --max-size allows more."
            )

    def _receive(self, response: urllib3.BaseHTTPResponse, part: Part, start: int) -> None:
        size, span_began, span_size = start, time.monotonic(), start
        with part.open(_validators(response), append=start > 0) as file:
            while chunk := response.read1(_CHUNK, decode_content=True):
                size += len(chunk)
                self._check_size(size)
                self.pace.spend(len(chunk))
                file.write(chunk)
                file.flush()  # What has come is there even after a kill.
                elapsed = time.monotonic() - span_began
                if elapsed > _SLOW_SPAN:
                    if (size - span_size) / elapsed < self.limits.slowest:
                        raise Failure("too-slow", "comes too slowly; broken off.", again=True)
                    span_began, span_size = time.monotonic(), size
        if size == 0:
            raise Failure("empty", "is an empty file.")


def _validators(response: urllib3.BaseHTTPResponse) -> Validators:
    """What the rest of a response could be asked for with; nothing where that is not exact."""
    if response.headers.get("Content-Encoding", "identity") != "identity":
        return Validators()
    etag = response.headers.get("ETag")
    strong = etag if etag and etag.startswith('"') and len(etag) < 1000 else None
    return Validators(strong, (response.headers.get("Last-Modified") or "")[:100] or None)


def _is_the_rest(response: urllib3.BaseHTTPResponse, begun: int, known: Validators | None) -> bool:
    """Whether a partial body begins where the file ends that is there, and is of the same file."""
    said = response.headers.get("Content-Range", "")
    same = known is not None and _validators(response).etag in {None, known.etag}
    return begun > 0 and same and said.startswith(f"bytes {begun}-")
