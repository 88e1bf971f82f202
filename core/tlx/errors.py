"""The exception tree: what went wrong, where, and what to do next.

Library code raises these and never prints or exits; `tlx.cli` is the one place that turns them
into text and an exit code.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the user's material something was found.

    Attributes:
        path: The file or folder, as the user knows it.
        line: Line number, counted from 1.
        pointer: A place inside a structured file, such as ``$.images[3].width``.
    """

    path: str
    line: int | None = None
    pointer: str | None = None

    def __str__(self) -> str:
        text = self.path if self.line is None else f"{self.path}:{self.line}"
        return text if self.pointer is None else f"{text} at {self.pointer}"


class TlxError(Exception):
    """Base of all errors that tlx explains by itself.

    Args:
        message: One sentence: what is wrong.
        place: Where it is wrong.
        hint: One sentence: what to do next.
    """

    exit_code = 1

    def __init__(
        self, message: str, *, place: Place | Path | str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.place = place if place is None or isinstance(place, Place) else Place(str(place))
        self.hint = hint

    def __str__(self) -> str:
        text = self.message if self.place is None else f"{self.place}: {self.message}"
        return text if self.hint is None else f"{text} {self.hint}"


class UsageError(TlxError):
    """A name, an option or a path that the user gave is wrong."""

    exit_code = 2


class DataError(TlxError):
    """A file does not hold what it should."""

    exit_code = 3


class PluginError(TlxError):
    """A plugin broke its contract or failed with an exception of its own."""

    exit_code = 4


class MissingExtra(TlxError):
    """An optional dependency is not installed.

    Args:
        what: What was asked for, as a noun phrase ("the torch backend").
        extra: Name of the extra of the distribution that brings it.
        reason: What exactly is missing, when more than the package itself can be said.
    """

    exit_code = 5

    def __init__(self, what: str, extra: str, reason: str | None = None) -> None:
        detail = f" ({reason})" if reason else ""
        super().__init__(
            f"{what} needs packages that are not installed{detail}.",
            hint=f"Install them with: pip install 'tlx[{extra}]'",
        )
        self.extra = extra


class MissingEnvironment(TlxError):
    """The Python environment of a backend is not installed, or no longer usable."""

    exit_code = 5


class Interrupted(TlxError):
    """The user stopped a job that can be gone on with."""

    exit_code = 130


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which known names are meant, perhaps: a sentence for a hint.

    >>> nearest("lsia", ["coco", "lisa"])
    "Did you mean 'lisa'? Known: coco, lisa."
    """
    names = sorted(known)
    close = difflib.get_close_matches(name.lower(), [n.lower() for n in names], n=1, cutoff=0.6)
    listing = ", ".join(names) if names else "none"
    if not close:
        return f"Known: {listing}."
    meant = next(n for n in names if n.lower() == close[0])
    return f"Did you mean {meant!r}? Known: {listing}."
