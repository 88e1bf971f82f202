"""Issues of a Labelbox export, at the file and line that is being read."""

from __future__ import annotations

from tlx.issues import Issue, IssueLog

_BOXES = "Choose what happens to such boxes with --bad-boxes, or skip them: --on-error skip"
_HINTS = {
    "box-outside": _BOXES,
    "degenerate-box": _BOXES,
    "class-color": "The colour that was met first is taken.",
    "frames-by-reference": "Export the project again in today's format, which holds the frames.",
    "frames-not-listed": "Fill them in between the listed ones with: --frames filled",
    "missing-image": "Put the image there, or leave such rows out: --on-error skip",
    "ambiguous-image": "Rename one of them, or leave such rows out: --on-error skip",
    "not-fetched": "Run it again to ask again, or leave it out: --on-error skip",
    "no-height": "Name the folder of the images with --images, or say --origin top-left if the "
    "file was made later.",
    "origin-assumed": "Say --origin top-left if that is wrong.",
    "no-image": "Name the folder of the images with --images.",
    "several-labels": "Choose with --consensus first, newest, benchmark or all.",
    "several-projects": "Read one of them with --project.",
    "shared-id": "External ids need not be unique in Labelbox; global keys are.",
}


class Journal:
    """Reports issues with the place of the row that is being read.

    The place is set by the reader as it goes, since making one for each row would cost more than
    reading the row.

    Args:
        log: Where issues go.
    """

    def __init__(self, log: IssueLog) -> None:
        self.log = log
        self.path = ""
        self.origin = ""
        self.line: int | None = None

    def report(
        self, code: str, message: str, action: str = "skipped", hint: str | None = None
    ) -> None:
        """Report an issue; ``action`` as in `tlx.issues.Issue`."""
        hint = hint or _HINTS.get(code)
        self.log.report(Issue(code, message, self.path, self.line, action, hint))
