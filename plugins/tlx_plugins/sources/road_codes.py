"""Code books: what the numbers of a coded survey mean.

iRAP and EuroRAP surveys give each attribute of a 100 m segment a whole number. Which number means
what differs between releases, so the book is the user's: a table with the columns ``attribute``,
``code`` and ``name``, one row for each code.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tlx.errors import DataError, Place
from tlx_plugins.formats.csv_text import normal
from tlx_plugins.sources.road_tables import RoadTable

_PRESENT = frozenset({"present", "yes", "true"})
_ABSENT = frozenset({"notpresent", "absent", "no", "none", "false"})


@dataclass(slots=True)
class CodedAttribute:
    """One attribute of a code book.

    Attributes:
        name: As the book writes it.
        meanings: The name of each code.
    """

    name: str
    meanings: dict[str, str] = field(default_factory=dict)

    @property
    def is_flag(self) -> bool:
        """Whether its codes only say that it is there or not: one class, not one for each code."""
        words = [normal(meaning) for meaning in self.meanings.values()]
        return (
            len(words) == 2
            and any(word in _PRESENT for word in words)
            and any(word in _ABSENT for word in words)
        )

    def classes(self) -> list[str]:
        """The classes that the attribute makes: itself, or ``attribute/meaning`` of each code."""
        if self.is_flag:
            return [self.name]
        return list(dict.fromkeys(f"{self.name}/{m}" for m in self.meanings.values()))

    def labels(self, code: str) -> Iterator[tuple[str, bool]]:
        """What a code says of each class of the attribute.

        Raises:
            KeyError: If the book does not have the code.
        """
        meaning = self.meanings[code]
        if self.is_flag:
            yield self.name, normal(meaning) in _PRESENT
            return
        chosen = f"{self.name}/{meaning}"
        for name in self.classes():
            yield name, name == chosen


class CodeBook:
    """All attributes of a book, found whatever case and punctuation a table writes them in."""

    def __init__(self) -> None:
        self.attributes: dict[str, CodedAttribute] = {}

    @classmethod
    def of(cls, table: RoadTable, place: str) -> CodeBook:
        """The book that a table is.

        Raises:
            DataError: If a code stands twice with different names, or a row lacks one of the
                three.
        """
        titles = [normal(title) for title in table.columns.titles]
        if not {"attribute", "code", "name"} <= {*titles}:
            raise DataError(
                "is no code book: it needs the columns attribute, code and name.",
                place=place,
                hint="Write one row for each code, such as: Delineation,2,poor",
            )
        at = [titles.index(name) for name in ("attribute", "code", "name")]
        book = cls()
        for row in table.rows:
            cells = [row.cells[p] if p < len(row.cells) else "" for p in at]
            if not all(cells):
                raise DataError(
                    "lacks an attribute, a code or a name.", place=Place(place, row.line)
                )
            name, code, meaning = cells[0], plain_code(cells[1]), cells[2]
            attribute = book.attributes.setdefault(normal(name), CodedAttribute(name))
            if attribute.meanings.setdefault(code, meaning) != meaning:
                raise DataError(
                    f"the code {code} of {name} means {meaning!r} here and "
                    f"{attribute.meanings[code]!r} above.",
                    place=Place(place, row.line),
                )
        return book

    def find(self, title: str) -> CodedAttribute | None:
        """The attribute that a column is about."""
        return self.attributes.get(normal(title))


def plain_code(text: str) -> str:
    """A code without what spreadsheets add to it: ``3.0`` and ``03`` are ``3``."""
    whole, _, fraction = text.partition(".")
    if whole.isascii() and whole.isdigit() and not fraction.strip("0") and len(whole) < 10:
        return str(int(whole))
    return text
