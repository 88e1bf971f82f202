"""What a picture may not be changed in, because a class would become another one."""

from __future__ import annotations

from tlx.model import Taxonomy


def one_sided_classes(taxonomy: Taxonomy) -> list[str]:
    """Classes that mean something else in a mirror and have no partner to become."""
    index = taxonomy.index()
    return [
        c.name
        for c in taxonomy.categories
        if not (c.mirrorable and c.mirror is None) and c.mirror not in index
    ]


def mirror_pairs(taxonomy: Taxonomy) -> list[tuple[str, str]]:
    """Classes that become each other in a mirror, each pair once."""
    index = taxonomy.index()
    return [
        (c.name, c.mirror)
        for c in taxonomy.categories
        if c.mirror is not None and c.mirror in index and c.name < c.mirror
    ]


def colored_classes(taxonomy: Taxonomy) -> list[str]:
    """Classes that are told by their colour."""
    return [c.name for c in taxonomy.categories if c.color_defined]
