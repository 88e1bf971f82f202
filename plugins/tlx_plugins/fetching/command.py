"""``tlx fetch``: the images that a list or an export only names by their addresses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlx.context import Context

INCOMPLETE = 6
"""The exit code when some addresses gave no image."""


@dataclass(frozen=True)
class FetchOptions:
    """What ``tlx fetch`` can be told."""

    path: Path | None = None
    """List of addresses (.txt with one per line, .csv or .tsv with a column of them), or labelled
    data that name their images by addresses: a Labelbox export, COCO, CVAT, a dataset of tlx."""

    output: Path | None = None
    """Folder for the images. A folder of an earlier fetch is gone on with: only what is missing is
    fetched."""

    column: str | None = None
    """The column of addresses in a table; by default the one named url, image_url, ..., or the
    only one that holds addresses."""

    name_column: str | None = None
    """The column that names the files in a table; by default one named filename, image, ImageID,
    ...; without one the end of each address names its file."""

    encoding: str | None = None
    """How the list is written, such as cp1252; by default UTF-8, or UTF-16 with its mark."""

    workers: int = 8
    """Addresses that are fetched at once."""

    rate: float = 10.0
    """Requests per second to one host; 0 for no limit."""

    attempts: int = 4
    """Requests for one address, with growing pauses, where the network or the server fails."""

    timeout: float = 30.0
    """Seconds without any byte after which a request has failed."""

    longest_wait: float = 120.0
    """Seconds that a server may ask to wait (Retry-After); one that asks for more is given up."""

    max_size: str = "64MB"
    """Size of one file; a larger one is not fetched."""

    max_total: str | None = None
    """Size of everything that one run fetches; the rest is left for the next run."""

    max_redirects: int = 5
    """Redirects of one address."""

    allow_private: bool = False
    """Also ask addresses that are not public: this machine (localhost), the local network, and
    others that a list of a stranger has no business with."""

    token_variable: str | None = None
    """Name of the environment variable with a token; it is sent as Authorization: Bearer, or as it
    is if it holds a blank (Basic ...). Needs --token-host. It goes over https only, but for private
    addresses (--allow-private)."""

    token_host: str | None = None
    """The hosts that get the token, parted by commas; no other host does, whatever redirects
    say."""

    ca: Path | None = None
    """A file of certificates (PEM) that hosts are trusted by besides the usual ones: those of the
    system, or of the environment variable SSL_CERT_FILE."""

    report: Path | None = None
    """Where the report goes, as .csv or .json; fetch-report.csv in the folder by default."""

    dry_run: bool = False
    """Say what would be fetched; no request is made and nothing is written."""


class FetchCommand:
    """Fetches images; a source does so by the same job, and only with its option ``fetch``."""

    name = "fetch"
    summary = "Fetch the images that a list or an export names by their addresses."
    options: type[Any] = FetchOptions

    def run(
        self, options: FetchOptions, context: Context, say: Callable[[str], None]
    ) -> Mapping[str, Any]:
        """Fetch everything that is missing; ``exit_code`` is `INCOMPLETE` if some failed."""
        from tlx_plugins.fetching.job import Job

        return Job(options, context, say).run()
