"""What a plugin is: four protocols and the plain values that cross them.

A plugin needs the standard library and this module; there is no base class to inherit. Options of
a plugin are one frozen dataclass, documented field by field (`tlx.options`): it makes the command
line flags, the TOML keys and the help.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from tlx.context import Context
from tlx.model import Prediction, Record, Taxonomy

if TYPE_CHECKING:
    import pyarrow as pa

    from tlx.dataset import Dataset


@dataclass(frozen=True, slots=True)
class Match:
    """Whether a path looks like a source's material, and why.

    Attributes:
        met: Sentences on what was found ("frameAnnotationsBOX.csv in 18 folders").
        missing: Sentences on what was looked for and not found; empty means a match.
    """

    met: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """All requirements are met."""
        return bool(self.met) and not self.missing


@dataclass(frozen=True, slots=True)
class Reading:
    """What a source hands over.

    Attributes:
        media_root: The folder that the records' ``uri`` are relative to.
        content: Records, or Arrow batches of `tlx.schema.RECORD` (faster), in a sorted order that
            does not depend on the file system. Consumed once, lazily. Batches become the parts of a
            dataset as they are; where a record comes first, records and batches may follow in any
            order, and are put together to parts of equal size.
        taxonomy: The classes; a function is called after the content is exhausted, for sources
            that learn their classes while reading.
        fingerprint: Files whose names, sizes and contents identify the input, for lineage.
        notes: What the input says of itself as a whole (licenses, say), as plain JSON values under
            the name of the source; called after the content is exhausted, kept in the lineage.
    """

    media_root: Path
    content: Iterable[Record] | Iterable[pa.RecordBatch] | Iterable[Record | pa.RecordBatch]
    taxonomy: Taxonomy | Callable[[], Taxonomy]
    fingerprint: tuple[Path, ...] = ()
    notes: Callable[[], Mapping[str, Any]] | None = None


@runtime_checkable
class Plugged(Protocol):
    """What everything that a plugin brings has."""

    @property
    def name(self) -> str:
        """The name on the command line, lower case with hyphens."""
        ...

    @property
    def summary(self) -> str:
        """One line of help."""
        ...

    @property
    def options(self) -> type[Any]:
        """A frozen dataclass type, every field with a default and a docstring."""
        ...


@runtime_checkable
class Source(Plugged, Protocol):
    """Reads labelled images from where they are."""

    def sniff(self, root: Path) -> Match:
        """Say whether a path looks like this source's material. Fast; reads no whole file."""
        ...

    def read(self, root: Path, options: Any, context: Context) -> Reading:
        """Open a path for reading; the content is produced while it is iterated.

        Raises:
            DataError: If the path does not hold what it should; says what was looked for.
        """
        ...


