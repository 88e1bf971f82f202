"""The conformance kit: what every plugin promises, as tests that anybody can run on theirs.

With pytest, three lines test a format from all sides::

    from tlx.testing import FormatChecks

    class TestMyFormat(FormatChecks):
        plugin = MyFormat()

A source also says what it reads: `SourceChecks.material`. Checks raise `ConformanceError` with a
sentence. Nothing here is imported by tlx itself.
"""

from tlx.testing.cases import (
    BackendChecks,
    CommandChecks,
    DecoderChecks,
    FormatChecks,
    SourceChecks,
    ViewerChecks,
)
from tlx.testing.conformance import Check, ConformanceError, checks_for
from tlx.testing.trial import Read, Trial, read, store

__all__ = [
    "BackendChecks",
    "Check",
    "CommandChecks",
    "ConformanceError",
    "DecoderChecks",
    "FormatChecks",
    "Read",
    "SourceChecks",
    "Trial",
    "ViewerChecks",
    "checks_for",
    "read",
    "store",
]
