"""A third-party package that works at once: ``tlx plugins new NAME``.

Its code is one of `tlx.toys` under another name: what is handed out is linted, typed and tested.
"""

from __future__ import annotations

import importlib.util
import keyword
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from tlx import host
from tlx.errors import UsageError
from tlx.staging import staged

Kind = Literal["source", "format", "backend", "viewer", "command"]

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_TAKEN = frozenset({"plugins", "backends", "toy"})
_CLASSES = {
    "source": "Source",
    "format": "Format",
    "backend": "Backend",
    "viewer": "Viewer",
    "command": "Command",
}
_TRY: Mapping[str, str] = {
    "source": "tlx ingest {name} PATH -o {name}.tlx",
    "format": "tlx convert DATASET.tlx --to {name} -o out/",
    "backend": "tlx train DATASET.tlx --backend {name}",
    "viewer": "tlx inspect DATASET.tlx --viewer {name}",
    "command": "tlx {name} --help",
}

_PROJECT = """\
[build-system]
requires = ["hatchling>=1.26"]
build-backend = "hatchling.build"

[project]
name = "tlx-{name}"
version = "0.1.0"
description = "{summary}"
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["tlx"]

[project.entry-points.tlx]
{name} = "{module}"

[dependency-groups]
dev = ["pytest>=8.3", "mypy>=1.15", "ruff>=0.11"]

[tool.pytest.ini_options]
testpaths = ["tests"]
pythonpath = ["src"]
addopts = ["--strict-markers", "--strict-config"]
filterwarnings = ["error"]

[tool.mypy]
strict = true
files = ["src", "tests"]
mypy_path = "src"

[tool.ruff]
line-length = 100
src = ["src"]

[tool.ruff.lint]
select = ["B", "E", "F", "I", "N", "PTH", "RUF100", "SIM", "UP", "W"]

[tool.ruff.lint.isort]
known-first-party = ["tlx"]
"""

_INIT = '''\
"""{summary}: a plugin of tlx."""

from __future__ import annotations

from tlx.api import {kind_class}
from tlx.hooks import hookimpl
from {module}.{kind} import {camel}{kind_class}


@hookimpl
def tlx_{kind}s() -> list[{kind_class}]:
    """What this package brings; the host calls it by its name."""
    return [{camel}{kind_class}()]
'''

_TEST = '''\
"""The promises of a {kind}: tlx.testing has a test for each of them."""

from __future__ import annotations

from tlx.testing import {kind_class}Checks
from {module}.{kind} import {camel}{kind_class}


class Test{camel}({kind_class}Checks):
    plugin = {camel}{kind_class}()
'''

_SOURCE_TEST = '''\
"""The promises of a source: tlx.testing has a test for each of them."""

from __future__ import annotations

from pathlib import Path

from tlx.testing import SourceChecks, read
from {module}.source import FILE, {camel}Source

TABLE = """\\
image\\tclass\\txmin\\tymin\\txmax\\tymax
a.jpg\\tstop\\t10\\t20\\t30\\t40
b.jpg\\tgo\\t1.5\\t2\\t8\\t9
c.jpg
"""


class Test{camel}(SourceChecks):
    plugin = {camel}Source()

    def material(self, folder: Path) -> Path:
        (folder / FILE).write_text(TABLE, encoding="utf-8")
        return folder


def test_the_table_says_this(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(TABLE, encoding="utf-8")
    found = read({camel}Source(), tmp_path)
    assert [(r.image_id, [o.category for o in r.objects]) for r in found.records] == [
        ("a.jpg", ["stop"]),
        ("b.jpg", ["go"]),
        ("c.jpg", []),
    ]
    assert found.taxonomy.names == ("go", "stop")
'''

_README = """\
# tlx-{name}

{summary}: a plugin.

    pip install -e . --group dev
    tlx plugins                        # lists it, or says why it cannot be used
    {example}

    pytest                             # every promise of a {kind} is a test
    ruff check . && mypy

`src/{module}/{kind}.py` is a small {kind} that works: change it into yours. What its members
promise is described in `tlx.api`; what the tests prove, in `tlx.testing`. A promise that the {kind}
breaks on purpose is named in the test class, with the reason:

    expected_failures = {{"images_without_objects_are_kept": "the format has no empty images"}}
"""


def scaffold(name: str, kind: Kind, output: Path | None = None) -> Path:
    """Make a package for a plugin; nothing that exists is written over.

    Args:
        name: Of the plugin; the package is ``tlx-NAME``.
        kind: What the plugin is.
        output: The folder to make, ``tlx-NAME`` in the working directory by default.

    Returns:
        The folder.

    Raises:
        UsageError: If the name cannot be one or is taken, or the folder exists.
    """
    name = name.removeprefix("tlx-")
    _require_free_name(name, kind)
    folder = output if output is not None else Path(f"tlx-{name}")
    if folder.exists() or folder.is_symlink():
        raise UsageError(f"{folder} exists already.", hint="Choose another folder with --output.")
    with staged(folder) as room:
        for path, text in _files(name, kind).items():
            (room / path).parent.mkdir(parents=True, exist_ok=True)
            (room / path).write_text(text, encoding="utf-8", newline="\n")
    return folder


def _require_free_name(name: str, kind: Kind) -> None:
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise UsageError(
            f"{name!r} cannot be the name of a plugin.",
            hint="Use lower case letters, digits and hyphens, a letter first: my-lights",
        )
    module = f"tlx_{name.replace('-', '_')}"
    if name in _TAKEN or importlib.util.find_spec(module) is not None:
        raise UsageError(f"a package {module} exists already.", hint="Choose another name.")
    plugins = host.installed()
    kinds = ("source", "format") if kind in ("source", "format") else (kind,)
    for entry in (e for k in kinds for e in plugins.all(k) if e.name == name):
        raise UsageError(
            f"the {entry.kind} {name!r} exists already, in {entry.origin}.",
            hint="Two plugins cannot share a name; choose another one.",
        )


def _files(name: str, kind: Kind) -> dict[str, str]:
    camel = "".join(part.title() for part in name.split("-"))
    module = f"tlx_{name.replace('-', '_')}"
    toy = Path(__file__).parent / "toys" / f"toy_{kind}.py"
    code = toy.read_text("utf-8").replace("Toy", camel).replace("toy", name)
    words = {
        "name": name,
        "kind": kind,
        "camel": camel,
        "module": module,
        "kind_class": _CLASSES[kind],
        "summary": f"{camel} as a {kind} of tlx",
        "example": _TRY[kind].format(name=name),
    }
    test = _SOURCE_TEST if kind == "source" else _TEST
    return {
        "pyproject.toml": _PROJECT.format(**words),
        "README.md": _README.format(**words),
        ".gitignore": "__pycache__/\n*.egg-info/\ndist/\n.venv/\n.*_cache/\n",
        f"src/{module}/__init__.py": _INIT.format(**words),
        f"src/{module}/py.typed": "",
        f"src/{module}/{kind}.py": code,
        f"tests/test_{module}.py": test.format(**words),
    }
