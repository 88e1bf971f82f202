"""Options of a plugin: from plain values, with names and types checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest

from tlx import class_map, host
from tlx.errors import UsageError
from tlx.model import Category, Taxonomy
from tlx.options import build, documentation, plain


@dataclass(frozen=True)
class Sample:
    boxes: Literal["box", "bulb"] = "box"
    "Which boxes."
    size: int | None = None
    """Pixels."""


def test_values_become_options() -> None:
    assert build(Sample, {"boxes": "bulb", "size": 3}, "it") == Sample("bulb", 3)
    assert build(Sample, None, "it") == Sample()
    assert plain(Sample()) == {"boxes": "box", "size": None}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"bxes": "box"}, "Did you mean 'boxes'"),
        ({"boxes": "lamp"}, "lamp"),
        ({"size": "three"}, r"\$\.size"),
    ],
)
def test_wrong_values_are_explained(values: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        build(Sample, values, "the source 'x'")


def test_docstrings_under_fields_are_found() -> None:
    assert documentation(Sample) == {"boxes": "Which boxes.", "size": "Pixels."}


def test_every_option_of_every_built_in_is_documented() -> None:
    import dataclasses

    for entry in host.installed().entries:
        if entry.kind == "decoder":  # It decodes a file or it does not: there is nothing to choose.
            continue
        kind = entry.value.options
        kind()
        undocumented = {f.name for f in dataclasses.fields(kind)} - set(documentation(kind))
        assert not undocumented, f"{entry.kind} {entry.name}: {undocumented}"


def test_class_maps_are_read() -> None:
    assert class_map.parse(" a = b ,c=d d,e=") == {"a": "b", "c": "d d", "e": ""}
    for text in ("a", "=b", "a=b,a=c"):
        with pytest.raises(UsageError):
            class_map.parse(text)


def test_merged_classes_lose_what_no_longer_holds() -> None:
    taxonomy = Taxonomy(
        (
            Category(name="go", color="#00ff00", color_defined=True),
            Category(name="goLeft", color="#00ff00", color_defined=True, mirrorable=False),
            Category(name="stop", color_defined=True),
        )
    )
    mapped = class_map.mapped_taxonomy(taxonomy, {"go": "light", "goLeft": "light", "stop": "red"})
    assert mapped.names == ("light", "red")
    assert mapped["light"] == Category(name="light", color="#00ff00")
    assert mapped["red"].color_defined
    assert class_map.mapped_taxonomy(taxonomy, {"go": ""}).names == ("goLeft", "stop")
    with pytest.raises(UsageError, match="Did you mean 'stop'"):
        class_map.require_known({"stpo": "x"}, taxonomy)


def test_plain_values_name_the_defaults_too() -> None:
    """What a lineage says must not change its meaning when a default changes."""

    @dataclass(frozen=True)
    class Choices:
        box: str = "bulb"
        depth: int = 3

    built = build(Choices, {"depth": 4}, "it")
    assert plain(built) == {"box": "bulb", "depth": 4}
