"""The layers point down, discovery is light, and the house is as the README says."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "tlx": ROOT / "core" / "tlx",
    "tlx_plugins": ROOT / "plugins" / "tlx_plugins",
    "tlx_backends": ROOT / "backends" / "tlx_backends",
}
ALLOWED = {
    "tlx": {"tlx"},
    "tlx_plugins": {"tlx", "tlx_plugins"},
    "tlx_backends": {"tlx", "tlx_backends"},
}
HEAVY = {"numpy", "pyarrow", "torch", "torchvision", "tensorflow", "fiftyone", "PIL", "lxml"}


def imports_of(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


def wrong_imports(package: str, source: str) -> set[str]:
    found = imports_of(ast.parse(source)) & set(PACKAGES)
    return found - ALLOWED[package]


@pytest.mark.parametrize("package", PACKAGES)
def test_layers_point_down(package: str) -> None:
    wrong = {
        str(path.relative_to(ROOT)): names
        for path in PACKAGES[package].rglob("*.py")
        if (names := wrong_imports(package, path.read_text()))
    }
    assert not wrong


def test_the_layer_check_catches_an_offender() -> None:
    assert wrong_imports("tlx", "def f():\n    import tlx_plugins.formats") == {"tlx_plugins"}
    assert wrong_imports("tlx_backends", "from tlx_plugins import x") == {"tlx_plugins"}


@pytest.mark.parametrize("command", [["--help"], ["plugins"], ["ingest", "--help"], ["--version"]])
def test_help_and_discovery_import_nothing_heavy(command: list[str]) -> None:
    code = (
        "import sys; from tlx.cli import main; code = main(sys.argv[1:]); "
        f"print('HEAVY', sorted({HEAVY!r} & set(sys.modules)), code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command], capture_output=True, text=True, check=True
    )
    assert "HEAVY [] 0" in done.stdout, done.stdout + done.stderr


def test_importing_tlx_is_free() -> None:
    code = f"import sys, tlx, tlx.api, tlx.hooks; print(sorted(set(sys.modules) & {HEAVY!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_init_file_where_it_would_break_imports() -> None:
    folders = ("core", "plugins", "backends", "tests")
    assert [f for f in folders if (ROOT / f / "__init__.py").exists()] == []


def test_every_package_is_typed() -> None:
    assert all((folder / "py.typed").is_file() for folder in PACKAGES.values())


def test_no_module_outgrows_its_purpose() -> None:
    long = {
        str(path.relative_to(ROOT)): count
        for folder in PACKAGES.values()
        for path in folder.rglob("*.py")
        if (count := len(path.read_text().splitlines())) > 500
    }
    assert not long


def test_no_file_names_a_machine_or_a_registry() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    # Put together here, so that this file does not name them itself.
    hosts = ["pypi" + ".org", "python" + "hosted", "registry.npm" + "js", "deb.debian" + ".org"]
    pattern = re.compile("|".join([*map(re.escape, hosts), r"(?<![\w.])/(?:work|root|farm)/"]))
    named = [
        name
        for name in listed.stdout.split()
        if (ROOT / name).suffix in {".py", ".md", ".toml", ".yml", ".ipynb", ""}
        and (ROOT / name).is_file()
        and pattern.search((ROOT / name).read_text(errors="replace"))
    ]
    assert named == []


def test_the_public_names_are_those_that_type_checkers_see() -> None:
    import tlx

    source = (PACKAGES["tlx"] / "__init__.py").read_text()
    declared = set(re.findall(r"^    from tlx\S* import \w+ as (\w+)$", source, re.MULTILINE))
    assert declared == set(tlx.__all__) - {"__version__"}
    assert all(getattr(tlx, name) is not None for name in tlx.__all__)
