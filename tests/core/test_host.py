"""Plugins are found, kept apart, and named when they are at fault."""

from __future__ import annotations

import sys
import types
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from tlx.api import Match, Reading
from tlx.errors import PluginError, UsageError
from tlx.hooks import hookimpl
from tlx.host import PluginHost, guard
from tlx.model import Taxonomy
from tlx.options import NoOptions


@dataclass
class ToySource:
    name: str = "toy"
    summary: str = "a toy"
    options: type[Any] = NoOptions

    def sniff(self, root: Path) -> Match:
        return Match()

    def read(self, root: Path, options: Any, context: Any) -> Reading:
        return Reading(root, [], Taxonomy())


def module(name: str, **hooks: Any) -> metadata.EntryPoint:
    made = types.ModuleType(name)
    for hook, function in hooks.items():
        setattr(made, hook, hookimpl(function))
    sys.modules[name] = made
    return metadata.EntryPoint(name, name, "tlx")


@pytest.fixture(autouse=True)
def forget_modules() -> Any:
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("toy_"):
            del sys.modules[name]


def test_a_plugin_is_found_with_its_owner() -> None:
    host = PluginHost([module("toy_a", tlx_sources=lambda: [ToySource()])])
    entry = host.entry("source", "toy")
    assert (entry.plugin, entry.distribution) == ("toy_a", "unknown")
    assert host.names("source") == ["toy"]
    assert host.broken == []


def test_a_plugin_that_does_not_import_breaks_nobody_else() -> None:
    missing = metadata.EntryPoint("lost", "toy_no_such_module", "tlx")
    host = PluginHost([missing, module("toy_b", tlx_sources=lambda: [ToySource()])])
    assert host.names("source") == ["toy"]
    assert [(b.plugin, b.reason) for b in host.broken] == [
        ("lost", "ModuleNotFoundError: No module named 'toy_no_such_module'")
    ]
    with pytest.raises(UsageError, match="failed to load: lost"):
        host.source("tyo")


def test_a_hook_that_raises_breaks_nobody_else() -> None:
    def bad() -> list[Any]:
        raise RuntimeError("no luck")

    host = PluginHost(
        [module("toy_c", tlx_sources=bad), module("toy_d", tlx_sources=lambda: [ToySource()])]
    )
    assert host.names("source") == ["toy"]
    assert host.broken[0].reason == "its sources: RuntimeError: no luck"


def test_a_misspelt_hook_is_reported() -> None:
    host = PluginHost([module("toy_e", tlx_sauces=lambda: [ToySource()])])
    assert [b.plugin for b in host.broken] == ["toy_e"]
    assert "Did you mean 'tlx_sources'" in host.broken[0].reason


def test_what_lacks_a_member_is_refused_by_name() -> None:
    class Half:
        name = "half"
        summary = ""

    host = PluginHost([module("toy_f", tlx_sources=lambda: [Half()])])
    assert host.names("source") == []
    assert host.broken[0].reason == "source 'half' lacks options, read, sniff"


def test_two_owners_of_one_name_are_both_named() -> None:
    host = PluginHost(
        [
            module("toy_g", tlx_sources=lambda: [ToySource()]),
            module("toy_h", tlx_sources=lambda: [ToySource()]),
        ]
    )
    with pytest.raises(PluginError, match=r"toy_g .* and toy_h "):
        host.source("toy")


def test_an_unknown_name_gets_the_nearest() -> None:
    host = PluginHost([module("toy_i", tlx_sources=lambda: [ToySource()])])
    with pytest.raises(UsageError, match="Did you mean 'toy'"):
        host.source("toi")


def test_a_strangers_exception_names_its_owner() -> None:
    host = PluginHost([module("toy_j", tlx_sources=lambda: [ToySource()])])
    entry = host.entry("source", "toy")
    words = r"'toy' of unknown failed: ValueError: oops"
    with pytest.raises(PluginError, match=words) as caught, guard(entry):
        raise ValueError("oops")
    assert isinstance(caught.value.__cause__, ValueError)


def test_the_built_ins_arrive_by_the_same_door() -> None:
    host = PluginHost()
    assert host.broken == []
    assert {"lisa", "coco"} <= set(host.names("source"))
    assert {e.distribution for e in host.all("source")} == {"tlx"}
