"""Random numbers that are a function of a seed and a position, and of nothing else.

TensorFlow's random operations keep a state: what they draw depends on everything that was drawn
before, and with several threads on who comes first. The libraries here use them for augmentation
and for the choice of examples in a loss. Inside `drawn_from` each of them becomes its stateless
form while it is traced, so that a training that goes on in the middle draws what an unbroken one
would have drawn, in however many threads.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

# More than one function has random operations.
_OPERATIONS = 1 << 16
_PURPOSES = ("image", "step")

Purpose = Literal["image", "step"]


@dataclass(slots=True)
class _Source:
    seed: int
    purpose: Purpose
    position: Any
    graph: Any
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def pair(self) -> Any:
        """The seed of one more operation, int64 (2,)."""
        import tensorflow as tf

        stream = self.seed * len(_PURPOSES) + _PURPOSES.index(self.purpose)
        own = stream * _OPERATIONS + next(self.numbers)
        return tf.stack([tf.constant(own, tf.int64), tf.cast(self.position, tf.int64)])

    def reaches(self, graph: Any) -> bool:
        """Whether an operation of this graph is run at most once per position."""
        from tensorflow.python.ops import control_flow_v2_func_graphs as kinds

        loops = (kinds.WhileBodyFuncGraph, kinds.WhileCondFuncGraph)
        while graph is not self.graph:
            if graph is None or isinstance(graph, loops):
                return False
            graph = getattr(graph, "outer_graph", None)
        return True


# Replicas are traced in threads that take turns.
_active = threading.local()


@contextlib.contextmanager
def drawn_from(seed: int, purpose: Purpose, position: Any) -> Iterator[None]:
    """Make the random operations that are traced inside functions of their arguments.

    Those in the body of a loop are left alone: all rounds would draw the same.

    Args:
        seed: Not negative, below 2**46.
        purpose: What the numbers are for; other purposes draw others.
        position: Scalar tensor of integers: which image or step it is.
    """
    from tensorflow.python.framework import ops

    before = getattr(_active, "source", None)
    _active.source = _Source(seed, purpose, position, ops.get_default_graph())
    try:
        yield
    finally:
        _active.source = before


def install() -> None:
    """Let TensorFlow's random operations ask for a seed; without `drawn_from` nothing changes."""
    import tensorflow as tf
    from tensorflow.python.ops import gen_image_ops, gen_random_ops

    random = tf.random

    def uniform(seed: Any, *, shape: Any, dtype: Any, **_: Any) -> Any:
        return random.stateless_uniform(shape, seed, dtype=dtype)

    def integers(seed: Any, *, shape: Any, minval: Any, maxval: Any, **_: Any) -> Any:
        return random.stateless_uniform(shape, seed, minval, maxval, dtype=minval.dtype)

    def normal(seed: Any, *, shape: Any, dtype: Any, **_: Any) -> Any:
        return random.stateless_normal(shape, seed, dtype=dtype)

    def truncated(seed: Any, *, shape: Any, dtype: Any, **_: Any) -> Any:
        return random.stateless_truncated_normal(shape, seed, dtype=dtype)

    def shuffled(seed: Any, *, value: Any, **_: Any) -> Any:
        return random.experimental.stateless_shuffle(value, seed)

    def crop(seed: Any, *, seed2: int = 0, **arguments: Any) -> Any:
        del seed2
        return gen_image_ops.stateless_sample_distorted_bounding_box(**{**arguments, "seed": seed})

    names: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
        "random_uniform": (uniform, ("shape", "dtype")),
        "random_uniform_int": (integers, ("shape", "minval", "maxval")),
        "random_standard_normal": (normal, ("shape", "dtype")),
        "truncated_normal": (truncated, ("shape", "dtype")),
        "random_shuffle": (shuffled, ("value",)),
    }
    for name, (stateless, positional) in names.items():
        _wrap(gen_random_ops, name, stateless, positional)
    _wrap(gen_image_ops, "sample_distorted_bounding_box_v2", crop, ("image_size", "bounding_boxes"))


def _wrap(
    module: Any, name: str, stateless: Callable[..., Any], positional: tuple[str, ...]
) -> None:
    original = getattr(module, name)
    if getattr(original, "asks_for_a_seed", False):
        return

    def operation(*arguments: Any, **keywords: Any) -> Any:
        from tensorflow.python.framework import ops

        source = getattr(_active, "source", None)
        if source is None or not source.reaches(ops.get_default_graph()):
            return original(*arguments, **keywords)
        named = dict(zip(positional, arguments, strict=False)) | keywords
        # The pair replaces the operation's own seeds, which the libraries leave to chance.
        named.pop("seed", None)
        return stateless(source.pair(), **named)

    operation.asks_for_a_seed = True  # type: ignore[attr-defined]
    setattr(module, name, operation)
