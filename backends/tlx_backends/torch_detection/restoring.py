"""Puts weights into a fresh network: everything that fits, and class rows where they belong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from tlx.errors import DataError, UsageError, nearest
from tlx_backends.torch_detection.class_rows import layout_of, moved, plan_moves
from tlx_backends.torch_detection.settings import NetworkSettings
from tlx_backends.torch_detection.weight_files import WeightSource

# (prefix that a file has, prefix that the detector has): whole detectors, and bare bodies as
# classification networks publish them.
_PREFIXES = (
    ("", ""),
    ("", "backbone.body."),
    ("features.", "backbone.body."),
    ("features.", "backbone.features."),
    ("backbone.", "backbone.body."),
)
_PARTS = (
    ("backbone.fpn.", "neck"),
    ("backbone.", "body"),
    ("rpn.", "proposals"),
    ("roi_heads.box_head.", "box head"),
    ("roi_heads.box_predictor.", "class layers"),
    ("head.classification_head.", "classification head"),
    ("head.regression_head.", "regression head"),
)
# A counter that only cumulative statistics would use; frozen normalisation has none.
_IGNORED = "num_batches_tracked"


@dataclass(frozen=True, slots=True)
class PartCount:
    """Tensors of one part of the network: restored as they were, class rows moved, or new."""

    part: str
    restored: int
    moved: int
    new: int


@dataclass(frozen=True, slots=True)
class ClassOrigin:
    """Where the rows of a class come from; ``old`` is None for fresh rows."""

    name: str
    old: str | None
    share: float


@dataclass(frozen=True, slots=True)
class Restored:
    """What a network took over.

    Attributes:
        source: The file, None for random weights.
        sha256: Its digest.
        parts: Counts by part, in the order of the network.
        classes: One entry per class.
        unused: Tensors of the file that nothing was found for.
    """

    source: str | None
    sha256: str | None
    parts: tuple[PartCount, ...]
    classes: tuple[ClassOrigin, ...]
    unused: int

    def event(self) -> dict[str, Any]:
        """As an event of the kind ``restored``."""
        return {
            "kind": "restored",
            "source": self.source,
            "sha256": self.sha256,
            "rows": [
                {"part": p.part, "restored": p.restored, "moved": p.moved, "new": p.new}
                for p in self.parts
            ],
            "classes": [{"class": c.name, "from": c.old, "share": c.share} for c in self.classes],
            "unused": self.unused,
        }


def restore(
    model: nn.Module,
    settings: NetworkSettings,
    source: WeightSource | None,
    old_rows: Mapping[str, int] | None,
    old_row_count: int | None,
    warm_start: Mapping[str, str],
    blend: float | None,
) -> Restored:
    """Load what fits by name and shape into ``model`` and move class rows.

    Args:
        model: A fresh network of ``settings``; changed in place.
        settings: Names the new classes.
        source: The weights, None for random ones.
        old_rows: Row of each old class, None where the file does not name its classes.
        old_row_count: Class rows of the old head, the background included.
        warm_start: New class to old class; a class that is not named starts from the old class
            of the same name, if there is one.
        blend: See `class_rows.plan_moves`.

    Raises:
        UsageError: If a class in ``warm_start`` is unknown, or there are no class rows to move.
        DataError: If nothing in the file fits this network.
    """
    if source is None:
        if warm_start:
            raise UsageError(
                "a warm start takes class rows from earlier weights, and the weights are random.",
                hint="Name weights with --weights: an earlier run, or published ones.",
            )
        return _nothing_restored(model, settings)
    origins = _origins(settings, source, old_rows, warm_start)
    rows = {name: settings.first_label + k for k, name in enumerate(settings.classes)}
    entry = settings.architecture
    moves = plan_moves(origins, rows, old_rows or {}, background=entry.background, blend=blend)
    state = model.state_dict()
    tensors = _named_for(source, state)
    counts: Counter[tuple[str, str]] = Counter()
    used: set[str] = set()
    fitted: dict[str, Tensor] = {}
    for name, fresh in state.items():
        old = tensors.get(name)
        if name.endswith(_IGNORED):
            if old is not None:
                fitted[name] = old
            continue
        layout = layout_of(name, entry.family)
        result, verdict = None, "new"
        if old is not None and layout is None and old.shape == fresh.shape:
            result, verdict = old, "restored"
        elif old is not None and layout is not None and old_row_count is not None and moves:
            result = moved(
                fresh,
                old,
                layout,
                moves,
                rows=settings.rows,
                old_row_count=old_row_count,
                softmax=entry.background,
            )
            verdict = "new" if result is None else "moved"
        counts[_part(name), verdict] += 1
        if result is not None:
            fitted[name] = result
            used.add(name)
    if not used:
        raise DataError(
            f"holds {len(tensors)} tensors, and none fits {settings.model} by name and shape.",
            place=source.path,
            hint="Choose the model that the weights were made for.",
        )
    moved_rows = any(verdict == "moved" for _, verdict in counts)
    if warm_start and not moved_rows:
        raise UsageError(
            f"{source.path} has no class rows that fit the head of {settings.model}, so a warm "
            "start has nothing to move.",
            hint="Leave out --warm-start: everything else that fits is restored all the same.",
        )
    model.load_state_dict(fitted, strict=False)
    share = {move.row: move.share for move in moves} if moved_rows else {}
    return Restored(
        source=str(source.path),
        sha256=source.sha256,
        parts=_parts(counts),
        classes=tuple(
            ClassOrigin(n, origins[n], share[rows[n]])
            if n in origins and rows[n] in share
            else ClassOrigin(n, None, 0.0)
            for n in settings.classes
        ),
        unused=sum(1 for n in tensors if n not in used and not n.endswith(_IGNORED)),
    )


def _origins(
    settings: NetworkSettings,
    source: WeightSource,
    old_rows: Mapping[str, int] | None,
    warm_start: Mapping[str, str],
) -> dict[str, str]:
    for name in warm_start:
        if name not in settings.classes:
            raise UsageError(
                f"the dataset has no class {name!r} that could be started warm.",
                hint=nearest(name, settings.classes),
            )
    if old_rows is None:
        if warm_start:
            raise UsageError(
                f"{source.path} does not name its classes, so no rows can be moved by name.",
                hint="A warm start works from a tlx run or from published weights.",
            )
        return {}
    for old in warm_start.values():
        if old not in old_rows:
            raise UsageError(
                f"the weights know no class {old!r}.",
                hint=nearest(old, old_rows),
            )
    return {
        name: warm_start.get(name, name)
        for name in settings.classes
        if name in warm_start or name in old_rows
    }


def _named_for(source: WeightSource, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The file's tensors under the names of the network: the renaming under which most fit."""
    tensors = source.tensors
    best: dict[str, Tensor] = {}
    most = -1
    for old, new in _PREFIXES:
        renamed = {
            new + name.removeprefix(old): value
            for name, value in tensors.items()
            if name.startswith(old)
        }
        fits = sum(
            1
            for name, value in renamed.items()
            if name in state and state[name].shape == value.shape and not name.endswith(_IGNORED)
        )
        if fits > most:
            best, most = renamed, fits
    return best


def _part(name: str) -> str:
    return next((part for prefix, part in _PARTS if name.startswith(prefix)), "rest")


def _parts(counts: Mapping[tuple[str, str], int]) -> tuple[PartCount, ...]:
    names = list(dict.fromkeys(part for part, _ in counts))
    return tuple(
        PartCount(
            name,
            counts.get((name, "restored"), 0),
            counts.get((name, "moved"), 0),
            counts.get((name, "new"), 0),
        )
        for name in names
    )


def _nothing_restored(model: nn.Module, settings: NetworkSettings) -> Restored:
    counts = Counter(
        (_part(name), "new") for name in model.state_dict() if not name.endswith(_IGNORED)
    )
    classes = tuple(ClassOrigin(name, None, 0.0) for name in settings.classes)
    return Restored(None, None, _parts(counts), classes, 0)
