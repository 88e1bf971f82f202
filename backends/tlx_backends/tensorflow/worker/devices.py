"""Devices and threads of this process; chosen before TensorFlow does anything."""

from __future__ import annotations

from typing import Any

from tlx.worker_protocol import WorkerError


def choose(device: str, threads: int | None, logical: int = 1) -> None:
    """Show TensorFlow the devices that it shall use.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        threads: Threads within and between operations; None for TensorFlow's choice.
        logical: Parts that the CPU is shown as, to try several replicas without a GPU.

    Raises:
        WorkerError: If there is no such device.
    """
    import tensorflow as tf

    if threads:
        tf.config.threading.set_intra_op_parallelism_threads(int(threads))
        tf.config.threading.set_inter_op_parallelism_threads(int(threads))
    found = tf.config.list_physical_devices("GPU")
    if device == "cpu":
        tf.config.set_visible_devices([], "GPU")
    elif device.startswith("cuda"):
        number = int(device.partition(":")[2] or 0)
        if number >= len(found):
            raise WorkerError(
                "usage",
                f"there is no device {device}: TensorFlow sees {len(found)} GPUs.",
                place="--device",
                hint="Use --device cpu, or install the GPU build of TensorFlow in its environment.",
            )
        chosen = found if ":" not in device else [found[number]]
        tf.config.set_visible_devices(chosen, "GPU")
    for gpu in tf.config.get_visible_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    if logical > 1:
        (cpu, *_) = tf.config.list_physical_devices("CPU")
        parts = [tf.config.LogicalDeviceConfiguration()] * logical
        tf.config.set_logical_device_configuration(cpu, parts)


def strategy(batch_size: int, *, mirrored: bool) -> Any:
    """Where a training runs: this device, or copies of the network on all of them.

    Raises:
        WorkerError: If the batch cannot be shared by the copies.
    """
    import tensorflow as tf

    if not mirrored:
        return tf.distribute.get_strategy()
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    names = [device.name for device in tf.config.list_logical_devices(kind)]
    found = tf.distribute.MirroredStrategy(names)
    copies = int(found.num_replicas_in_sync)
    if batch_size % copies:
        raise WorkerError(
            "usage",
            f"a batch of {batch_size} cannot be shared by {copies} devices.",
            place="--batch-size",
            hint=f"Use a multiple of {copies}.",
        )
    return found
