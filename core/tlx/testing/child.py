"""The jobs of the second process; it imports nothing but what the job needs."""

from __future__ import annotations

import datetime as dt
import importlib
import importlib.util
import io
import json
import operator
import pickle
import sys
import time
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HEAVY = frozenset(
    {
        *("numpy", "pyarrow", "PIL", "lxml", "pandas", "scipy", "sklearn", "cv2"),
        *("torch", "torchvision", "tensorflow", "fiftyone"),
    }
)
"""What discovery must not import: it would make ``tlx --help`` slow."""

BASE = frozenset({"numpy", "pyarrow", "PIL", "lxml"})
"""What tlx itself always has."""

_DAYS = 400


class _Loader(pickle.Unpickler):
    """Finds a class by its module's name, or by the module's file if it is no installed one."""

    def __init__(self, data: bytes, modules: Mapping[str, str | None]) -> None:
        super().__init__(io.BytesIO(data))
        self.modules = modules

    def find_class(self, module: str, name: str) -> Any:
        if module not in sys.modules:
            load(module, self.modules.get(module))
        # The base class would import the packages above the module, which need not be there.
        return operator.attrgetter(name)(sys.modules[module])


def load(module: str, file: str | None) -> None:
    """Import a module by its name, or from its file."""
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if file is None or (error.name and not module.startswith(error.name)):
            raise
        made = importlib.util.spec_from_file_location(module, file)
        if made is None or made.loader is None:
            raise
        sys.modules[module] = importlib.util.module_from_spec(made)
        made.loader.exec_module(sys.modules[module])


def move_clock(package: str) -> None:
    """Let the clocks that a package sees show a day of next year.

    Only its own modules get other classes of dates: extensions written in C would crash on them.
    """
    shift = _DAYS * 86_400.0
    now, since = time.time, time.time_ns
    local, universal = time.localtime, time.gmtime
    plain = time.strftime
    changed: dict[str, Any] = {
        "time": lambda: now() + shift,
        "time_ns": lambda: since() + int(shift * 1e9),
        "localtime": lambda at=None: local(now() + shift if at is None else at),
        "gmtime": lambda at=None: universal(now() + shift if at is None else at),
        "strftime": lambda text, at=None: plain(text, time.localtime() if at is None else at),
    }
    originals = [(getattr(time, name), value) for name, value in changed.items()]
    for name, value in changed.items():
        setattr(time, name, value)
    own = [m for name, m in sys.modules.items() if name.split(".")[0] == package]
    dates = types.SimpleNamespace(**{**vars(dt), "datetime": _Moment, "date": _Day})
    others = [(dt, dates), (dt.datetime, _Moment), (dt.date, _Day)]
    others += list(originals)
    for module in own:
        for name, value in list(vars(module).items()):
            for old, new in others:
                if value is old:
                    setattr(module, name, new)


class _Moment(dt.datetime):
    """A moment whose now is that of the moved clock."""

    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> Any:
        return cls.fromtimestamp(time.time(), tz)

    @classmethod
    def utcnow(cls) -> Any:
        return cls.fromtimestamp(time.time(), dt.UTC).replace(tzinfo=None)

    @classmethod
    def today(cls) -> Any:
        return cls.fromtimestamp(time.time())


class _Day(dt.date):
    """A day whose today is that of the moved clock."""

    @classmethod
    def today(cls) -> Any:
        return cls.fromtimestamp(time.time())


def heavy(plugin: Any) -> list[str]:
    """What importing the plugin's module has brought along."""
    del plugin
    return sorted(HEAVY & set(sys.modules))


def availability(plugin: Any, *, without: bool) -> dict[str, Any]:
    """What the plugin says of its packages, with or ``without`` them being installed."""
    if without:
        for name in HEAVY - BASE:
            sys.modules[name] = None  # type: ignore[assignment]
    found = plugin.availability()
    brought = sorted(name for name in HEAVY if sys.modules.get(name) is not None)
    models = [model.name for model in plugin.models()] if hasattr(plugin, "models") else []
    facts = {"ok": found.ok, "detail": found.detail, "extra": found.extra}
    return {**facts, "heavy": brought, "models": models}


def digest(plugin: Any, *, root: Path, given: Mapping[str, Any]) -> str:
    """What a reading gives, as one number."""
    from tlx.testing.listings import reversed_listings
    from tlx.testing.trial import digest_of, read

    read(plugin, root, "skip", **given)
    move_clock(type(plugin).__module__.split(".")[0])
    with reversed_listings():
        return digest_of(read(plugin, root, "skip", **given))


def written(plugin: Any, *, dataset: Path, dest: Path, given: Mapping[str, Any]) -> dict[str, str]:
    """What a writer makes of a dataset, file by file."""
    from tlx.dataset import Dataset
    from tlx.testing.listings import reversed_listings
    from tlx.testing.tree import contents
    from tlx.testing.trial import Trial

    trial = Trial(plugin, dest.parent, write_options=given)
    # Modules that are imported when they are needed are there after the first writing.
    trial.write(Dataset.open(dataset), dest.with_name("first"))
    move_clock(type(plugin).__module__.split(".")[0])
    with reversed_listings():
        trial.write(Dataset.open(dataset), dest)
    return dict(contents(dest))


JOBS = {job.__name__: job for job in (heavy, availability, digest, written)}


def main() -> None:
    """Run the job in the file that is named on the command line."""
    path, modules, pickled, job, arguments = pickle.loads(Path(sys.argv[1]).read_bytes())  # noqa: S301 - the parent wrote it
    sys.path[:] = path
    plugin = _Loader(pickled, modules).load()
    print(json.dumps(JOBS[job](plugin, **arguments)))  # noqa: T201 - to the parent


if __name__ == "__main__":
    main()
