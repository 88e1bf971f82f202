"""The commands as plain functions: what ``tlx NAME`` does, a notebook does by ``tlx.NAME(...)``.

Every function takes paths as strings or `pathlib.Path`, plain options, and a `Context`; it
returns a value and prints nothing.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tlx
from tlx import class_map, host, sidecar
from tlx import options as option_values
from tlx.api import Match, Reading
from tlx.context import Context
from tlx.dataset import SUFFIX, Dataset, Operation, to_batches, write_dataset
from tlx.errors import DataError, UsageError, nearest
from tlx.loss import Loss, find_loss
from tlx.policies import Policies, apply
from tlx.splitting import DEFAULT_RATIOS, By, assign, parse_ratios, units, with_splits
from tlx.staging import check_free, require_apart, staged

_FOLDERS_LOOKED_AT = 20

PathLike = str | os.PathLike[str]


def require_path(path: PathLike, what: str) -> Path:
    """The path, if it exists; otherwise an error that names what lies beside it."""
    found = Path(path).expanduser()
    if found.exists():
        return found
    parent = found.parent
    while not parent.exists():
        parent = parent.parent
    names = sorted(p.name for p in parent.iterdir())[:200]
    near = nearest(found.name, names).replace("Known:", f"{parent.resolve()} holds:")
    hint = near if names else f"{parent.resolve()} is empty."
    raise UsageError(f"{what} {found} does not exist.", hint=hint)


def options_of(entry: host.Entry, given: Any) -> Any:
    """The plugin's options value from a value, a mapping of plain values, or nothing."""
    kind = entry.value.options
    return (
        given
        if isinstance(given, kind)
        else option_values.build(kind, given, f"the {entry.kind} {entry.name!r}")
    )


def _fingerprint(files: Iterable[Path]) -> str:
    """SHA-256 over names, sizes and contents of the files that define an input."""
    total = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        total.update(f"{file.name}\0{digest}\n".encode())
    return total.hexdigest()


def _operation(name: str, entry: host.Entry | None = None, **facts: Any) -> Operation:
    return Operation(
        name=name,
        plugin=None if entry is None else entry.name,
        version=tlx.__version__ if entry is None else entry.origin,
        options=facts.get("options", {}),
        inputs=facts.get("inputs", {}),
        notes=facts.get("notes", {}),
    )


def detect(root: PathLike) -> str:
    """Name the one source that recognises a path.

    Raises:
        UsageError: If none does, with what each looked for, or several do, with their reasons.
    """
    path = require_path(root, "The path")
    verdicts = _verdicts(path)
    matches = {name: match for name, match in verdicts.items() if match.ok}
    if len(matches) == 1:
        return next(iter(matches))
    if matches:
        listing = "; ".join(f"{name} ({', '.join(m.met)})" for name, m in matches.items())
        raise UsageError(
            f"{path} could be several things: {listing}.",
            hint="Name it: tlx ingest NAME PATH",
        )
    near = _below(path)
    if near:
        raise UsageError(
            f"{path} is nothing that tlx knows, but {'; '.join(near)}.",
            hint="Give one of these folders, or name the source: tlx ingest NAME PATH",
        )
    missing = [f"{name}: {', '.join(match.missing)}" for name, match in verdicts.items()]
    hint = "\n  ".join(["Looked for, and missing:", *missing])
    raise UsageError(f"{path} is nothing that tlx knows.", hint=hint)


def _verdicts(path: Path) -> dict[str, Match]:
    found = {}
    for entry in host.installed().all("source"):
        with host.guard(entry):
            found[entry.name] = entry.value.sniff(path)
    return found


def _below(path: Path) -> list[str]:
    """What the first folders below a path are, as sentences."""
    if not path.is_dir():
        return []
    folders = sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
    known = {
        folder.name: [name for name, match in _verdicts(folder).items() if match.ok]
        for folder in folders[:_FOLDERS_LOOKED_AT]
    }
    return [f"{name} in it is {' or '.join(names)}" for name, names in known.items() if names]


