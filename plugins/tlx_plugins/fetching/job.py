"""A whole run of ``tlx fetch``: from the list to the report."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlx.context import Context
from tlx.errors import Interrupted, UsageError
from tlx.fetched import INDEX, Settled, identity_of
from tlx.pipeline import require_path
from tlx_plugins.fetching.client import Access, Client
from tlx_plugins.fetching.exports import read_input, require_addresses
from tlx_plugins.fetching.failure import Stopped
from tlx_plugins.fetching.ledger import PARTS, Ledger
from tlx_plugins.fetching.lists import Listing
from tlx_plugins.fetching.naming import Names
from tlx_plugins.fetching.pace import Pace, parse_size
from tlx_plugins.fetching.report import check_report, line_of, write_report
from tlx_plugins.fetching.transfer import Limits, Transfer, Wanted

if TYPE_CHECKING:
    from tlx_plugins.fetching.command import FetchOptions

_SHOWN = 3


class Job:
    """One run.

    Args:
        options: What the user wants.
        context: Progress.
        say: Prints a line.
    """

    def __init__(self, options: FetchOptions, context: Context, say: Callable[[str], None]) -> None:
        self.options = options
        self.context = context
        self.say = say
        self.access = _access(options)
        total = None if options.max_total is None else parse_size(options.max_total, "--max-total")
        self.pace = Pace(options.rate, total)
        self.limits = Limits(
            max(1, options.attempts),
            options.longest_wait,
            parse_size(options.max_size, "--max-size"),
        )

    def run(self) -> Mapping[str, Any]:
        """Read the list, fetch, report.

        Raises:
            UsageError: For an option, a path or a folder that is wrong.
            DataError: If the input names no address.
            Interrupted: If the user stopped it; another run goes on.
        """
        options = self.options
        if options.path is None or options.output is None:
            raise UsageError(
                "tlx fetch needs a list and a folder.", hint="Run: tlx fetch urls.csv -o images/"
            )
        path = require_path(options.path, "The list")
        check_folder(options.output)
        listing = read_input(path, options.encoding, options.column, options.name_column)
        result = self.bring(path, listing, options.output)
        if not result["exit_code"] and not options.dry_run and path.suffix.lower() != ".txt":
            self.say(f"Read the labels with: tlx ingest NAME {path} --images {options.output}")
        return result

    def bring(self, path: Path, listing: Listing, folder: Path) -> Mapping[str, Any]:
        """Fetch what is missing of a listing, and report.

        Args:
            path: What names the addresses.
            listing: The addresses.
            folder: Where the images go.

        Raises:
            UsageError: For a folder that is wrong.
            DataError: If there is no address.
            Interrupted: If the user stopped it; another run goes on.
        """
        options = self.options
        check_folder(folder)
        require_addresses(listing, path)
        ledger = Ledger(folder)
        wanted, lines = _plan(listing, ledger)
        missing = [item for item in wanted if ledger.present(item.url) is None]
        self._announce(path, listing, wanted, missing)
        if options.dry_run:
            return self._result(wanted, missing, [])
        report = options.report or folder / "fetch-report.csv"
        check_report(report)
        done: list[Settled] = []
        began = time.monotonic()
        with ledger.opened():
            try:
                done.extend(self._fetch_all(missing, ledger))
            except KeyboardInterrupt as error:
                raise Interrupted(
                    "interrupted; what has come is kept.", hint="Run it again to go on."
                ) from error
            finally:
                write_report(report, [line_of(item, ledger) for item in lines])
        self._conclude(done, missing, report, time.monotonic() - began)
        return self._result(wanted, missing, done) | {"report": str(report)}

    def _fetch_all(self, missing: list[Wanted], ledger: Ledger) -> Iterator[Settled]:
        """Fetch with all workers; entries come as they are settled."""
        workers = max(1, self.options.workers)
        client = Client(self.access, self.pace, workers)
        transfer = Transfer(client, ledger, self.pace, self.limits)

        def stop() -> None:
            self.pace.stop()
            client.hang_up()

        results = _in_parallel(transfer.fetch, missing, workers, self.pace, stop)
        yield from self.context.progress.track(results, "fetching", len(missing))

    def _announce(
        self, path: Path, listing: Listing, wanted: list[Wanted], missing: list[Wanted]
    ) -> None:
        self.say(f"{path} is {listing.kind}: {len(listing.addresses):,} addresses.")
        for note in listing.notes:
            self.say(f"  {note}")
        if listing.others:
            self.say(f"  {listing.others:,} entries have no address.")
        repeated = len(listing.addresses) - len(wanted)
        if repeated:
            self.say(f"  {repeated:,} repeat another one and are fetched once.")
        there = len(wanted) - len(missing)
        if there:
            self.say(f"  {there:,} are there already.")
        if self.options.dry_run:
            hosts = Counter(_host(item.url) for item in missing)
            self.say(f"{len(missing):,} would be fetched; hosts: {len(hosts):,}")
            for host, count in hosts.most_common(10):
                self.say(f"  {count:>8,}  {host}")

    def _conclude(
        self, done: list[Settled], missing: list[Wanted], report: Path, seconds: float
    ) -> None:
        fetched = [entry for entry in done if entry.status == "fetched"]
        size = sum(entry.bytes or 0 for entry in fetched) / (1 << 20)
        many = "s" * (len(fetched) != 1)
        self.say(f"Fetched {len(fetched):,} image{many}, {size:,.1f} MB, in {seconds:.0f} s.")
        failed = [entry for entry in done if entry.status == "failed"]
        for reason, count in Counter(entry.reason for entry in failed).most_common():
            self.say(f"  {count:,} failed: {reason}")
            for entry in islice((e for e in failed if e.reason == reason), _SHOWN):
                self.say(f"    {entry.url} {entry.detail}")
        left = len(missing) - len(done)
        if left:
            self.say(f"  {left:,} are left: {self.pace.reason.detail} Run it again to go on.")
        noted = sum(entry.note is not None for entry in fetched)
        if noted:
            self.say(f"  {noted:,} of them with a note in the report: not what the name says.")
        self.say(f"Report: {report}")

    def _result(
        self, wanted: list[Wanted], missing: list[Wanted], done: list[Settled]
    ) -> dict[str, Any]:
        failed = Counter(entry.reason or "" for entry in done if entry.status == "failed")
        fetched = sum(entry.status == "fetched" for entry in done)
        left = len(missing) - len(done)
        incomplete = not self.options.dry_run and (left or failed)
        return {
            "addresses": len(wanted),
            "present": len(wanted) - len(missing),
            "fetched": fetched,
            "failed": dict(failed),
            "left": left,
            "bytes": sum(entry.bytes or 0 for entry in done),
            "folder": str(self.options.output),
            "exit_code": _incomplete() if incomplete else 0,
        }


def _incomplete() -> int:
    from tlx_plugins.fetching.command import INCOMPLETE

    return INCOMPLETE


def _access(options: FetchOptions) -> Access:
    token = None
    if options.token_variable is not None:
        value = os.environ.get(options.token_variable, "").strip()
        if not value or not value.isascii() or not value.isprintable():
            raise UsageError(
                f"the environment variable {options.token_variable} holds no token.",
                hint="Set it in the shell; a token never stands on the command line.",
            )
        token = value if " " in value else f"Bearer {value}"
    hosts = frozenset(
        host.strip().lower() for host in (options.token_host or "").split(",") if host.strip()
    )
    if (token is None) != (not hosts):
        raise UsageError(
            "--token-variable and --token-host belong together.",
            hint="Name the hosts that may see the token, such as: --token-host api.labelbox.com",
        )
    return Access(
        options.allow_private,
        max(0, options.max_redirects),
        options.timeout,
        token,
        hosts,
        options.ca,
    )


def check_folder(folder: Path) -> None:
    """Only a new folder, an empty one, or one of an earlier fetch is worked in."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder.", hint="Choose another --output.")
    if (folder / INDEX).is_file() or (folder / PARTS).is_dir() or not any(folder.iterdir()):
        return
    raise UsageError(
        f"{folder} holds other things and was not made by tlx fetch.",
        hint="Choose a new folder with --output.",
    )


