"""What surrounds an operation: progress, issues, events, seed. Nothing here prints."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from tlx.issues import IssueLog

T = TypeVar("T")


class Progress(Protocol):
    """Something that shows how far a loop has come."""

    def track(self, items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
        """Yield the items unchanged and show the advance."""
        ...

    def status(self, text: str) -> None:
        """Show one line of text that replaces the last one."""
        ...


class NoProgress:
    """Shows nothing: the default of the library."""

    def track(self, items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
        """Yield the items."""
        del description, total
        yield from items

    def status(self, text: str) -> None:
        """Drop the text."""
        del text


Event = Mapping[str, Any]
"""A step of a long job: always a ``kind`` (``epoch``, ``step``, ``metric``, ``checkpoint``,
``warning``), and plain JSON values; ``warning`` and ``log`` have a ``message``."""


def _drop(event: Event) -> None:
    del event


@dataclass(frozen=True, slots=True)
class Context:
    """The weather of an operation, with defaults that do nothing.

    Attributes:
        progress: Where loops show their advance.
        issues: Where bad records go; its policy decides whether they are fatal.
        emit: Takes events of long jobs.
        seed: Root of all randomness.
        workers: Parallel processes or threads that an operation may use.
        dry_run: Nothing may be written; what would be is only found out.
    """

    progress: Progress = field(default_factory=NoProgress)
    issues: IssueLog = field(default_factory=IssueLog)
    emit: Callable[[Event], None] = _drop
    seed: int = 0
    workers: int = 0
    dry_run: bool = False
