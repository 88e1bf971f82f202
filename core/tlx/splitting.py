"""Splits that no clip crosses: by group, stratified by class, seeded.

Neighbouring frames of a drive are near-duplicates, so a frame-wise split measures memory, not
skill. What must stay together (a `tlx.model.Record.group`) goes to one split as a whole.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tlx.errors import UsageError
from tlx.model import BAG

if TYPE_CHECKING:
    import pyarrow as pa

    from tlx.dataset import Dataset

By = Literal["sequence", "image"]

DEFAULT_RATIOS: Mapping[str, float] = {"train": 0.7, "val": 0.15, "test": 0.15}
OFFICIAL = "official_split"
"""Record attribute in which a source states the split that its publishers fixed."""

# Hill climbing is quadratic in nothing, but has no use when there are thousands of units: by then
# the greedy pass is already within a fraction of a percent.
_CLIMB_UNITS = 3000


@dataclass(slots=True)
class Unit:
    """What goes to one split as a whole.

    Attributes:
        key: The group, or the image id.
        images: How many images it has.
        classes: Objects per class.
        official: The split that the publishers fixed, if any.
    """

    key: str
    images: int = 0
    classes: dict[str, int] = field(default_factory=dict)
    official: str | None = None


def units(dataset: Dataset, by: By, *, official: bool) -> dict[str, Unit]:
    """The units of a dataset in order of first appearance.

    Raises:
        UsageError: If a group is in two official splits, or no image has a group where groups
            were asked for.
    """
    found: dict[str, Unit] = {}
    grouped = False
    for record in dataset.records():
        grouped = grouped or record.group is not None
        bag = record.attributes.get(BAG)
        key = _key(record.group, record.image_id, by, None if bag is None else str(bag))
        unit = found.setdefault(key, Unit(key))
        unit.images += 1
        for item in record.objects:
            unit.classes[item.category] = unit.classes.get(item.category, 0) + 1
        for label in record.labels:
            if label.present:
                unit.classes[label.category] = unit.classes.get(label.category, 0) + 1
        fixed = record.attributes.get(OFFICIAL) if official else None
        if fixed is not None and unit.official not in (None, str(fixed)):
            raise UsageError(
                f"the group {key!r} is in two official splits, {unit.official!r} and {fixed!r}.",
                hint="Split by ratio instead: leave out --official.",
            )
        unit.official = str(fixed) if fixed is not None else unit.official
    if by == "sequence" and not grouped:
        raise UsageError(
            f"no image of {dataset.path} belongs to a sequence, so there is nothing to split by.",
            hint="If the images are independent of each other, use: --by image",
        )
    if official and not any(u.official for u in found.values()):
        raise UsageError(
            f"{dataset.path} states no official split.",
            hint="Leave out --official to split by ratio.",
        )
    return found


def _key(group: str | None, image_id: str, by: By, bag: str | None) -> str:
    # An image without a group stands for itself; the marker keeps it apart from a group's name.
    if by == "sequence" and group is not None:
        return f"group:{group}"
    # Labels of a bag do not say which of its images they are about: it is never parted.
    return f"image:{image_id}" if bag is None else f"bag:{bag}"


def assign(
    found: Mapping[str, Unit], ratios: Mapping[str, float], *, stratify: bool, seed: int
) -> dict[str, str]:
    """Choose a split for every unit.

    Official splits are kept. The others are dealt out so that each split gets its share of the
    images and, when stratified, of every class: the rarest class first, to the split that lacks
    most of it (Sechidis et al., "On the Stratification of Multi-Label Data", 2011, with groups in
    place of samples), then improved by single moves while that helps.

    Args:
        found: Units by key.
        ratios: Share of each split; they sum to 1.
        stratify: Balance classes, not only images.
        seed: Decides ties.
    """
    fixed = {key: unit.official for key, unit in found.items() if unit.official is not None}
    free = [unit for key, unit in found.items() if key not in fixed]
    fixed_names = {*fixed.values()}
    if fixed and not free:
        # The publishers fixed train and test; a validation split is carved out of their train.
        missing = {n: r for n, r in ratios.items() if n not in fixed_names}
        if missing and "train" in fixed_names:
            pool = {k: u for k, u in found.items() if fixed[k] == "train"}
            rest = max(1e-9, 1 - sum(missing.values()))
            share = {"train": rest, **missing}
            inner = _deal([*pool.values()], share, stratify=stratify, seed=seed)
            return {**{k: str(v) for k, v in fixed.items()}, **inner}
        return {k: str(v) for k, v in fixed.items()}
    dealt = _deal(free, ratios, stratify=stratify, seed=seed)
    return {**{k: str(v) for k, v in fixed.items()}, **dealt}


def _deal(
    pool: Sequence[Unit], ratios: Mapping[str, float], *, stratify: bool, seed: int
) -> dict[str, str]:
    order = sorted(pool, key=lambda unit: unit.key)
    random.Random(seed).shuffle(order)  # noqa: S311 - a seeded shuffle, not a secret
    ledger = _Ledger(order, ratios, stratify=stratify)
    totals = ledger.totals
    # Units with the rarest class first: later ones can still even out the common classes.
    # Sorting is stable, so units that are equally rare stay in the seed's order.
    order.sort(key=lambda u: min((totals[c] for c in u.classes if c in totals), default=1 << 60))
    for unit in order:
        ledger.put(unit, min(ratios, key=lambda name: ledger.cost_with(unit, name)))
    if len(order) <= _CLIMB_UNITS:
        _climb(order, ledger, ratios)
    return {unit.key: ledger.where[unit.key] for unit in order}


def _climb(order: Sequence[Unit], ledger: _Ledger, ratios: Mapping[str, float]) -> None:
    """Move single units while the total cost falls; at most a few passes."""
    for _ in range(10):
        moved = False
        for unit in order:
            here = ledger.where[unit.key]
            ledger.take(unit)
            best = min(ratios, key=lambda name: (ledger.cost_with(unit, name), name != here))
            ledger.put(unit, best)
            moved = moved or best != here
        if not moved:
            return


class _Ledger:
    """What each split has so far, and how far that is from its share.

    The cost of a split is the sum over classes (and images) of the squared difference between its
    part of the class and its ratio, plus 1 for a class that is absent from it: a class that cannot
    be judged at all is worse than any uneven share.
    """

    def __init__(
        self, pool: Sequence[Unit], ratios: Mapping[str, float], *, stratify: bool
    ) -> None:
        self.ratios = ratios
        self.stratify = stratify
        self.totals: dict[str, int] = {}
        for unit in pool:
            for name, count in self._weights(unit):
                self.totals[name] = self.totals.get(name, 0) + count
        self.have: dict[str, dict[str, int]] = {name: {} for name in ratios}
        self.where: dict[str, str] = {}

    def _weights(self, unit: Unit) -> Iterator[tuple[str, int]]:
        yield "\0images", unit.images
        if self.stratify:
            yield from unit.classes.items()

    def put(self, unit: Unit, name: str) -> None:
        self._add(unit, name, 1)
        self.where[unit.key] = name

    def take(self, unit: Unit) -> None:
        self._add(unit, self.where.pop(unit.key), -1)

    def _add(self, unit: Unit, name: str, sign: int) -> None:
        have = self.have[name]
        for key, count in self._weights(unit):
            have[key] = have.get(key, 0) + sign * count

    def cost_with(self, unit: Unit, name: str) -> float:
        """How the total cost changes when the unit goes to a split."""
        have, ratio = self.have[name], self.ratios[name]
        change = 0.0
        for key, count in self._weights(unit):
            total = self.totals[key]
            before = have.get(key, 0) / total
            after = before + count / total
            change += (after - ratio) ** 2 - (before - ratio) ** 2
            if before == 0:
                change -= 1.0
        return change


def parse_ratios(text: str) -> dict[str, float]:
    """Read ``train=0.7,val=0.15,test=0.15``, or three bare numbers for train, val and test.

    Raises:
        UsageError: If it is something else, or the shares do not sum to 1.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    named = [part.partition("=") for part in parts]
    if all(not sep for _, sep, _ in named):
        named = [(n, "=", v) for n, v in zip(("train", "val", "test"), parts, strict=False)]
    ratios: dict[str, float] = {}
    for name, _, value in named:
        try:
            ratios[name.strip()] = float(value)
        except ValueError:
            raise UsageError(
                f"{value!r} is not a share.", hint="Write --ratios train=0.7,val=0.15,test=0.15"
            ) from None
    total = sum(ratios.values())
    if (
        not ratios
        or len(ratios) != len(parts)
        or min(ratios.values()) <= 0
        or abs(total - 1) > 1e-6
    ):
        raise UsageError(
            f"the shares {text!r} must be positive, have different names, and sum to 1 "
            f"(they sum to {total:g}).",
            hint="Write --ratios train=0.7,val=0.15,test=0.15",
        )
    return ratios