def _plan(listing: Listing, ledger: Ledger) -> tuple[list[Wanted], list[Wanted]]:
    """What to fetch, each address once; and the same for each entry of the list."""
    names = Names(ledger.folder)
    for entry in ledger.known.values():
        if entry.file is not None:
            names.keep(entry.file)
    planned: dict[str, Wanted] = {}
    lines: list[Wanted] = []
    for url, name, line in listing.addresses:
        key = identity_of(url)
        if key not in planned:
            earlier = ledger.known.get(key)
            file = earlier.file if earlier else None
            planned[key] = Wanted(url, file or names.give(url, name), line)
        lines.append(Wanted(url, planned[key].name, line))
    return list(planned.values()), lines


def _in_parallel(
    work: Callable[[Wanted], Settled],
    items: Iterable[Wanted],
    workers: int,
    pace: Pace,
    stop: Callable[[], None],
) -> Iterator[Settled]:
    """Do the work with threads and yield the results as they come.

    When one raises, or the caller stops, all are called back before this returns.
    """
    queue = iter(items)
    pending: set[Future[Settled]] = set()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="fetch")
    try:
        while True:
            if not pace.stopped.is_set():
                pending |= {pool.submit(work, i) for i in islice(queue, 2 * workers - len(pending))}
            if not pending:
                return
            finished, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in finished:
                try:
                    result = future.result()
                except Stopped:
                    continue
                yield result
    finally:
        stop()
        pool.shutdown(wait=True, cancel_futures=True)


def _host(url: str) -> str:
    from urllib.parse import urlsplit

    try:
        return urlsplit(url).netloc or "(no host)"
    except ValueError:
        return "(no host)"