def ingest(
    source: str,
    root: PathLike,
    output: PathLike | None = None,
    *,
    options: Any = None,
    overwrite: bool = False,
    dry_run: bool = False,
    context: Context | None = None,
) -> Dataset:
    """Read labelled images from where they are into a dataset.

    Args:
        source: Name of a source or of a readable format.
        root: The folder or file that the source reads; it is not touched.
        output: The dataset folder, ``SOURCE.tlx`` by default.
        options: The source's options value, or a mapping of its fields.
        overwrite: Replace what lies at the output.
        dry_run: Read everything and keep nothing: the returned dataset has counts but no parts.
        context: Progress and issues.

    Raises:
        UsageError: For a wrong name, path or option.
        DataError: If the input is not what it should be.
    """
    return _ingest(source, root, output, options, overwrite, dry_run, context, passing=dry_run)


def _ingest(
    source: str,
    root: PathLike,
    output: PathLike | None,
    options: Any,
    overwrite: bool,
    dry_run: bool,
    context: Context | None,
    *,
    passing: bool,
) -> Dataset:
    """Do what `ingest` says; with ``passing`` the dataset is one that is removed soon."""
    context = replace(context or Context(), dry_run=dry_run)
    entry = host.installed().entry("source", source)
    path = require_path(root, "The path")
    chosen = options_of(entry, options)
    dest = Path(output if output is not None else f"{source}{SUFFIX}")
    if not dry_run:
        require_apart(path, dest)
        check_free(dest, overwrite)
    with host.guard(entry):
        reading = entry.value.read(path, chosen, context)

        def lineage() -> tuple[Operation, ...]:
            read = _operation(
                "ingest",
                entry,
                options=option_values.plain(chosen),
                inputs={"root": path.name, "sha256": _fingerprint(reading.fingerprint)},
                notes={} if reading.notes is None else dict(reading.notes()),
            )
            return (read,)

        room = tempfile.TemporaryDirectory(prefix="tlx-dry-run-") if dry_run else nullcontext("")
        with room as folder:
            return write_dataset(
                Path(folder) / "dry.tlx" if dry_run else dest,
                _nonempty(reading, path, context),
                reading.taxonomy,
                reading.media_root,
                lineage,
                overwrite=overwrite,
                issues=context.issues,
                passing=passing,
            )


def _nonempty(reading: Reading, path: Path, context: Context) -> Iterable[Any]:
    """The reading's batches under the progress display; an empty input is an error."""
    count = 0
    for batch in context.progress.track(to_batches(reading.content), f"reading {path.name}"):
        count += batch.num_rows
        yield batch
    if count:
        return
    first = context.issues.first_lost
    if first is None:
        raise DataError("holds no image and no label.", place=path)
    raise DataError(
        f"nothing is left: {context.issues.lost:,} bad record(s) were left out; the first: "
        f"{first.message}",
        place=first.place,
        hint=first.hint,
    )


def split(
    dataset: PathLike,
    output: PathLike | None = None,
    *,
    by: By = "sequence",
    ratios: str | Mapping[str, float] | None = None,
    stratify: bool = False,
    official: bool = False,
    seed: int = 0,
    overwrite: bool = False,
) -> Dataset:
    """Give every image a split; what belongs together stays together.

    Args:
        dataset: A dataset folder; it is replaced as a whole when there is no output.
        output: Where the split dataset goes.
        by: ``sequence`` keeps groups whole, ``image`` deals out single images.
        ratios: Shares by split name; 70 % train, 15 % val, 15 % test by default.
        stratify: Balance the classes between the splits too.
        official: Keep the splits that the publishers fixed; with a ``val`` among the ratios it is
            carved out of their train.
        seed: Decides ties.
        overwrite: Replace splits that exist, or what lies at the output.
    """
    before = Dataset.open(dataset)
    if output is None and before.splits() and not overwrite:
        raise UsageError(
            f"{before.path} is split already ({', '.join(before.splits())}).",
            hint="Replace its splits with --overwrite, or write another dataset with -o.",
        )
    shares = parse_ratios(ratios) if isinstance(ratios, str) else dict(ratios or DEFAULT_RATIOS)
    found = units(before, by, official=official)
    if official and ratios is None:
        shares = {"train": 0.85, "val": 0.15}
    if len(found) < len(shares):
        raise UsageError(
            f"{len(found)} sequence(s) cannot fill {len(shares)} splits.",
            hint="Give fewer splits by --ratios, or split single images by --by image.",
        )
    chosen = assign(found, shares, stratify=stratify, seed=seed)
    facts = {"by": by, "ratios": shares, "stratify": stratify, "official": official, "seed": seed}
    return write_dataset(
        Path(output) if output is not None else before.path,
        with_splits(before, chosen, by),
        before.taxonomy,
        before.media_root,
        (*before.manifest.lineage, _operation("split", options=facts)),
        overwrite=overwrite or output is None,
    )