def with_splits(dataset: Dataset, chosen: Mapping[str, str], by: By) -> Iterator[pa.RecordBatch]:
    """The dataset's batches with the split column replaced."""
    import pyarrow as pa

    for batch in dataset.batches():
        groups = batch.column("group").to_pylist()
        ids = batch.column("image_id").to_pylist()
        rows = zip(groups, ids, _bags(batch), strict=True)
        column = pa.array([chosen[_key(g, i, by, bag)] for g, i, bag in rows], pa.string())
        yield batch.set_column(
            batch.schema.get_field_index("split"), batch.schema.field("split"), column
        )


def _bags(batch: pa.RecordBatch) -> list[str | None]:
    """The bag of each row, None where it has none."""
    import pyarrow.compute as pc

    lists = batch.column("attributes")
    rows = pc.list_parent_indices(lists)
    named = pc.equal(pc.struct_field(pc.list_flatten(lists), "name"), BAG)
    texts = pc.struct_field(pc.list_flatten(lists), "text").filter(named).to_pylist()
    bags: list[str | None] = [None] * batch.num_rows
    for row, text in zip(rows.filter(named).to_pylist(), texts, strict=True):
        bags[row] = text
    return bags


@dataclass(frozen=True, slots=True)
class Leak:
    """Something that is on both sides of a split.

    Attributes:
        kind: ``group`` (one clip in several splits), ``bag`` (images that share their labels, such
            as those of a road segment), ``image`` (one file listed twice), or
            ``content`` (two files with the same bytes).
        what: The group, the bag, or the image file.
        splits: Where it is.
        images: How many images are concerned.
    """

    kind: str
    what: str
    splits: tuple[str, ...]
    images: int

    def __str__(self) -> str:
        thing = {"group": "sequence", "bag": "bag", "image": "image", "content": "identical files"}[
            self.kind
        ]
        return f"{thing} {self.what} in {' and '.join(self.splits)} ({self.images} images)"


