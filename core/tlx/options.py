"""Options of a plugin: one frozen dataclass makes flags, TOML keys, help and checks.

Every field has a default, a type and a docstring under it::

    @dataclass(frozen=True)
    class LisaOptions:
        boxes: Literal["box", "bulb"] = "box"
        "Which of the two annotation files to read: the housing or the lit bulb."

The docstring of a field that matters only while a format is read, or only while it is written,
begins with ``Reading:`` or ``Writing:``; a command shows the flags that matter for it.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from tlx.errors import UsageError, nearest

T = TypeVar("T")
Purpose = Literal["reading", "writing"]
_PURPOSES: Mapping[str, Purpose] = {"Reading:": "reading", "Writing:": "writing"}


@dataclasses.dataclass(frozen=True)
class NoOptions:
    """For plugins that have nothing to choose."""


def build(kind: type[T], values: Mapping[str, Any] | None, owner: str) -> T:
    """Make an options value from plain ones, as a TOML table or keyword arguments give them.

    Args:
        kind: The options dataclass.
        values: Field names to values; fields that are not named keep their defaults.
        owner: Whose options these are, for messages ("the source 'lisa'").

    Raises:
        UsageError: For an unknown name (with the nearest) or a value of the wrong type.
    """
    known = {f.name for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    given = {name.replace("-", "_"): value for name, value in (values or {}).items()}
    for name in given:
        if name not in known:
            raise UsageError(f"{owner} has no option {name!r}.", hint=nearest(name, known))
    try:
        return msgspec.convert(given, kind, strict=True, dec_hook=_path)
    except msgspec.ValidationError as error:
        raise UsageError(f"an option of {owner} is wrong: {error}") from error


def _path(kind: type[Any], value: Any) -> Any:
    """Paths are written as text in TOML and in requests."""
    if issubclass(kind, Path) and isinstance(value, str | Path):
        return Path(value)
    raise TypeError(f"expected {kind.__name__}, got {type(value).__name__}")


def plain(options: Any) -> dict[str, Any]:
    """An options value as plain JSON values, for a request or a lineage."""
    if not dataclasses.is_dataclass(options):
        return {}
    # Field by field: a default that nobody set lies on the class, where msgspec does not look.
    values = {f.name: getattr(options, f.name) for f in dataclasses.fields(options)}
    return dict(msgspec.to_builtins(values, enc_hook=str))


def documentation(kind: type[Any]) -> Mapping[str, str]:
    """The docstring under each field of an options dataclass."""
    texts: dict[str, str] = {}
    for base in reversed(inspect.getmro(kind)[:-1]):
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
        except (OSError, TypeError):
            continue
        body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
        for statement, follower in zip(body, body[1:], strict=False):
            if (
                isinstance(statement, ast.AnnAssign)
                and isinstance(statement.target, ast.Name)
                and isinstance(follower, ast.Expr)
                and isinstance(follower.value, ast.Constant)
                and isinstance(follower.value.value, str)
            ):
                texts[statement.target.id] = inspect.cleandoc(follower.value.value)
    return texts


def purpose_of(text: str) -> tuple[Purpose | None, str]:
    """What a field is for, from its docstring, and the docstring without that word.

    Args:
        text: The docstring of the field.

    Returns:
        ``reading``, ``writing``, or None for both; and the rest as a sentence.
    """
    for word, purpose in _PURPOSES.items():
        if text.startswith(word):
            rest = text.removeprefix(word).lstrip()
            return purpose, rest[:1].upper() + rest[1:]
    return None, text


def names_of(kind: type[Any], purpose: Purpose | None = None) -> tuple[str, ...]:
    """The fields of an options dataclass, or those that matter for reading or for writing."""
    texts = documentation(kind)
    meant = {f.name: purpose_of(texts.get(f.name, ""))[0] for f in dataclasses.fields(kind)}
    return tuple(n for n, p in meant.items() if purpose is None or p is None or p == purpose)
