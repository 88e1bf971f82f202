"""Fetching as a part of reading: the options of a source, and the folder that it reads from then.

What is fetched, how, and what the folder remembers is as with ``tlx fetch``, whose job does it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tlx.context import Context
from tlx.fetched import INDEX

if TYPE_CHECKING:
    from tlx_plugins.fetching.lists import Listing


@dataclass(frozen=True)
class RemoteOptions:
    """How a source fetches what its labels only name by addresses; by default it does not."""

    fetch: str | None = None
    """Reading: fetch the images that are named by addresses into this folder, as tlx fetch does,
    and read them from there. What is there already is not asked for again; an image that cannot be
    fetched is a bad record (see --on-error). Without it the network is not touched."""

    allow_private: bool = False
    """With --fetch: also ask addresses that are not public: this machine (localhost), the local
    network."""

    token_variable: str | None = None
    """With --fetch: name of the environment variable with a token for --token-host."""

    token_host: str | None = None
    """With --fetch: the hosts that get the token, parted by commas."""

    max_total: str | None = None
    """With --fetch: size of everything that one run fetches; the rest is left for the next run."""

    ca: Path | None = None
    """With --fetch: a file of certificates (PEM) that hosts are trusted by besides the usual
    ones."""


def bring(
    listing: Listing, source: Path, folder: Path, options: RemoteOptions, context: Context
) -> bool:
    """Fetch everything of a listing that is not in the folder yet.

    Args:
        listing: The addresses.
        source: What names them, for sentences.
        folder: A new folder, an empty one, or one of an earlier fetch.
        options: The user's choices.
        context: Progress; what is said goes out as events ``log``. In a dry run nothing is fetched.

    Returns:
        Whether the folder is one to read from: not after a dry run, unless it was before.

    Raises:
        UsageError: For an option or a folder that is wrong.
        DataError: If there is no address.
        Interrupted: If the user stopped it; another run goes on.
    """
    from tlx_plugins.fetching.command import FetchOptions
    from tlx_plugins.fetching.job import Job

    def say(text: str) -> None:
        context.emit({"kind": "log", "message": text})

    asked = FetchOptions(
        output=folder,
        allow_private=options.allow_private,
        token_variable=options.token_variable,
        token_host=options.token_host,
        max_total=options.max_total,
        ca=options.ca,
        dry_run=context.dry_run,
    )
    Job(asked, context, say).bring(source, listing, folder)
    return (folder / INDEX).is_file()
