"""Class maps: ``stop=traffic light,go=traffic light``, as text and as a mapping."""

from __future__ import annotations

from collections.abc import Mapping

from tlx.errors import UsageError, nearest
from tlx.model import Category, Taxonomy


def parse(text: str | None) -> dict[str, str]:
    """Read ``new=old,new2=old``; blanks around names are dropped.

    Raises:
        UsageError: If a part has no ``=``, or a name is given twice.
    """
    mapping: dict[str, str] = {}
    for part in (text or "").split(","):
        if not part.strip():
            continue
        left, equals, right = (p.strip() for p in part.partition("="))
        if not equals or not left:
            raise UsageError(
                f"{part.strip()!r} is not a pair of classes.",
                hint="Write pairs as NAME=NAME, separated by commas.",
            )
        if left in mapping:
            raise UsageError(f"the class {left!r} is mapped twice.")
        mapping[left] = right
    return mapping


def require_known(mapping: Mapping[str, str], taxonomy: Taxonomy) -> None:
    """Refuse a map of classes that the taxonomy does not have.

    Raises:
        UsageError: Names the nearest class.
    """
    for name in mapping:
        if name not in taxonomy:
            raise UsageError(
                f"the class {name!r} is not in the dataset.", hint=nearest(name, taxonomy.names)
            )


def mapped_taxonomy(taxonomy: Taxonomy, mapping: Mapping[str, str]) -> Taxonomy:
    """The taxonomy after renaming; classes that become one take the first one's place.

    A class keeps its colour and mirror rules only when it is alone under its new name: merged
    classes (all lights) are neither told by their colour nor bound to a direction. An empty new
    name drops the class.
    """
    members: dict[str, list[Category]] = {}
    for category in taxonomy.categories:
        name = mapping.get(category.name, category.name)
        if name:
            members.setdefault(name, []).append(category)
    categories = []
    for name, merged in members.items():
        first = merged[0]
        if len(merged) > 1:
            categories.append(
                Category(name=name, color=first.color, supercategory=first.supercategory)
            )
            continue
        mirror = None if first.mirror is None else mapping.get(first.mirror, first.mirror)
        categories.append(
            Category(
                name=name,
                source_id=first.source_id,
                color=first.color,
                mirror=mirror or None,
                mirrorable=first.mirrorable,
                color_defined=first.color_defined,
                supercategory=first.supercategory,
            )
        )
    return Taxonomy(tuple(categories))
