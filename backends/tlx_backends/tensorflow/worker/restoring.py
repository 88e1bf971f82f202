"""Weights of an earlier training in a new network, with an account of what came from where.

TensorFlow's own restore matches objects and is silent about the rest. Here the object graph of the
checkpoint is walked beside that of the network, edge by edge as TensorFlow does it, and every
variable gets an answer: restored, class rows moved, or new and why. It works for any family, for
other classes, and restores what the API's ``detection`` leaves out (Faster R-CNN's proposal
network).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tlx.worker_protocol import WorkerError

from . import network
from .checkpoints import whole

Restore = Literal["body", "body+boxes", "all"]
PARTS = ("backbone", "neck", "proposals", "tower", "boxes", "classes")
# What each choice takes from the checkpoint. A fresh head learns states of one old class faster
# than copies of its row, which have to separate first.
_TAKEN: Mapping[str, frozenset[str]] = {
    "body": frozenset({"backbone", "neck", "proposals"}),
    "body+boxes": frozenset({"backbone", "neck", "proposals", "tower", "boxes"}),
    "all": frozenset(PARTS),
}
CHOICES = frozenset(_TAKEN)
_GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"


@dataclass(frozen=True, slots=True)
class Source:
    """Where weights come from.

    Attributes:
        prefix: Path of the checkpoint without its suffixes.
        name: What to call it in messages.
        classes: Its class names in order; empty where unknown.
        sha256: Digest of its files; None where unknown.
    """

    prefix: str
    name: str
    classes: tuple[str, ...] = ()
    sha256: str | None = None


@dataclass(slots=True)
class Row:
    """How many variables of a part came from the checkpoint, were moved by class, or are new."""

    part: str
    restored: int = 0
    moved: int = 0
    new: int = 0

    def plain(self) -> dict[str, Any]:
        """For a message."""
        return {
            "part": self.part,
            "restored": self.restored,
            "moved": self.moved,
            "new": self.new,
        }


@dataclass(frozen=True, slots=True)
class Restored:
    """The account of a restore.

    Attributes:
        rows: One per part of the network.
        classes: For each class the old class whose row it starts from, or None.
    """

    rows: tuple[Row, ...]
    classes: Mapping[str, str | None]


def parts_of(model: Any) -> dict[int, str]:
    """For each variable's id the part of the network that it belongs to."""
    held = {id(v) for part in network.backbone(model) for v in part.variables}
    found = {}
    for path, variable in variables_by_path(model):
        found[id(variable)] = "backbone" if id(variable) in held else _part(path)
    return found


def _part(path: str) -> str:
    if path.startswith("_first_stage_box_predictor"):
        return "proposals"
    if "class_predict" in path or "class_predictor" in path or "object_center" in path:
        return "classes"
    if "_tower_layers" in path or "_head_scope_conv_layers" in path:
        return "tower"
    if "box_predict" in path or "box_encod" in path or "_prediction_head_dict" in path:
        return "boxes"
    return "neck"


def variables_by_path(model: Any) -> list[tuple[str, Any]]:
    """Every variable below a network with the names of the edges that lead to it, by '/'."""
    import tensorflow as tf

    view = tf.train.TrackableView(model)
    queue: deque[tuple[str, Any]] = deque([("", model)])
    seen = {id(model)}
    found = []
    while queue:
        path, node = queue.popleft()
        for name, child in view.children(node).items():
            if id(child) in seen:
                continue
            seen.add(id(child))
            if isinstance(child, tf.Variable):
                found.append((path + name, child))
            queue.append((f"{path}{name}/", child))
    return found


def matches(model: Any, prefix: str) -> tuple[Any, dict[int, str]]:
    """The reader of a checkpoint, and its key for each variable (by id) of a network.

    Raises:
        WorkerError: If there is no checkpoint, or it is no object-based one of a detector.
    """
    import tensorflow as tf
    from tensorflow.core.protobuf import trackable_object_graph_pb2

    try:
        reader = tf.train.load_checkpoint(prefix)
    except (ValueError, tf.errors.OpError) as error:
        raise WorkerError("data", f"{prefix} is no checkpoint of TensorFlow.", place=prefix,
                          hint="Give the folder of a zoo archive, its ckpt-0, or a tlx run."
                          ) from error  # fmt: skip
    if _GRAPH_KEY not in reader.get_variable_to_shape_map():
        raise WorkerError(
            "data",
            f"{prefix} was written by TensorFlow 1, whose variables cannot be matched.",
            place=prefix,
            hint="Take the TensorFlow 2 archive of the same network; tlx models lists them.",
        )
    graph = trackable_object_graph_pb2.TrackableObjectGraph()
    with whole(prefix):
        graph.ParseFromString(reader.get_tensor(_GRAPH_KEY))
    root = {child.local_name: child.node_id for child in graph.nodes[0].children}
    if "model" not in root:
        raise WorkerError(
            "data",
            f"{prefix} holds no detector: its root has {', '.join(sorted(root)) or 'nothing'}.",
            place=prefix,
            hint="A checkpoint of a backbone alone cannot be used; give one of a detector.",
        )
    view = tf.train.TrackableView(model)
    queue = deque([(root["model"], model)])
    seen = {root["model"]}
    keys: dict[int, str] = {}
    while queue:
        number, node = queue.popleft()
        for attribute in graph.nodes[number].attributes:
            if attribute.name == "VARIABLE_VALUE" and isinstance(node, tf.Variable):
                keys[id(node)] = attribute.checkpoint_key
        mine = view.children(node)
        for child in graph.nodes[number].children:
            if child.local_name in mine and child.node_id not in seen:
                seen.add(child.node_id)
                queue.append((child.node_id, mine[child.local_name]))
    return reader, keys