def relabel(
    dataset: PathLike,
    mapping: str | Mapping[str, str],
    output: PathLike,
    *,
    overwrite: bool = False,
) -> Dataset:
    """Rename, merge or drop classes; ``old=new``, and ``old=`` drops the class.

    Raises:
        UsageError: For a class that the dataset does not have.
    """
    from tlx.columns import relabelled

    before = Dataset.open(dataset)
    renames = class_map.parse(mapping) if isinstance(mapping, str) else dict(mapping)
    class_map.require_known(renames, before.taxonomy)
    taxonomy = class_map.mapped_taxonomy(before.taxonomy, renames)
    return write_dataset(
        Path(output),
        (relabelled(batch, renames) for batch in before.batches()),
        taxonomy,
        before.media_root,
        (*before.manifest.lineage, _operation("relabel", options={"mapping": renames})),
        overwrite=overwrite,
    )


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a conversion wrote, or would write, and what is lost by it."""

    output: Path
    losses: tuple[Loss, ...]
    images: int
    objects: int
    files: tuple[str, ...] = ()


def convert(
    path: PathLike,
    to: str,
    output: PathLike,
    *,
    from_: str | None = None,
    options: Any = None,
    source_options: Any = None,
    strict: bool = False,
    dry_run: bool = False,
    overwrite: bool = False,
    on_loss: Any = None,
    policies: Policies | None = None,
    context: Context | None = None,
) -> Conversion:
    """Write a dataset, or a foreign folder, in another format.

    Args:
        path: A dataset folder, or what the format ``from_`` reads.
        to: Name of the format to write.
        output: Where it goes.
        from_: Name of the source to read ``path`` with; needed unless it is a dataset.
        options: The target's options value, or a mapping of its fields.
        source_options: The same for ``from_``.
        strict: Refuse when anything would be dropped; what is rounded is only said.
        dry_run: Only find the loss.
        overwrite: Replace what lies at the output.
        on_loss: Called with the losses before anything is written.
        policies: What is left out or changed on the way, whatever the format.
        context: Progress and issues.

    Raises:
        UsageError: If something would be lost and ``strict`` is set.
    """
    context = context or Context()
    entry = host.installed().entry("format", to)
    chosen = options_of(entry, options)
    dest = Path(output)
    if not dry_run:
        require_apart(require_path(path, "The input"), dest)
        check_free(dest, overwrite)
    with tempfile.TemporaryDirectory(prefix="tlx-convert-") as room:
        if from_ is None:
            dataset = Dataset.open(require_path(path, "The dataset"))
        else:
            temporary = Path(room) / "source.tlx"
            dataset = _ingest(
                from_, path, temporary, source_options, False, False, context, passing=True
            )
        if policies is not None and not policies.idle:
            dataset = apply(dataset, policies, Path(room) / "chosen.tlx", context)
        with host.guard(entry):
            traits = entry.value.traits(chosen)
        losses = tuple(find_loss(dataset, traits))
        if on_loss is not None:
            on_loss(losses)
        dropped = [loss for loss in losses if loss.kind == "dropped"]
        if strict and dropped:
            first = dropped[0]
            raise UsageError(
                f"{to} would lose {first.field} of {first.count} ({first.reason})"
                + (f" and {len(dropped) - 1} more kind(s) of facts." if len(dropped) > 1 else "."),
                hint="Leave out --strict to accept the loss.",
            )
        counts = dataset.counts
        if not dry_run:
            require_apart(dataset.media_root, dest)
        if dry_run:
            return Conversion(dest, losses, counts.images, counts.objects)
        with host.guard(entry), staged(dest, overwrite=overwrite) as target:
            report = entry.value.write(dataset, target, chosen, context)
        sidecar.write(
            dest,
            target=to,
            origin=entry.origin,
            options=option_values.plain(chosen),
            traits=traits,
            dataset=dataset,
            report=report,
            losses=losses,
            issues=context.issues,
        )
        return Conversion(dest, losses, report.images, report.objects, report.files)
