"""Bad records: reported, counted, and either fatal or skipped, never silent."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections import Counter
from pathlib import Path
from typing import IO, Literal

import msgspec

from tlx.errors import DataError, Place, UsageError

Policy = Literal["fail", "skip"]

HARMLESS = frozenset({"kept", "merged", "requested"})
"""Actions that lose nothing that the user did not ask to lose; such an issue never raises."""

_ENCODER = msgspec.json.Encoder()
_FIRST = 4
"""How many issues of each code can be shown."""


class Issue(msgspec.Struct, frozen=True):
    """One thing that is wrong with the data, and what was done about it.

    Attributes:
        code: A short stable name such as ``bad-row``; issues are summed up by it.
        message: One sentence.
        path: File, as the user knows it.
        line: Line, counted from 1.
        action: What happened to the record: ``skipped`` or ``changed``; ``kept`` as it is;
            ``merged`` with another one that says the same; ``requested`` by an option of the user
            (a box cut to the image, say).
        hint: What to do about it.
    """

    code: str
    message: str
    path: str | None = None
    line: int | None = None
    action: str = "skipped"
    hint: str | None = None

    def __str__(self) -> str:
        return self.message if self.path is None else f"{self.place}: {self.message}"

    @property
    def place(self) -> Place | None:
        """Where it is, for an error."""
        return None if self.path is None else Place(self.path, self.line)


class IssueLog:
    """Collects issues under a policy.

    All are counted and all are written by `write`; memory holds the first ones.

    Args:
        policy: ``fail`` raises at the first issue that would skip or change data; ``skip`` keeps
            count and goes on.
        keep: How many issues are held in memory; those after them wait in a temporary file.

    Attributes:
        kept: The issues in memory, in the order they were reported.
        counts: How many there are of each code.
        actions: How many there are of each action.
        first_lost: The first one that lost or changed something that the user did not ask to lose.
    """

    def __init__(self, policy: Policy = "fail", keep: int = 10_000) -> None:
        if policy not in ("fail", "skip"):
            raise UsageError(f"--on-error must be fail or skip, not {policy!r}.")
        self.policy = policy
        self.keep = keep
        self.kept: list[Issue] = []
        self.counts: Counter[str] = Counter()
        self.actions: Counter[str] = Counter()
        self.first_lost: Issue | None = None
        self._first: dict[str, list[Issue]] = {}
        self._rest: IO[bytes] | None = None

    def report(self, issue: Issue) -> None:
        """Count an issue, or raise it.

        An issue whose action is in `HARMLESS` never raises.

        Raises:
            DataError: under the policy ``fail``.
        """
        if self.policy == "fail" and issue.action not in HARMLESS:
            hint = issue.hint or "Mend the file, or go on without such records: --on-error skip"
            raise DataError(issue.message, place=issue.place, hint=hint)
        self.counts[issue.code] += 1
        self.actions[issue.action] += 1
        if self.first_lost is None and issue.action not in HARMLESS:
            self.first_lost = issue
        first = self._first.setdefault(issue.code, [])
        if len(first) < _FIRST:
            first.append(issue)
        if len(self.kept) < self.keep:
            self.kept.append(issue)
        else:
            self._set_aside(issue)

    @property
    def total(self) -> int:
        """How many issues were reported."""
        return sum(self.counts.values())

    @property
    def lost(self) -> int:
        """How many issues dropped or changed something that the user did not ask to lose."""
        return self.total - sum(self.actions[action] for action in HARMLESS)

    def first(self, code: str, limit: int = _FIRST) -> list[Issue]:
        """The first issues of one code, at most four, in the order they were reported."""
        return self._first.get(code, [])[:limit]

    def write(self, path: Path) -> None:
        """Write all issues as JSON lines, in the order they were reported."""
        with path.open("wb") as file:
            for issue in self.kept:
                file.write(_ENCODER.encode(issue) + b"\n")
            if self._rest is not None:
                self._rest.seek(0)
                shutil.copyfileobj(self._rest, file)  # And so to its end, where more may follow.

    def _set_aside(self, issue: Issue) -> None:
        if self._rest is None:
            # The file has no name and is gone when it is closed, however the process ends.
            self._rest = tempfile.TemporaryFile(prefix="tlx-issues-")  # noqa: SIM115
            weakref.finalize(self, self._rest.close)
        self._rest.write(_ENCODER.encode(issue) + b"\n")