def audit(dataset: Dataset, *, contents: bool = True) -> list[Leak]:
    """Find what is in two splits at once.

    Args:
        dataset: The dataset; images without a split do not count.
        contents: Also compare files of equal size in different splits byte by byte (by SHA-256).
    """
    columns = ["image_id", "uri", "split", "group"]
    groups: dict[str, dict[str, int]] = {}
    bags: dict[str, dict[str, int]] = {}
    files: dict[str, dict[str, int]] = {}
    for batch in dataset.batches([*columns, "attributes"]):
        cells = [batch.column(name).to_pylist() for name in columns]
        for _, uri, split, group, bag in zip(*cells, _bags(batch), strict=True):
            if split is None:
                continue
            files.setdefault(uri, {}).setdefault(split, 0)
            files[uri][split] += 1
            if group is not None:
                groups.setdefault(group, {}).setdefault(split, 0)
                groups[group][split] += 1
            if bag is not None:
                bags.setdefault(bag, {}).setdefault(split, 0)
                bags[bag][split] += 1
    leaks = [_leak("group", name, counts) for name, counts in groups.items() if len(counts) > 1]
    # A bag in two splits is told once, by its group where that is in both.
    whole = {leak.what for leak in leaks}
    leaks += [
        _leak("bag", name, counts)
        for name, counts in bags.items()
        if len(counts) > 1 and name not in whole
    ]
    leaks += [_leak("image", name, counts) for name, counts in files.items() if len(counts) > 1]
    if contents:
        leaks += _same_contents(dataset, files)
    return leaks


def _leak(kind: str, what: str, counts: Mapping[str, int]) -> Leak:
    return Leak(kind, what, tuple(sorted(counts)), sum(counts.values()))


def _same_contents(dataset: Dataset, files: Mapping[str, Mapping[str, int]]) -> Iterator[Leak]:
    """Files with equal bytes in different splits; only files of equal size are read."""
    sizes: dict[int, list[str]] = {}
    for uri in files:
        try:
            size = dataset.image_path(uri).stat().st_size
        except OSError:
            continue
        if size:
            sizes.setdefault(size, []).append(uri)
    for uris in sizes.values():
        if len({s for uri in uris for s in files[uri]}) < 2:
            continue
        same: dict[bytes, list[str]] = {}
        for uri in uris:
            same.setdefault(_digest(dataset.image_path(uri)), []).append(uri)
        for twins in same.values():
            splits = sorted({s for uri in twins for s in files[uri]})
            if len(twins) > 1 and len(splits) > 1:
                yield Leak("content", " = ".join(twins[:3]), tuple(splits), len(twins))


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
