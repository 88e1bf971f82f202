"""Runs in the worker's environment: which variables of two checkpoints differ."""

from __future__ import annotations


def run(job, channel):
    """Compare the network's variables of two checkpoints bit by bit."""
    import tensorflow as tf

    readers = [tf.train.load_checkpoint(prefix) for prefix in job["prefixes"]]
    names = [
        name
        for name in readers[0].get_variable_to_shape_map()
        if name.startswith("model/") and "OPTIMIZER_SLOT" not in name
    ]
    different = []
    for name in names:
        one = readers[0].get_tensor(name)
        other = readers[1].get_tensor(name) if readers[1].has_tensor(name) else None
        if other is None or one.shape != other.shape or (one != other).any():
            different.append(name)
    channel.emit("compared", variables=len(names), different=sorted(different))
    return {}
