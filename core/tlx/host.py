"""Finds plugins and keeps them apart: a broken one is named and breaks nobody else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import Any, cast

import pluggy

from tlx import api, hooks
from tlx.errors import PluginError, TlxError, UsageError, nearest

KINDS: Mapping[str, tuple[str, type[Any]]] = {
    "source": ("tlx_sources", api.Source),
    "format": ("tlx_formats", api.Format),
    "backend": ("tlx_backends", api.Backend),
    "viewer": ("tlx_viewers", api.Viewer),
    "decoder": ("tlx_decoders", api.Decoder),
    "command": ("tlx_commands", api.Command),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that a plugin brings, and whose it is."""

    kind: str
    name: str
    value: Any
    plugin: str
    distribution: str
    version: str

    @property
    def origin(self) -> str:
        """The distribution with its version."""
        return f"{self.distribution} {self.version}".strip()


@dataclass(frozen=True, slots=True)
class Broken:
    """A plugin, or a part of one, that could not be used, and why."""

    plugin: str
    origin: str
    reason: str


class PluginHost:
    """All plugins that were found.

    Args:
        entry_points: What to load; the installed entry points of the group ``tlx`` by default.
    """

    def __init__(self, entry_points: list[metadata.EntryPoint] | None = None) -> None:
        self.entries: list[Entry] = []
        self.broken: list[Broken] = []
        self._clashes: dict[tuple[str, str], list[Entry]] = {}
        self._manager = pluggy.PluginManager(hooks.GROUP)
        self._manager.add_hookspecs(hooks)
        found = metadata.entry_points(group=hooks.GROUP) if entry_points is None else entry_points
        # Built-ins first, then by name: the order of sys.path must not decide anything.
        for point in sorted(found, key=lambda p: (not p.value.startswith("tlx_"), p.name, p.value)):
            self._load(point)

    def _load(self, point: metadata.EntryPoint) -> None:
        distribution, version = _owner(point)
        origin = f"{distribution} {version}".strip()
        try:
            plugin = point.load()
            self._manager.register(plugin, name=f"{point.name} ({origin})")
        except Exception as error:  # noqa: BLE001 - whatever a stranger's import raises is his
            self.broken.append(Broken(point.name, origin, _reason(error)))
            return
        for name in self._misspelt(plugin):
            hint = nearest(name, [hook for hook, _ in KINDS.values()])
            self.broken.append(Broken(point.name, origin, f"there is no hook {name!r}. {hint}"))
        for kind, (hook_name, protocol) in KINDS.items():
            for implementation in getattr(self._manager.hook, hook_name).get_hookimpls():
                if implementation.plugin is plugin:
                    self._collect(
                        kind, protocol, implementation.function, point.name, distribution, version
                    )

    def _misspelt(self, plugin: object) -> list[str]:
        """Hook implementations of names that no specification has: pluggy would ignore them."""
        known = {hook for hook, _ in KINDS.values()}
        marked = [n for n in dir(plugin) if self._manager.parse_hookimpl_opts(plugin, n)]
        return sorted(set(marked) - known)

    def _collect(
        self,
        kind: str,
        protocol: type[Any],
        function: Any,
        plugin: str,
        distribution: str,
        version: str,
    ) -> None:
        origin = f"{distribution} {version}".strip()
        try:
            values = tuple(function())
        except Exception as error:  # noqa: BLE001 - see _load
            self.broken.append(Broken(plugin, origin, f"its {kind}s: {_reason(error)}"))
            return
        for value in values:
            lacking = _lacking(value, protocol)
            if lacking:
                what = getattr(value, "name", type(value).__name__)
                self.broken.append(
                    Broken(plugin, origin, f"{kind} {what!r} lacks {', '.join(lacking)}")
                )
                continue
            entry = Entry(kind, value.name, value, plugin, distribution, version)
            self._clashes.setdefault((_namespace(kind), entry.name), []).append(entry)
            self.entries.append(entry)

    def names(self, kind: str) -> list[str]:
        """Sorted names of one kind; sources include formats, which can be read too."""
        return sorted({e.name for e in self._of(kind)})

    def all(self, kind: str) -> list[Entry]:
        """Entries of one kind, by name."""
        return sorted(self._of(kind), key=lambda e: e.name)

    def _of(self, kind: str) -> list[Entry]:
        kinds = ("source", "format") if kind == "source" else (kind,)
        return [e for e in self.entries if e.kind in kinds]

    def owners(self, kind: str, name: str) -> list[Entry]:
        """Everything that claims a name; more than one makes it unusable."""
        return self._clashes.get((_namespace(kind), name), [])

    def entry(self, kind: str, name: str) -> Entry:
        """The owner of a name.

        Raises:
            UsageError: If nobody has it; suggests the nearest.
            PluginError: If two plugins claim it; names both.
        """
        owners = self.owners(kind, name)
        if len(owners) > 1:
            raise PluginError(
                f"two plugins claim the {kind} {name!r}: "
                + " and ".join(f"{o.plugin} ({o.origin})" for o in owners)
                + ".",
                hint="Uninstall one of them.",
            )
        if not owners or owners[0] not in self._of(kind):
            raise UsageError(f"there is no {kind} {name!r}.", hint=self._unknown(kind, name))
        return owners[0]

    def _unknown(self, kind: str, name: str) -> str:
        hint = nearest(name, self.names(kind))
        if self.broken:
            failed = ", ".join(broken.plugin for broken in self.broken)
            hint += f" Plugins that failed to load: {failed} (see: tlx plugins)."
        return hint

    def source(self, name: str) -> api.Source:
        """The source or readable format called ``name``."""
        return cast("api.Source", self.entry("source", name).value)

    def format(self, name: str) -> api.Format:
        """The format called ``name``."""
        return cast("api.Format", self.entry("format", name).value)

    def backend(self, name: str) -> api.Backend:
        """The backend called ``name``."""
        return cast("api.Backend", self.entry("backend", name).value)

    def viewer(self, name: str) -> api.Viewer:
        """The viewer called ``name``."""
        return cast("api.Viewer", self.entry("viewer", name).value)


