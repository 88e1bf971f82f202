"""How a dataset is told: a summary for people and one for programs."""

from __future__ import annotations

from typing import Any

from tlx.cli.screen import Screen, shares
from tlx.dataset import Dataset


def describe(dataset: Dataset) -> dict[str, Any]:
    """Counts as plain values."""
    counts = dataset.counts
    return {
        "images": counts.images,
        "objects": counts.objects,
        "negatives": counts.negatives,
        "objects_by_category": counts.objects_by_category,
        "images_by_split": counts.images_by_split,
    }


def show_dataset(screen: Screen, dataset: Dataset, done: str) -> None:
    """Print the counts of a dataset; of a dry run, whose parts are gone, those in the manifest."""
    counts = dataset.counts
    number = len(dataset.taxonomy)
    classes = "1 class" if number == 1 else f"{number} classes"
    screen.say(
        f"{counts.images:,} images ({counts.negatives:,} without objects), "
        f"{counts.objects:,} objects, {classes}: {done}"
    )
    if counts.objects or not counts.labels_by_category:
        screen.table("", ("class", "objects", "share"), shares(counts.objects_by_category))
    if counts.labels_by_category:
        screen.table(
            "",
            ("image label", "images"),
            [(n, f"{c:,}") for n, c in counts.labels_by_category.items()],
        )
    if dataset.splits() and dataset.path.exists():
        show_splits(screen, dataset)


def show_splits(screen: Screen, dataset: Dataset) -> None:
    """Print images, sequences, and objects or labels per class in each split."""
    splits = dataset.splits()
    images = dataset.counts.images_by_split
    groups: dict[str, set[str]] = {name: set() for name in splits}
    classes: dict[str, dict[str, int]] = {name: {} for name in dataset.taxonomy.names}
    for batch in dataset.batches(["split", "group", "objects", "labels"]):
        import pyarrow.compute as pc

        from tlx.schema import flat_objects

        names = batch.column("split").to_pylist()
        for name, group in zip(names, batch.column("group").to_pylist(), strict=True):
            if name is not None and group is not None:
                groups[name].add(group)
        parents, flat = flat_objects(batch)
        labels = pc.list_flatten(batch.column("labels"))
        present = pc.fill_null(labels.field("present"), False)
        labelled = pc.list_parent_indices(batch.column("labels")).filter(present)
        for rows, found in ((parents, flat), (labelled, labels.filter(present))):
            pairs = zip(rows.to_pylist(), found.field("category").to_pylist(), strict=True)
            for row, category in pairs:
                split = names[row] or ""
                classes[category][split] = classes[category].get(split, 0) + 1
    rows_out = [("images", *(f"{images[s]:,}" for s in splits))]
    rows_out.append(("sequences", *(f"{len(groups[s]):,}" for s in splits)))
    rows_out += [(name, *(f"{classes[name].get(s, 0):,}" for s in splits)) for name in classes]
    screen.table("", ("", *splits), rows_out)
