"""Random numbers without state: every draw is a function of the seed, the epoch and the image.

So an interrupted training that goes on, or one with other worker processes, sees the same images.
Philox is a counter-based generator (Salmon et al., 2011, "Parallel random numbers: as easy as 1,
2, 3"), made for this.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_MASK = (1 << 64) - 1
_ORDER = 1
_IMAGE = 2
_EPOCH = 3


def _generator(seed: int, purpose: int, epoch: int, index: int) -> np.random.Generator:
    key = [seed & _MASK, purpose]
    return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, epoch, index]))


def for_image(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The generator that augments one image in one epoch."""
    return _generator(seed, _IMAGE, epoch, index)


def order(seed: int, epoch: int, count: int) -> npt.NDArray[np.int64]:
    """The order of the images in an epoch: a permutation, int64 [count]."""
    return _generator(seed, _ORDER, epoch, 0).permutation(count)


def epoch_seed(seed: int, epoch: int) -> int:
    """Seed of torch's own generator for an epoch (samplers within a network draw from it)."""
    return int(_generator(seed, _EPOCH, epoch, 0).integers(1 << 62))
