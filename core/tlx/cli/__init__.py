"""The command line: the only part of tlx that prints, exits, or turns errors into text."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Arguments without the program's name; those of the process by default.

    Returns:
        The exit code: 0, or that of the error (`tlx.errors`), 130 after Ctrl-C.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    from tlx.cli.boundary import run

    code = run(arguments)
    if argv is None:
        # Flushing here lets a closed pipe (tlx ... | head) end quietly instead of in a traceback.
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(code)
    return code
