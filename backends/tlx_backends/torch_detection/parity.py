"""Whether an exported detector detects what the original detects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.ops import box_iou

from tlx.dataset import Dataset
from tlx.errors import TlxError
from tlx.runs import Run
from tlx_backends.torch_detection import networks
from tlx_backends.torch_detection.images import UnreadableImage, fit, read
from tlx_backends.torch_detection.networks import Found, Network
from tlx_backends.torch_detection.settings import NetworkSettings

SCORE_TOLERANCE = 1e-3
SMALLEST_OVERLAP = 0.99
_OVERLAP_TOLERANCE = 0.01
_OF_THE_RUN = 4


@dataclass(frozen=True, slots=True)
class Agreement:
    """How the detections of an exported network agree with those of the original.

    Attributes:
        images: Images that were looked at.
        compared: Detections of either that were looked for in the other's.
        ties: Those that only one of both has, because near equal scores were ordered otherwise.
        missed: Those that nothing explains.
        score: Largest difference of a score.
    """

    images: int
    compared: int
    ties: int
    missed: int
    score: float


def images_to_compare(checkpoint: Path, settings: NetworkSettings) -> list[Tensor]:
    """Images of the run's own data and drawn ones, uint8 [3, h, w] at the input's size.

    What is drawn has all proportions that the input may have.
    """
    random = torch.Generator().manual_seed(0)
    longer, shorter = settings.longer, settings.shorter
    shapes = [(longer, shorter), (shorter, longer), (longer, longer)]
    drawn = []
    for number, (width, height) in enumerate(shapes):
        wide, high = settings.input_size(width, height)
        coarse = torch.rand((1, 3, 4 + number, 6 + number), generator=random)
        smooth = torch.nn.functional.interpolate(coarse, size=(high, wide), mode="bicubic")[0]
        drawn.append((smooth.clamp(0, 1) * 255).to(torch.uint8))
    return [*islice(_of_the_run(checkpoint, settings), _OF_THE_RUN), *drawn]


def _of_the_run(checkpoint: Path, settings: NetworkSettings) -> Iterable[Tensor]:
    """Images that the run was validated on; none where they are no longer here."""
    run = checkpoint if checkpoint.is_dir() else checkpoint.parent.parent
    try:
        request = Run.open(run).info.request
        data = Dataset.open(request.dataset)
    except TlxError:
        return
    split = request.val_split if data.counts.images_by_split.get(request.val_split) else None
    for record in data.records(split):
        try:
            yield fit(read(str(data.image_path(record.uri))), settings).pixels
        except UnreadableImage:
            continue


@torch.inference_mode()
def compare(model: nn.Module, exported: Network, images: Sequence[Tensor]) -> Agreement:
    """Look for the detections of each network in the other's.

    Suppression is greedy: which of two boxes of nearly one score stays is decided by the last bit
    of their scores, and a list that is full may end with either. A detection that only one network
    has is therefore a tie and no difference where the exported one's is a candidate of the
    original's suppression, and where the original's is suppressed or outdone by the exported ones.

    Args:
        model: The original in evaluation mode.
        exported: The other.
        images: uint8 [3, h, w] at the input's size.
    """
    compared = ties = missed = 0
    score = 0.0
    for image in images:
        (ours,), (theirs,) = model([image]), exported([image])
        full = len(theirs["scores"]) >= networks.suppression(model).most
        ours, theirs = _with_area(ours), _with_area(theirs)
        found, gap = _found(ours, theirs)
        back, _ = _found(theirs, ours)
        compared += len(found) + len(back)
        score = max(score, gap)
        alone = int((~found).sum()) + int((~back).sum())
        if not alone:
            continue
        with networks.unsuppressed(model):
            (candidates,) = model([image])
        known, _ = _found(theirs, _with_area(candidates))
        explained = found | _outdone(ours, theirs, model, full=full)
        unexplained = int((~known).sum()) + int((~explained).sum())
        missed += unexplained
        ties += alone - unexplained
    return Agreement(len(images), compared, ties, missed, score)


def _found(ones: Found, others: Found) -> tuple[Tensor, float]:
    """For each of some detections whether it is among the others, and the largest gap of scores."""
    same, gap, overlap = _pairs(ones, others)
    found = same & (gap < SCORE_TOLERANCE) & (overlap > SMALLEST_OVERLAP)
    return found.any(1), float(gap[found].max()) if bool(found.any()) else 0.0


def _outdone(ours: Found, theirs: Found, model: nn.Module, *, full: bool) -> Tensor:
    """For each of ours whether theirs suppress it, or are as many as may be and as good."""
    limit = networks.suppression(model).overlap
    same, _, overlap = _pairs(ours, theirs)
    better = theirs["scores"][None] > ours["scores"][:, None] - SCORE_TOLERANCE
    suppressed = (same & better & (overlap > limit - _OVERLAP_TOLERANCE)).any(1)
    return suppressed | (better.all(1) & full)


def _with_area(found: Found) -> Found:
    """Without boxes that have no area: they mark nothing, and overlap with nothing."""
    boxes = found["boxes"]
    good = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(1)
    return {name: values[good] for name, values in found.items()}


def _pairs(ones: Found, others: Found) -> tuple[Tensor, Tensor, Tensor]:
    same = ones["labels"][:, None] == others["labels"][None]
    gap = (ones["scores"][:, None] - others["scores"][None]).abs()
    return same, gap, box_iou(ones["boxes"], others["boxes"])


def require(model: nn.Module, exported: Network, images: Sequence[Tensor], form: str) -> Agreement:
    """Compare, and refuse a network that detects otherwise.

    Raises:
        TlxError: With the number of detections that differ.
    """
    found = compare(model, exported, images)
    if found.missed:
        raise TlxError(
            f"the {form} does not find what the checkpoint finds: {found.missed} of "
            f"{found.compared} detections in {found.images} images differ; nothing was written.",
            hint="Use the checkpoint itself, and report this with the versions of torch.",
        )
    return found
