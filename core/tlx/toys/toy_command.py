"""A command: which classes stand together in one image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from tlx.context import Context
from tlx.dataset import Dataset
from tlx.errors import UsageError


@dataclass(frozen=True)
class ToyOptions:
    """What is counted."""

    dataset: Path | None = None
    """The dataset folder."""

    most: int = 10
    """How many pairs to show."""


class ToyCommand:
    """Counts the pairs of classes."""

    name = "toy"
    summary = "count which classes stand together in one image"
    options = ToyOptions

    def run(
        self, options: ToyOptions, context: Context, say: Callable[[str], None]
    ) -> Mapping[str, Any]:
        """Say the most frequent pairs.

        Raises:
            UsageError: If no dataset is given.
        """
        del context
        if options.dataset is None:
            raise UsageError("no dataset is given.", hint="Name one with --dataset.")
        pairs: Counter[tuple[str, str]] = Counter()
        for record in Dataset.open(options.dataset).records():
            names = sorted({thing.category for thing in record.objects})
            pairs.update(combinations(names, 2))
        found = pairs.most_common(options.most)
        for pair, count in found:
            say(f"{count}  {' and '.join(pair)}")
        return {"pairs": [{"classes": list(pair), "images": count} for pair, count in found]}
