"""A viewer: one page of HTML that lists the images with their objects."""

from __future__ import annotations

import webbrowser
from dataclasses import dataclass
from html import escape
from pathlib import Path

from tlx.api import Availability
from tlx.context import Context
from tlx.dataset import Dataset
from tlx.staging import write_text


@dataclass(frozen=True)
class ToyOptions:
    """How the page is made."""

    page: Path = Path("toy.html")
    """The file to write; it is replaced."""

    browse: bool = True
    """Open the page in the browser."""


class ToyViewer:
    """Writes the page, and opens it."""

    name = "toy"
    summary = "a page that lists the images"
    options = ToyOptions

    def availability(self) -> Availability:
        """It needs nothing."""
        return Availability(True, "needs no package")

    def open(
        self,
        dataset: Dataset,
        predictions: Path | None,
        options: ToyOptions,
        context: Context,
        *,
        split: str | None = None,
    ) -> None:
        """Write a row for each image of the dataset, or of one split."""
        del predictions, context
        rows = [
            f"<tr><td>{escape(record.image_id)}<td>{len(record.objects)}"
            for record in dataset.records(split)
        ]
        title = escape(dataset.path.name)
        page = f"<!doctype html><meta charset=utf-8><title>{title}</title><table>"
        write_text(options.page, "\n".join([page, *rows]))
        if options.browse:
            webbrowser.open(options.page.absolute().as_uri())
