"""Everything that people see: results on stdout, talk and progress on stderr.

With ``--json`` the result is one JSON value on stdout and everything else goes to stderr.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")


class Screen:
    """Where a command speaks.

    Args:
        json_output: The result is wanted as JSON.
    """

    def __init__(self, *, json_output: bool = False) -> None:
        self.json_output = json_output

    def _console(self, *, stderr: bool) -> Console:
        from rich.console import Console

        return Console(stderr=stderr, highlight=False, soft_wrap=False)

    @property
    def out(self) -> Console:
        """The console for results that people read."""
        return self._console(stderr=self.json_output)

    @property
    def err(self) -> Console:
        """The console for talk."""
        return self._console(stderr=True)

    def say(self, text: str) -> None:
        """Print a line of a result, literally."""
        self.out.print(text, markup=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """Print a line of talk, literally."""
        self.err.print(text, markup=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        """Print a warning."""
        from rich.text import Text

        self.err.print(Text("warning: ", "yellow") + Text(text), soft_wrap=True)

    def error(self, message: str, hint: str | None, code: int) -> None:
        """Print an error: what and where, then what to do next."""
        if self.json_output:
            self.result({"error": message, "hint": hint, "exit_code": code})
        from rich.text import Text

        console = self.err
        console.print(Text("error: ", "bold red") + Text(message), soft_wrap=True)
        if hint:
            console.print(Text("  " + hint), soft_wrap=True)

    def result(self, value: Any) -> None:
        """Print the result as JSON, if that was asked for."""
        if self.json_output:
            sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")

    def table(
        self, title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1
    ) -> None:
        """Print a table that fits 80 columns; the first ``left`` columns are text."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(
            title=Text(title, "bold") if title else None,
            title_justify="left",
            box=box.SIMPLE_HEAD,
            pad_edge=False,
            padding=(0, 1),
        )
        for place, name in enumerate(columns):
            table.add_column(
                name,
                justify="left" if place < left else "right",
                overflow="fold",
                no_wrap=place >= left,
            )
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        self.out.print(table)


class BarProgress:
    """Progress bars on a terminal; silent elsewhere."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(stderr=True)

    def track(self, items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
        """Yield the items and show the advance."""
        if not self.console.is_terminal:
            yield from items
            return
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
        )

        columns = [SpinnerColumn(), TextColumn("{task.description}")]
        if total is not None:
            columns += [BarColumn(), MofNCompleteColumn()]
        with Progress(*columns, TimeElapsedColumn(), console=self.console, transient=True) as bar:
            yield from bar.track(items, total=total, description=description)

    def status(self, text: str) -> None:
        """Show a line that the next one replaces."""
        if self.console.is_terminal:
            self.console.print(text, end="\r", markup=False)


def number(value: float | None, digits: int = 3) -> str:
    """A score for a table; a dash where it is not defined."""
    return "-" if value is None else f"{value:.{digits}f}"


def shares(counts: Mapping[str, int]) -> list[tuple[str, str, str]]:
    """Rows of name, count and share for a table."""
    total = sum(counts.values()) or 1
    return [(name, f"{n:,}", f"{100 * n / total:.1f} %") for name, n in counts.items()]
