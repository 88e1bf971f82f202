"""What every source, and every format as a source, promises about reading."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tlx.api import Match
from tlx.context import Context
from tlx.dataset import to_batches
from tlx.errors import TlxError
from tlx.issues import IssueLog
from tlx.model import Record
from tlx.testing import foreign
from tlx.testing.conformance import broken, check, require
from tlx.testing.listings import reversed_listings
from tlx.testing.memory import LONG, SHORT, peak_memory, require_flat
from tlx.testing.processes import in_child
from tlx.testing.tree import difference, state
from tlx.testing.trial import Read, Trial, digest_of

MEGABYTE = 1 << 20
_PADDING = 64 * MEGABYTE
_MOST = 8 * MEGABYTE


@check("source", "format")
def it_recognises_its_material(trial: Trial) -> None:
    """``sniff`` accepts what ``read`` reads, and says by what."""
    match = trial.plugin.sniff(trial.material())
    require(isinstance(match, Match), f"sniff of {trial.name} gives {match!r}, not a Match.")
    require(
        match.ok,
        f"{trial.name} does not recognise its own material: {', '.join(match.missing) or match}.",
    )
    require(all(match.met), f"{trial.name} does not say by what it recognises its material.")


@check("source", "format")
def it_takes_no_other_material(trial: Trial) -> None:
    """``sniff`` rejects what is not there and what is not its own, with a reason, and no error."""
    folder = trial.room / "foreign"
    foreign.fill(folder)
    for path in (trial.room / "not here", *sorted(folder.iterdir())):
        try:
            match = trial.plugin.sniff(path)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
            broken(f"sniff of {trial.name} raises {type(error).__name__} for {path.name}: {error}")
        require(not match.ok, f"{trial.name} takes {path.name} for its own: {match.met}.")
        require(any(match.missing), f"{trial.name} does not say what {path.name} lacks.")


@check("source", "format")
def sniffing_reads_little(trial: Trial) -> None:
    """Looking at a path is quick however large the files are."""
    root = trial.material()
    files = [root] if root.is_file() else [p for p in sorted(root.rglob("*")) if p.is_file()]
    with_padding = [p for p in files if not p.is_symlink() and p.suffix not in foreign.PICTURES]
    for path in with_padding:
        with path.open("rb+") as file:
            # Sparse: it takes no room on the disk.
            file.truncate(path.stat().st_size + _PADDING)
    before = _bytes_read()
    trial.plugin.sniff(root)
    megabytes = (_bytes_read() - before) / MEGABYTE
    require(
        megabytes <= _MOST / MEGABYTE * max(1, len(with_padding) // 4),
        f"sniff of {trial.name} read {megabytes:.0f} MB of {len(with_padding)} large files.",
        "Look at the first kilobytes only.",
    )


def _bytes_read() -> int:
    """Bytes that this process has read so far; 0 where the system does not count them."""
    try:
        text = Path("/proc/self/io").read_text(encoding="ascii")
    except OSError:
        return 0
    return int(text.split()[1])


@check("source", "format")
def what_is_not_there_is_explained(trial: Trial) -> None:
    """A path that is missing, empty or something else ends in an error of tlx, or in nothing."""
    empty = trial.room / "empty"
    empty.mkdir()
    folder = trial.room / "foreign"
    foreign.fill(folder)
    for path in (trial.room / "not here", empty, *sorted(folder.iterdir())):
        found = _outcome(trial, path)
        if isinstance(found, Read) and path in (trial.room / "not here", empty):
            require(not found.records, f"{trial.name} reads records out of nothing ({path.name}).")


@check("source", "format")
def reading_leaves_its_root_alone(trial: Trial) -> None:
    """Nothing below the root is written, changed or removed."""
    root = trial.material()
    top = root if root.is_dir() else root.parent
    before = state(top)
    trial.plugin.sniff(root)
    trial.read(root, "skip")
    words = difference(before, state(top))
    require(not words, f"reading touched what {trial.name} reads: {words}.")


@check("source", "format")
def records_are_well_formed(trial: Trial) -> None:
    """Ids are unique, classes in the taxonomy, paths relative, numbers finite, origins real."""
    root = trial.material()
    found = trial.read(root)
    require(found.records, f"{trial.name} reads no record from its own material.")
    ids = [record.image_id for record in found.records]
    require(len(set(ids)) == len(ids), f"{trial.name} gives an image id twice.")
    names = found.taxonomy.names
    require(len(set(names)) == len(names), f"{trial.name} names a class twice: {names}.")
    for record in found.records:
        _well_formed(record, root, frozenset(names))


def _well_formed(record: Record, root: Path, names: frozenset[str]) -> None:
    image_id = record.image_id
    if "://" not in record.uri:
        relative = not record.uri.startswith("/") and "\\" not in record.uri and record.uri
        require(relative, f"the uri {record.uri!r} of {image_id} is no relative POSIX path.")
    for label in record.labels:
        require(label.category in names, f"the label {label.category!r} is not in the taxonomy.")
    for thing in record.objects:
        require(thing.category in names, f"the class {thing.category!r} is not in the taxonomy.")
        box = thing.box
        if box is not None:
            finite = all(map(math.isfinite, (box.xmin, box.ymin, box.xmax, box.ymax)))
            require(finite, f"{image_id} has a box that is not finite: {box}.")
    if record.origin is not None:
        base = root if root.is_dir() else root.parent
        here = (base / record.origin.path).exists()
        require(here, f"{image_id} comes from {record.origin.path!r}, which is not below the root.")


@check("source", "format")
def frames_name_their_clip(trial: Trial) -> None:
    """A frame number or a track without its clip would put neighbours into train and test."""
    for record in trial.read(trial.material()).records:
        tracked = record.frame is not None or any(o.track is not None for o in record.objects)
        require(
            record.group is not None or not tracked,
            f"{record.image_id} has a frame number or tracks but no group.",
            "Give the clip as the group, so that a split keeps it together.",
        )


@check("source", "format")
def the_order_of_a_listing_decides_nothing(trial: Trial) -> None:
    """Folders that list their files in another order give the same records in the same order."""
    root = trial.material()
    first = digest_of(trial.read(root))
    require(digest_of(trial.read(root)) == first, f"{trial.name} reads differently each time.")
    with reversed_listings():
        turned = digest_of(trial.read(root))
    require(turned == first, f"{trial.name} reads in the order of the listing.", "Sort it.")


@check("source", "format", slow=True)
def another_process_reads_the_same(trial: Trial) -> None:
    """Neither the hash seed nor the clock decides what is read."""
    root = trial.material()
    here = digest_of(trial.read(root, "skip"))
    given = dict(trial.read_options)
    there = in_child(trial.plugin, "digest", trial.room, root=root, given=given)
    require(
        here == there,
        f"{trial.name} reads otherwise under another hash seed or clock.",
        "Sets have no order, and today is no fact of the data.",
    )


@check("source", "format")
def the_first_record_comes_before_the_last_file(trial: Trial) -> None:
    """Reading is lazy: asking for one record does not open all files."""
    root = trial.many() if trial.make is None else trial.material()
    context = Context(issues=IssueLog("skip"))
    reading = trial.plugin.read(root, trial.options(trial.read_options), context)
    own = {str(p.resolve()) for p in root.rglob("*")} if root.is_dir() else {str(root)}
    with _opened() as first:
        stream = iter(reading.content)
        next(stream)
        early = own & {str(Path(p).resolve()) for p in first}
    with _opened() as rest:
        for _ in stream:
            pass
        late = own & {str(Path(p).resolve()) for p in rest}
    require(
        late - early or len(early) <= _FEW,
        f"{trial.name} opens all {len(early)} files before it gives the first record.",
        "Yield each record when its file was read.",
    )


_FEW = 8
_hearing: list[list[str]] = []


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if _hearing and event == "open" and isinstance(arguments[0], str):
        _hearing[-1].append(arguments[0])


@contextmanager
def _opened() -> Iterator[list[str]]:
    """The files that are opened meanwhile."""
    if not _hearing_since:
        # An audit hook cannot be taken away again; it does nothing while nobody listens.
        sys.addaudithook(_hear)
        _hearing_since.append(True)
    _hearing.append([])
    try:
        yield _hearing[-1]
    finally:
        _hearing.pop()


_hearing_since: list[bool] = []


@check("source", "format")
def a_reading_can_be_given_up(trial: Trial) -> None:
    """After the first record is enough, no file stays open."""
    import gc

    root = trial.material()
    gc.collect()
    before = _open_files()
    context = Context(issues=IssueLog("skip"))
    reading = trial.plugin.read(root, trial.options(trial.read_options), context)
    stream = iter(reading.content)
    next(stream)
    del stream, reading
    gc.collect()
    left = _open_files() - before
    require(not left, f"{trial.name} leaves {sorted(left)[:1]} open when it is given up.")


def _open_files() -> set[str]:
    """What this process has open; nothing where the system does not say."""
    folder = Path("/proc/self/fd")
    found = set()
    for entry in list(folder.iterdir()) if folder.is_dir() else []:
        try:
            found.add(str(entry.readlink()))
        except OSError:
            continue
    return {name for name in found if name.startswith("/") and not name.startswith("/proc")}


@check("source", "format")
def damaged_files_end_in_errors_of_tlx(trial: Trial) -> None:
    """Cut, empty, garbled, deeply nested, or in another encoding: records or a `TlxError`."""
    root = trial.material()
    base = root if root.is_dir() else root.parent
    files = [p for p in sorted(base.rglob("*")) if p.is_file() and not p.is_symlink()]
    chosen = {p.suffix: p for p in files if p.suffix not in foreign.PICTURES}
    for path in chosen.values():
        whole = path.read_bytes()
        for name, data in foreign.damages(whole):
            path.write_bytes(data)
            what = f"{path.relative_to(base)} ({name})"
            _outcome(trial, root, what)
            path.write_bytes(whole)


@check("source", "format")
def a_byte_order_mark_changes_nothing(trial: Trial) -> None:
    """Windows begins UTF-8 files with a mark; what is read stays the same, or it is an error."""
    root = trial.material()
    base = root if root.is_dir() else root.parent
    before = [(r.image_id, r.objects) for r in trial.read(root, "skip").records]
    for path in sorted(base.rglob("*")):
        if path.is_symlink() or not path.is_file() or path.suffix in foreign.PICTURES:
            continue
        whole = path.read_bytes()
        if not whole or whole.startswith(foreign.MARK) or not foreign.is_text(whole):
            continue
        path.write_bytes(foreign.MARK + whole)
        found = _outcome(trial, root, f"{path.name} with a byte order mark")
        path.write_bytes(whole)
        if isinstance(found, TlxError):
            continue
        after = [(r.image_id, r.objects) for r in found.records]
        same = after == before or found.issues.lost
        require(same, f"{trial.name} reads {path.name} otherwise with a byte order mark.")


@check("source", "format", slow=True)
def reading_holds_little_in_memory(trial: Trial) -> None:
    """Records stream through: a long input needs no more memory than a short one."""
    if trial.make is not None:
        return
    peaks = []
    for images in (SHORT, LONG):
        root = trial.many(images)
        trial.read(root) if images == SHORT else None
        peaks.append(peak_memory(partial(_drain, trial, root)))
    require_flat(f"reading {LONG} images, {trial.name}", *peaks)


def _drain(trial: Trial, root: Path) -> None:
    """Read to the end and keep nothing."""
    context = Context(issues=IssueLog("skip"))
    reading = trial.plugin.read(root, trial.options(trial.read_options), context)
    for _ in to_batches(reading.content, rows=16):
        pass


def _outcome(trial: Trial, path: Path, what: str | None = None) -> Read | TlxError:
    """Read under both policies; anything but records and errors of tlx is the finding."""
    found: Read | TlxError
    for policy in ("fail", "skip"):
        try:
            found = trial.read(path, policy)
        except TlxError as error:
            require(str(error).strip(), f"{trial.name} raises an error without words for {what}.")
            found = error
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
            kind, words = type(error).__name__, re.sub(r"\s+", " ", str(error))[:200]
            broken(f"{trial.name} raises {kind} for {what or path.name}: {words}")
    return found