@cache
def installed() -> PluginHost:
    """The host of everything that is installed; made once."""
    return PluginHost()


@contextmanager
def guard(entry: Entry) -> Iterator[None]:
    """Turn a stranger's exception into one that names its owner.

    Errors that tlx explains, interrupts, and defects of the built-ins pass unchanged.

    Raises:
        PluginError: With the plugin's own words, and its exception as the cause.
    """
    try:
        yield
    except TlxError:
        raise
    except Exception as error:
        if entry.distribution == "tlx":
            raise
        raise PluginError(
            f"the {entry.kind} {entry.name!r} of {entry.origin} failed: {_reason(error)}.",
            hint="This is a defect of that plugin; -v shows where.",
        ) from error


def availability(entry: Entry) -> api.Availability:
    """Whether a backend or viewer can be used here; one that fails to say so cannot."""
    try:
        with guard(entry):
            found: api.Availability = entry.value.availability()
    except PluginError as error:
        return api.Availability(False, f"broken: {error.message}")
    return found


def _namespace(kind: str) -> str:
    # A format is read under its own name, so sources and formats share one set of names.
    return "source" if kind == "format" else kind


def _owner(point: metadata.EntryPoint) -> tuple[str, str]:
    dist = point.dist
    return ("unknown", "") if dist is None else (dist.name, dist.version)


def _reason(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def _lacking(value: Any, protocol: type[Any]) -> list[str]:
    members = [
        name
        for base in protocol.__mro__
        for name in vars(base)
        if not name.startswith("_") and getattr(base, "_is_protocol", False)
    ]
    return sorted({name for name in members if not hasattr(value, name)})
