"""What everything that a plugin brings promises: a name, documented options, a light import."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from typing import Any

from tlx import options as option_values
from tlx.api import Availability
from tlx.errors import TlxError
from tlx.host import KINDS as PROTOCOLS
from tlx.testing import foreign
from tlx.testing.conformance import KINDS, check, require
from tlx.testing.processes import in_child
from tlx.testing.trial import Trial

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


@check(*KINDS)
def it_has_a_name_and_a_summary(trial: Trial) -> None:
    """The name is typed on the command line, the summary is one line of its help."""
    plugin = trial.plugin
    for member in ("name", "summary"):
        require(hasattr(plugin, member), f"{type(plugin).__name__} has no {member}.")
    require(
        _NAME.fullmatch(plugin.name),
        f"the name {plugin.name!r} is not lower case with hyphens.",
    )
    summary = plugin.summary
    one_line = isinstance(summary, str) and summary.strip() and "\n" not in summary
    require(one_line, f"the summary of {plugin.name} is not one line: {summary!r}.")


@check(*KINDS)
def it_satisfies_its_protocol(trial: Trial) -> None:
    """Every member of the kind's protocol in tlx.api is there."""
    plugin = trial.plugin
    fits = [kind for kind, (_, protocol) in PROTOCOLS.items() if isinstance(plugin, protocol)]
    require(fits, f"{trial.name} satisfies no protocol of tlx.api; compare it with the docs there.")


@check("source", "format", "backend", "viewer", "command")
def its_options_are_documented(trial: Trial) -> None:
    """Options are one frozen dataclass whose fields have a type, a default and a docstring."""
    kind: Any = getattr(trial.plugin, "options", None)
    is_class = isinstance(kind, type) and dataclasses.is_dataclass(kind)
    require(is_class, f"the options of {trial.name} are no dataclass: {kind!r}.")
    frozen = kind.__dataclass_params__.frozen
    require(frozen, f"{kind.__name__} is not frozen.", "Declare it with dataclass(frozen=True).")
    texts = option_values.documentation(kind)
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        name = f"{kind.__name__}.{field.name}"
        absent = dataclasses.MISSING
        has_default = field.default is not absent or field.default_factory is not absent
        require(has_default, f"{name} has no default.")
        require(texts.get(field.name), f"{name} has no docstring under it.")
        require(_is_plain(hints[field.name]), f"{name} has a type that no flag can have.")
    value = kind()
    try:
        again = option_values.build(kind, option_values.plain(value), trial.name)
    except TlxError as error:
        require(False, f"the defaults of {kind.__name__} do not survive as plain values: {error}")
    require(again == value, f"{kind.__name__} comes back from plain values as {again!r}.")


def _is_plain(kind: Any) -> bool:
    """Whether a type can be written in TOML and on a command line."""
    from pathlib import Path

    origin = typing.get_origin(kind)
    if origin is typing.Literal:
        return True
    if origin in (typing.Union, types.UnionType, tuple, list):
        return all(a is type(None) or a is ... or _is_plain(a) for a in typing.get_args(kind))
    return kind in (str, int, float, bool, Path)


@check(*KINDS, slow=True)
def importing_it_is_light(trial: Trial) -> None:
    """Discovery imports the module of every plugin: no numpy, torch and the like with it."""
    heavy = in_child(trial.plugin, "heavy", trial.room)
    require(
        not heavy,
        f"importing {type(trial.plugin).__module__} imports {', '.join(heavy)}.",
        "Import them in the functions that use them.",
    )


@check("backend", "viewer", slow=True)
def its_availability_is_found_lightly(trial: Trial) -> None:
    """Whether it can be used, and its models, are said without importing anything heavy."""
    said = in_child(trial.plugin, "availability", trial.room, without=False)
    require(not said["heavy"], f"availability of {trial.name} imports {', '.join(said['heavy'])}.")
    found = trial.plugin.availability()
    require(isinstance(found, Availability), f"availability of {trial.name} gives {found!r}.")
    require(found.detail, f"availability of {trial.name} has no detail: versions or a reason.")


@check("backend", "viewer", slow=True)
def its_missing_packages_are_named(trial: Trial) -> None:
    """Without what it needs it says so, and which extra would bring it."""
    said = in_child(trial.plugin, "availability", trial.room, without=True)
    if said["ok"]:
        return
    require(said["detail"], f"{trial.name} does not say what is missing.")
    require(said["extra"], f"{trial.name} does not name the extra that would bring its packages.")


@check("decoder")
def it_takes_no_other_file(trial: Trial) -> None:
    """Files that are not there, or not its own, are not recognised; looking raises nothing."""
    folder = trial.room / "foreign"
    foreign.fill(folder)
    suffixes = trial.plugin.suffixes
    good = suffixes and all(s.startswith(".") and s == s.lower() for s in suffixes)
    require(good, f"the endings of {trial.name} are no lower case ones with a dot: {suffixes}.")
    for number, path in enumerate(sorted(p for p in folder.rglob("*") if p.is_file())):
        named = folder / f"{number}{suffixes[0]}"
        named.write_bytes(path.read_bytes())
        require(not trial.plugin.recognises(named), f"{trial.name} takes {path.name} for its own.")
    gone = trial.plugin.recognises(folder / f"not here{suffixes[0]}")
    require(not gone, f"{trial.name} recognises a file that is not there.")
