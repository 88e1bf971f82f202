"""What a check is: a sentence that must hold for every plugin of a kind, and a way to refute it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NoReturn

if TYPE_CHECKING:
    from tlx.testing.trial import Trial

Kind = Literal["source", "format", "backend", "viewer", "decoder", "command"]
KINDS: tuple[Kind, ...] = ("source", "format", "backend", "viewer", "decoder", "command")


class ConformanceError(AssertionError):
    """A plugin breaks a promise of its kind; the text says which, where, and what to do.

    It is an `AssertionError`, so any test runner counts it as a failure of the test.
    """


@dataclass(frozen=True, slots=True)
class Check:
    """One promise.

    Attributes:
        name: What must hold, as words joined by underscores; it names the test.
        kinds: The kinds of plugins that promise it.
        run: Raises `ConformanceError` where it does not hold.
        slow: It starts another process, or handles hundreds of images.
    """

    name: str
    kinds: tuple[Kind, ...]
    run: Callable[[Trial], None]
    slow: bool = False

    @property
    def about(self) -> str:
        """The first line of its documentation."""
        return (inspect.getdoc(self.run) or "").partition("\n")[0]


_CHECKS: dict[str, Check] = {}


def check(
    *kinds: Kind, slow: bool = False
) -> Callable[[Callable[[Trial], None]], Callable[[Trial], None]]:
    """Declare a function as the check of its name, for plugins of some kinds."""

    def declare(function: Callable[[Trial], None]) -> Callable[[Trial], None]:
        _CHECKS[function.__name__] = Check(function.__name__, kinds, function, slow)
        return function

    return declare


def checks_for(kind: Kind) -> tuple[Check, ...]:
    """Every check of a kind, in the order in which a failure is best read."""
    from tlx.testing import (  # noqa: F401 - importing them declares their checks
        backend_checks,
        loss_checks,
        name_checks,
        plugin_checks,
        reading_checks,
        writing_checks,
    )

    return tuple(check for check in _CHECKS.values() if kind in check.kinds)


def broken(sentence: str, hint: str | None = None) -> NoReturn:
    """Refute a promise.

    Raises:
        ConformanceError: Always.
    """
    __tracebackhide__ = True
    raise ConformanceError(sentence if hint is None else f"{sentence} {hint}")


def require(holds: object, sentence: str, hint: str | None = None) -> None:
    """Refute a promise unless it holds.

    Raises:
        ConformanceError: If it does not hold.
    """
    __tracebackhide__ = True
    if not holds:
        broken(sentence, hint)