def restore(
    model: Any,
    source: Source,
    classes: Sequence[str],
    moves: Mapping[str, str],
    choice: Restore,
) -> Restored:
    """Take weights from a checkpoint, whatever its classes.

    Args:
        model: The network, built.
        source: The checkpoint.
        classes: Names of the network's classes in order.
        moves: New class to old class, for ``all``; a class of the same name needs none.
        choice: ``body``, ``body+boxes`` (the box head and its tower) or ``all``.

    Raises:
        WorkerError: If the checkpoint is of another network.
    """
    reader, keys = matches(model, source.prefix)
    shapes = reader.get_variable_to_shape_map()
    origins = {
        name: next((old for old in (moves.get(name), name) if old in source.classes), None)
        for name in classes
    }
    rows = {part: Row(part) for part in PARTS}
    parts = parts_of(model)
    planned: list[tuple[Any, Any]] = []
    for _, variable in variables_by_path(model):
        row = rows[parts[id(variable)]]
        key = keys.get(id(variable))
        if row.part not in _TAKEN[choice] or key is None:
            row.new += 1
        elif row.part == "classes":
            with whole(source.prefix):
                old = reader.get_tensor(key)
            value = _moved(variable, old, classes, origins, source.classes)
            same = value is old
            row.restored += same
            row.moved += value is not None and not same
            row.new += value is None
            if value is not None:
                planned.append((variable, value))
        elif list(shapes[key]) == variable.shape.as_list():
            with whole(source.prefix):
                planned.append((variable, reader.get_tensor(key)))
            row.restored += 1
        else:
            row.new += 1
    _require_enough(rows["backbone"], source)
    for variable, value in planned:
        variable.assign(value)
    if rows["classes"].restored + rows["classes"].moved == 0:
        origins = dict.fromkeys(classes)
    used = tuple(row for row in rows.values() if row.restored or row.moved or row.new)
    return Restored(used, origins)


def all_new(model: Any) -> tuple[Row, ...]:
    """The account of a network that starts from random weights."""
    rows = {part: Row(part) for part in PARTS}
    for part in parts_of(model).values():
        rows[part].new += 1
    return tuple(row for row in rows.values() if row.new)


def _require_enough(backbone: Row, source: Source) -> None:
    if backbone.restored * 2 > backbone.restored + backbone.new:
        return
    raise WorkerError(
        "usage",
        f"{source.name} is of another network: {backbone.restored} of its backbone's "
        f"{backbone.restored + backbone.new} variables fit, so nothing would be learned from it.",
        hint="Choose the --model that the weights were trained with.",
    )


def _moved(
    variable: Any,
    old: Any,
    classes: Sequence[str],
    origins: Mapping[str, str | None],
    old_classes: Sequence[str],
) -> Any:
    """A class head's value with rows moved to the new classes; None where the layouts differ.

    The last axis is anchors x (background? + classes) in every family; CenterNet has one anchor.
    """
    shape = tuple(variable.shape.as_list())
    if len(old.shape) != len(shape) or old.shape[:-1] != shape[:-1] or not old_classes:
        return old if old.shape == shape and tuple(old_classes) == tuple(classes) else None
    layout = _layout(shape[-1], len(classes), old.shape[-1], len(old_classes))
    if layout is None:
        # Layers before the last one (CenterNet's) do not know of classes.
        return old if old.shape == shape else None
    if tuple(old_classes) == tuple(classes):
        return old
    anchors, background = layout
    value = variable.numpy().reshape(*shape[:-1], anchors, background + len(classes))
    before = old.reshape(*old.shape[:-1], anchors, background + len(old_classes))
    value[..., :background] = before[..., :background]
    for index, name in enumerate(classes):
        origin = origins[name]
        if origin is not None:
            value[..., background + index] = before[..., background + old_classes.index(origin)]
    return value.reshape(shape)


def _layout(new: int, classes: int, old: int, old_classes: int) -> tuple[int, int] | None:
    """Anchors per place and background slots that both widths agree with."""
    for background in (1, 0):
        anchors, rest = divmod(new, classes + background)
        if rest == 0 and anchors * (old_classes + background) == old:
            return anchors, background
    return None
