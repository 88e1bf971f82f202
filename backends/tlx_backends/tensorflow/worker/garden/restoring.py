"""Weights of an earlier training in a RetinaNet, with an account of what came from where.

Three kinds of checkpoints are read: tlx's own, those of the Garden's detectors, and those of the
Garden's classifiers, which hold a backbone. The Garden's own restore takes whole modules or
nothing; here the object graph of the checkpoint is walked beside the network's, so that other
classes, other anchors and other sizes still leave the rest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from tlx.worker_protocol import WorkerError

from ..checkpoints import whole
from ..restoring import Restored, Row, Source, _moved, variables_by_path

PARTS = ("backbone", "neck", "tower", "boxes", "classes")
_TAKEN: Mapping[str, frozenset[str]] = {
    "body": frozenset({"backbone", "neck"}),
    "body+boxes": frozenset({"backbone", "neck", "tower", "boxes"}),
    "all": frozenset(PARTS),
}
_GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
# Under these names the Garden's trainers keep a network or its parts.
_ROOTS = ("model", "backbone", "decoder", "head")


def part_of(model: Any) -> dict[int, str]:
    """For each variable's id the part of the network that it belongs to."""
    found = {id(v): "backbone" for v in model.backbone.variables}
    for path, variable in variables_by_path(model.head):
        name = f"{path} {variable.name}"
        if "_classifier" in path or "classnet-predict" in name or "class-predict" in name:
            found[id(variable)] = "classes"
        elif "_box_regressor" in path:
            found[id(variable)] = "boxes"
        else:
            found[id(variable)] = "tower"
    for variable in model.variables:
        found.setdefault(id(variable), "neck")
    return found


def _matches(model: Any, prefix: str) -> tuple[Any, dict[int, str]]:
    """The reader of a checkpoint, and its key for each variable (by id) of a network."""
    import tensorflow as tf
    from tensorflow.core.protobuf import trackable_object_graph_pb2

    try:
        reader = tf.train.load_checkpoint(prefix)
    except (ValueError, tf.errors.OpError) as error:
        raise WorkerError("data", f"{prefix} is no checkpoint of TensorFlow.", place=prefix,
                          hint="Give a folder with a checkpoint of the Model Garden, its prefix, "
                          "or a tlx run.") from error  # fmt: skip
    if _GRAPH_KEY not in reader.get_variable_to_shape_map():
        raise WorkerError("data", f"{prefix} was written by TensorFlow 1, whose variables cannot "
                          "be matched.", place=prefix,
                          hint="Take a checkpoint of the Model Garden for TensorFlow 2."
                          )  # fmt: skip
    graph = trackable_object_graph_pb2.TrackableObjectGraph()
    with whole(prefix):
        graph.ParseFromString(reader.get_tensor(_GRAPH_KEY))
    roots = {child.local_name: child.node_id for child in graph.nodes[0].children}
    mine = {"model": model, **model.checkpoint_items}
    queue = deque((roots[name], mine[name]) for name in _ROOTS if name in roots and name in mine)
    view = tf.train.TrackableView(model)
    seen = {number for number, _ in queue}
    keys: dict[int, str] = {}
    while queue:
        number, node = queue.popleft()
        for attribute in graph.nodes[number].attributes:
            if attribute.name == "VARIABLE_VALUE" and isinstance(node, tf.Variable):
                keys.setdefault(id(node), attribute.checkpoint_key)
        own = view.children(node)
        for child in graph.nodes[number].children:
            if child.local_name in own and child.node_id not in seen:
                seen.add(child.node_id)
                queue.append((child.node_id, own[child.local_name]))
    return reader, keys


def all_new(model: Any) -> list[Row]:
    """The account of random weights."""
    rows = {part: Row(part) for part in PARTS}
    parts = part_of(model)
    for variable in model.variables:
        rows[parts[id(variable)]].new += 1
    return [row for row in rows.values() if row.new]


def restore(
    model: Any, source: Source, classes: Sequence[str], moves: Mapping[str, str], choice: str
) -> Restored:
    """Take weights from a checkpoint, whatever its classes.

    Args:
        model: The network, built.
        source: The checkpoint.
        classes: Names of the network's classes in order.
        moves: New class to old class, for ``all``; a class of the same name needs none.
        choice: ``body`` (backbone and pyramid), ``body+boxes`` or ``all``.

    Raises:
        WorkerError: If the checkpoint is of another network.
    """
    if choice not in _TAKEN:
        raise WorkerError("usage", f"restore must be {', '.join(_TAKEN)}, not {choice}.")
    reader, keys = _matches(model, source.prefix)
    origins = {
        name: next((old for old in (moves.get(name), name) if old in source.classes), None)
        for name in classes
    }
    rows = {part: Row(part) for part in PARTS}
    parts = part_of(model)
    planned: list[tuple[Any, Any]] = []
    for variable in model.variables:
        row, key = rows[parts[id(variable)]], keys.get(id(variable))
        value = None
        if row.part in _TAKEN[choice] and key is not None:
            with whole(source.prefix):
                old = reader.get_tensor(key)
            if row.part == "classes":
                value = _moved(variable, old, classes, origins, source.classes)
            elif list(old.shape) == variable.shape.as_list():
                value = old
        if value is None:
            row.new += 1
            continue
        row.restored += int(value is old)
        row.moved += int(value is not old)
        planned.append((variable, value))
    _require_enough(rows["backbone"], source)
    for variable, value in planned:
        variable.assign(value)
    if rows["classes"].restored + rows["classes"].moved == 0:
        origins = dict.fromkeys(classes)
    used = tuple(row for row in rows.values() if row.restored or row.moved or row.new)
    return Restored(used, origins)


def _require_enough(backbone: Row, source: Source) -> None:
    if backbone.restored * 2 > backbone.restored + backbone.new:
        return
    raise WorkerError(
        "usage",
        f"{source.name} is of another network: {backbone.restored} of its backbone's "
        f"{backbone.restored + backbone.new} variables fit, so nothing would be learned from it.",
        hint="Choose the --model that the weights were trained with.",
    )