@dataclass(frozen=True, slots=True)
class Traits:
    """What a format cannot say, so that core can print the loss before anything is written.

    Attributes:
        drops: Fields of the record schema that the format cannot hold, with the reason, such as
            ``{"objects.track": "COCO has no tracks"}``. ``attributes`` covers all of them.
        rounds: Fields that are rounded, with how.
        pixel_convention: How the format counts pixels, in words.
        assumes: Fields that the format has to state even where the dataset does not, with what is
            written then, such as ``{"objects.crowd": "not stated is written as 0"}``.
        beside: A field that is dropped, rounded or assumed only where another one is stated, with
            that other one, such as ``{"objects.box": "objects.segmentation"}``.
        keeps: What survives of a field that is dropped: names of attributes for ``attributes`` and
            ``objects.attributes``, values for any other, such as ``{"labels.present": (True,)}``.
    """

    drops: Mapping[str, str] = field(default_factory=dict)
    rounds: Mapping[str, str] = field(default_factory=dict)
    pixel_convention: str = "absolute pixels, float, origin top left, half open"
    assumes: Mapping[str, str] = field(default_factory=dict)
    beside: Mapping[str, str] = field(default_factory=dict)
    keeps: Mapping[str, tuple[str | bool, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WriteReport:
    """What a writer wrote.

    Attributes:
        files: Paths relative to the destination.
        images: Number of images in them.
        objects: Number of objects in them.
        class_ids: The number that each class has in the output, where classes have numbers.
    """

    files: tuple[str, ...]
    images: int
    objects: int
    class_ids: Mapping[str, int] = field(default_factory=dict)


@runtime_checkable
class Format(Source, Protocol):
    """A source that can also be written."""

    def traits(self, options: Any) -> Traits:
        """What the format cannot hold when it is written with these options."""
        ...

    def write(self, dataset: Dataset, dest: Path, options: Any, context: Context) -> WriteReport:
        """Write the dataset below ``dest``.

        ``dest`` is a staging path that does not exist yet: core makes it final when the call
        returns, and removes it when the call raises. The dataset is not touched.
        """
        ...


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether something can be used here, and what to do if not.

    Attributes:
        ok: It can be used.
        detail: Versions when it can, the reason when it cannot.
        extra: The extra of the distribution that would bring it.
        hint: What to do when it cannot be used and no extra would help, as a sentence.
    """

    ok: bool
    detail: str
    extra: str | None = None
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One network that a backend can fine-tune.

    Attributes:
        name: The name for ``--model``.
        summary: One line.
        parameters: Number of weights, in millions.
        input_size: Shorter and longer side in pixels that images are brought to.
        weights: Names of published weights, for ``--weights``.
        note: A caveat for the user ("objects below 16 px are not seen").
    """

    name: str
    summary: str
    parameters: float
    input_size: tuple[int, int]
    weights: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """Everything that a training needs, as plain values that survive JSON.

    Attributes:
        dataset: Path of the dataset folder.
        run: Path of the run folder; it exists and belongs to the backend.
        model: Name from the backend's models.
        weights: None for random weights, the name of published weights, a path of a weight file,
            or a path of an earlier run.
        warm_start: For each new class the old class whose rows it starts from.
        epochs: Passes over the training split.
        batch_size: Images per step.
        learning_rate: None for the backend's choice.
        seed: Root of all randomness.
        workers: Processes that load data.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        train_split: Name of the split to learn from.
        val_split: Name of the split that chooses the best checkpoint.
        resume: Go on with the run's last checkpoint.
        options: The backend's options, as a mapping of plain values.
    """

    dataset: str
    run: str
    model: str
    weights: str | None = None
    warm_start: Mapping[str, str] = field(default_factory=dict)
    epochs: int = 10
    batch_size: int = 8
    learning_rate: float | None = None
    seed: int = 0
    workers: int = 0
    device: str = "auto"
    train_split: str = "train"
    val_split: str = "val"
    resume: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a training ended with.

    Attributes:
        best: Path of the best checkpoint.
        last: Path of the last checkpoint.
        best_epoch: 0 means before the first step.
        metrics: Validation metrics of the best checkpoint.
    """

    best: str
    last: str
    best_epoch: int
    metrics: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class ExportForm:
    """One form in which a backend can write a checkpoint.

    Attributes:
        name: The name for ``--to``.
        summary: One line: what runs it.
        predicts: `Backend.predict` takes a folder of this form in place of a checkpoint. It holds
            what `Backend.export` wrote there, and ``tlx-model.json`` (`tlx.exported`).
    """

    name: str
    summary: str
    predicts: bool = False


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export wrote; all of it but the files' content goes into ``tlx-model.json``.

    Attributes:
        files: Files and folders, relative to the destination.
        class_ids: The number that each class has in what the exported network puts out.
        input: How to feed it, as plain JSON values: array, size, resizing, values.
        output: What each of its outputs means, as plain JSON values.
    """

    files: tuple[str, ...]
    class_ids: Mapping[str, int] = field(default_factory=dict)
    input: Mapping[str, Any] = field(default_factory=dict)
    output: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ImageTask:
    """One image to predict on: its id and where its pixels are."""

    image_id: str
    path: str


@runtime_checkable
class Backend(Plugged, Protocol):
    """Trains networks. Only plain values and paths cross, so it may live in another process."""

    def availability(self) -> Availability:
        """Whether it can run here, found without importing anything heavy."""
        ...

    def models(self) -> tuple[ModelInfo, ...]:
        """The networks, without importing anything heavy."""
        ...

    def train(self, request: TrainRequest, context: Context) -> TrainResult:
        """Fine-tune; progress goes out as events."""
        ...

    def predict(
        self,
        checkpoint: Path,
        images: Iterable[ImageTask],
        context: Context,
        *,
        batch_size: int = 8,
        device: str = "auto",
        score_threshold: float = 0.0,
    ) -> Iterator[Prediction]:
        """Detect in each image, in the given order.

        ``checkpoint`` is one of a training's, or a folder of a form that `Exporter.forms` says it
        predicts from.
        """
        ...

    def export(
        self, checkpoint: Path, kind: str, dest: Path, context: Context
    ) -> tuple[str, ...] | ExportReport:
        """Write the checkpoint in another form below ``dest``; says what, or only the files."""
        ...


@runtime_checkable
class Exporter(Protocol):
    """What a backend has besides when it names the forms of its `export`.

    Core then refuses any other form by itself, and lists them in the help.
    """

    @property
    def forms(self) -> tuple[ExportForm, ...]:
        """The forms, without importing anything heavy."""
        ...


@dataclass(frozen=True, slots=True)
class Environment:
    """A Python environment of its own, in which a backend's worker runs.

    ``tlx backends install`` makes it below tlx's data folder; backends that name the same
    environment share it.

    Attributes:
        name: The folder's name, lower case with hyphens.
        summary: What it holds, as a noun phrase ("TensorFlow 2.21 and its Object Detection API").
        requirements: A pip requirements file that is complete: exact versions, installed without
            dependencies.
        worker: The package folder with ``run(job, channel)``, see `tlx.worker_protocol`. It
            answers the job ``{"kind": "selftest"}`` with events ``check``: ``name``, ``ok``,
            ``detail`` (one line) and ``seconds``; the result has ``versions`` by package.
        python: First and last version of Python that the requirements have wheels for.
        download_mb: What is fetched, in megabytes.
        disk_mb: What it takes on the disk, in megabytes.
    """

    name: str
    summary: str
    requirements: Path
    worker: Path
    python: tuple[str, str]
    download_mb: int
    disk_mb: int


@runtime_checkable
class Isolated(Protocol):
    """What a backend has besides when it works in an environment of its own."""

    @property
    def environment(self) -> Environment:
        """The environment; shared by all backends that name the same one."""
        ...


@runtime_checkable
class Viewer(Plugged, Protocol):
    """Shows a dataset with predictions."""

    def availability(self) -> Availability:
        """Whether it can run here, found without importing anything heavy."""
        ...

    def open(
        self,
        dataset: Dataset,
        predictions: Path | None,
        options: Any,
        context: Context,
        *,
        split: str | None = None,
    ) -> None:
        """Show the dataset, or one split of it, until the user is done.

        ``predictions`` is a predictions file (`tlx.predictions`).
        """
        ...


@runtime_checkable
class Decoder(Protocol):
    """Makes pictures of image files that usual programs show wrongly, such as raw sensor data.

    It is asked about every file with one of its endings, wherever tlx needs pixels
    (`tlx.pixels`); it has to be sure that a file is its own.
    """

    @property
    def name(self) -> str:
        """Lower case with hyphens."""
        ...

    @property
    def summary(self) -> str:
        """One line of help."""
        ...

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Endings of file names, in lower case with their dot."""
        ...

    def recognises(self, path: Path) -> bool:
        """Whether the file is one that this decoder makes right; False where it is not there."""
        ...

    def decode(self, path: Path) -> Any:
        """The picture, a Pillow image of mode RGB with the pixels as stored.

        Raises:
            DataError: If the file is broken.
        """
        ...


@runtime_checkable
class Command(Plugged, Protocol):
    """A command of its own on the command line, ``tlx NAME``."""

    def run(self, options: Any, context: Context, say: Callable[[str], None]) -> Mapping[str, Any]:
        """Do the work; ``say`` prints a line for the user, the result is what ``--json`` prints.

        An option ``path`` is given on the command line without a flag. An ``exit_code`` in the
        result other than 0 is what the command ends with: the work is done in part only.
        """
        ...
