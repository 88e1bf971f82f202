"""From a layout of XML files and images to records."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from tlx.bad_input import duplicate_action
from tlx.box_policy import fault_of, settle, shown
from tlx.context import Context
from tlx.errors import DataError
from tlx.folder_walk import join
from tlx.issues import Issue
from tlx.media import image_header, image_size
from tlx.model import Box, Object, Origin, Record, Taxonomy, replace
from tlx.orientation import Ground, ground_of
from tlx.safe_xml import SafeParser
from tlx_plugins.formats import voc_base, voc_lists
from tlx_plugins.formats.columned_records import Columned, Item, batches
from tlx_plugins.formats.voc_files import Ahead, Found, Plain, at_once
from tlx_plugins.formats.voc_images import ImageFinder
from tlx_plugins.formats.voc_layout import LabelFile, Layout
from tlx_plugins.formats.voc_masks import read_masks
from tlx_plugins.formats.voc_xml import VocImage, VocParser

if TYPE_CHECKING:
    import pyarrow as pa
    from lxml.etree import _Element

    from tlx_plugins.formats.voc import VocOptions


class VocReader:
    """Reads the files of a layout in order.

    Args:
        layout: Where everything lies.
        options: The user's choices.
        context: Progress and issues.
    """

    def __init__(self, layout: Layout, options: VocOptions, context: Context) -> None:
        self.layout = layout
        self.options = options
        self.context = context
        self.xml = SafeParser(options.encoding)
        self.parser = VocParser(self._in_file)
        self.splits = voc_lists.Splits(layout, context)
        self.classes, self.class_file = voc_lists.class_list(layout, context)
        self.listed = set(self.classes)
        self.met: dict[str, None] = {}
        self.finder = ImageFinder(layout, options, self._in_file)
        self.media_root, self.images = self.finder.media_root, self.finder.images
        self.taken: dict[str, str] = {}
        self.base = None if options.base == "auto" else int(options.base)
        self.decided: voc_base.Decision | None = None
        self.path = ""

    def taxonomy(self) -> Taxonomy:
        """The listed classes in their order, then others in the order they were met."""
        return Taxonomy.of([*self.classes, *(name for name in self.met if name not in self.listed)])

    def content(self) -> Iterator[Record | pa.RecordBatch]:
        """All records in the order of the XML files: the first by itself, others in batches."""
        items = self._items()
        first = next(items, None)
        if isinstance(first, Record):
            yield first
        done = 1
        while held := list(islice(items, at_once(done))):
            yield from batches(held, len(held))
            done += len(held)

    def _items(self) -> Iterator[Item]:
        self._report_layout()
        files = self.layout.files
        ahead = Ahead(self.layout, self.options, self._base_of)
        for found in self.context.progress.track(ahead.read(), "reading XML", len(files)):
            item = self._record(found) if found.plain is None else self._plain(found, found.plain)
            if item is not None:
                # Who looks at the first record only does not wait for other files.
                ahead.alone = False
                yield item
        yield from self._unlabelled()
        if self.classes:
            for name in self.met:
                if name not in self.listed:
                    message = f"the class {name!r} is not listed; it comes after the listed ones."
                    self._report("unlisted-class", message, str(self.class_file), "kept")

    def _report_layout(self) -> None:
        for path in self.layout.unnameable:
            shown_path = path.encode(errors="backslashreplace").decode()
            self._report("bad-name", "the name of this file is not text.", shown_path)
        for folder, number in self.layout.passed.items():
            message = f"{number} XML files are passed over: they lie in no annotation folder."
            hint = f"Read them instead with: --annotations {folder}"
            self._report("other-folder", message, folder, "kept", hint=hint)
        if not self.images:
            message = "there are no images here, only labels."
            hint = "Name their folder with: --images FOLDER"
            self._report("no-images", message, "", "kept", hint=hint)

    def _record(self, found: Found) -> Record | None:
        """The record of a file that is parsed by itself."""
        file = found.file
        self.path = file.path
        root = self._open(found)
        if root is None:
            return None
        stated = root.get(voc_base.STATEMENT)
        image = self.parser.parse(root, self._base(stated))
        placed = self._place(file, image, stated)
        if placed is None:
            return None
        uri, ground = placed
        self._add_masks(file, image, ground.size)
        objects = ground.brought_back(self._objects(image, ground.size))
        return self._made(file, image, uri, ground, objects)

    def _plain(self, found: Found, plain: Plain) -> Item | None:
        """The same for a file whose objects were read with those of others."""
        file, image = found.file, plain.image
        self.path = file.path
        base = self._base(plain.stated)
        placed = self._place(file, image, plain.stated)
        if placed is None:
            return None
        uri, ground = placed
        size = None if image.width is None or image.height is None else (image.width, image.height)
        if (
            plain.closer
            or ground.size != size
            or ground.orientation != 1
            or (file.base, file.key) in self.layout.masks
        ):
            root = self._open(found)
            if root is None:
                return None
            image = self.parser.parse(root, base)
            self._add_masks(file, image, ground.size)
            objects = ground.brought_back(self._objects(image, ground.size))
            return self._made(file, image, uri, ground, objects)
        self.met |= dict.fromkeys(plain.columns.categories[plain.start : plain.stop])
        record = self._made(file, image, uri, ground, ())
        return Columned(record, plain.columns.objects, plain.start, plain.stop)

    def _place(
        self, file: LabelFile, image: VocImage, stated: str | None
    ) -> tuple[str, Ground] | None:
        """The image of a file and its pixels; None leaves it out."""
        uri = self.finder.find(file, image, verbatim=stated is not None)
        if uri is None:
            return None
        if uri in self.taken:
            message = f"labels {uri}, which {self.taken[uri]} labels too; the latter holds."
            action = duplicate_action(self.options.duplicates, same=False)
            self._in_file("duplicate-image", message, image.line, action)
            return None
        self.taken[uri] = file.path
        ground = self._ground(uri, image)
        return None if ground is None else (uri, ground)

    def _made(
        self,
        file: LabelFile,
        image: VocImage,
        uri: str,
        ground: Ground,
        objects: tuple[Object, ...],
    ) -> Record:
        return Record(
            image_id=uri,
            uri=uri,
            width=ground.stored[0] if ground.stored else None,
            height=ground.stored[1] if ground.stored else None,
            split=self.options.split or self.splits.of(file),
            objects=objects,
            attributes=image.attributes,
            origin=Origin(file.path, image.line),
        )

    def _open(self, found: Found) -> _Element | None:
        file = found.file
        path = f"{self.layout.root}/{file.path}"
        if isinstance(found.data, OSError):
            self._in_file("unreadable-file", f"cannot be read: {found.data.strerror}.", None)
            return None
        try:
            root = self.xml.parse(found.data, path)
        except DataError as error:
            line = error.place.line if error.place else None
            self._report("bad-xml", error.message, file.path, line=line, hint=error.hint)
            return None
        if root.tag != "annotation":
            message = f"is XML of another kind, <{str(root.tag)[:60]}>; passed over."
            self._in_file("other-file", message, None, "kept")
            return None
        return root

    def _base_of(self, stated: str | None) -> int:
        """What the first pixel is counted as: by option, by the file itself, or by all files."""
        if self.options.base == "auto" and stated in {"0", "1"}:
            return int(stated)
        return self._decision().base if self.base is None else self.base

    def _decision(self) -> voc_base.Decision:
        if self.decided is None:
            names = (file.path for file in self.layout.files)
            self.decided = voc_base.decide(self.layout.root, names)
        return self.decided

    def _base(self, stated: str | None) -> int:
        """The same, and what there is to say about it."""
        base = self._base_of(stated)
        if self.options.base == "auto" and stated in {"0", "1"}:
            return base
        if self.base is None:
            found = self._decision()
            other = "--base 1" if found.base == 0 else "--base 0"
            message = f"{found.reason}; overrule it with {other}."
            self._report("pixel-convention", message, found.path or "", "kept", line=found.line)
            self.base = found.base
        elif self.options.base == "1" and not self.taken and stated is None:
            self._check_base()
        return base

    def _check_base(self) -> None:
        """Say so when the files contradict the option."""
        found = self._decision()
        if found.base == 0:
            message = f"{found.reason}, if --base 1 did not say otherwise."
            self._report("pixel-convention", message, found.path or "", "kept", line=found.line)

    def _ground(self, uri: str, image: VocImage) -> Ground | None:
        """The pixels that the labels of an image count; None leaves the image out."""
        header = None
        if self.images and "://" not in uri:
            header = image_header(f"{self.media_root}/{uri}")
            if header is None:
                message = f"the image {uri} cannot be read."
                self._in_file("unreadable-image", message, image.line, "kept")
        if header is None or header.orientation == 1:
            size = self._size(uri, image, header.size if header else None)
            return Ground(size, 1, size)
        width, height = image.width, image.height
        stated = None if width is None or height is None else (width, height)

        def report(code: str, message: str, action: str, hint: str) -> None:
            self._report(code, message, self.path, action, line=image.line, hint=hint)

        return ground_of(header, stated, self.options.exif, f"the image {uri}", report)

    def _size(
        self, uri: str, image: VocImage, own: tuple[int, int] | None
    ) -> tuple[int, int] | None:
        """Width and height: as the file says; the image's own where it says nothing usable."""
        if image.width is None or image.height is None or image.bad_size:
            if image.bad_size:
                text, line = image.bad_size
                end = "; the image's own is taken." if own else "; taken as not stated."
                message = f"{text[:40]!r} is no width or height of an image{end}"
                self._in_file("bad-size", message, line, "kept" if own else "changed")
            return own
        stated = (image.width, image.height)
        if own is None or own == stated:
            return stated
        taken = own if self.options.size_from == "image" else stated
        message = (
            f"says {stated[0]} x {stated[1]} pixels where {uri} has {own[0]} x {own[1]}"
            + (", as if it were turned" if own == stated[::-1] else "")
            + f"; {taken[0]} x {taken[1]} is taken."
        )
        hint = "Believe the images with: --size-from image"
        self._report("size-mismatch", message, self.path, "kept", line=image.line, hint=hint)
        return taken

    def _add_masks(self, file: LabelFile, image: VocImage, size: tuple[int, int] | None) -> None:
        """Give objects the masks that SegmentationObject has of them."""
        path = self.layout.masks.get((file.base, file.key))
        if path is None or not image.objects:
            return
        try:
            masks = read_masks(self.layout.root / path)
        except ValueError as error:
            self._report("bad-mask", f"{error}; left out.", path, "changed")
            return
        shape = next((mask.size for mask in masks if mask is not None), None)
        if shape is not None and size is not None and shape != (size[1], size[0]):
            message = f"is {shape[1]} x {shape[0]} pixels, its image {size[0]} x {size[1]}."
            self._report("bad-mask", f"{message[:-1]}; left out.", path, "changed")
            return
        stated = image.numbers
        if len(masks) > image.stated:
            message = f"has {len(masks)} objects where the XML has {image.stated}."
            self._report("bad-mask", message, path, "kept")
        for place, number in enumerate(stated):
            mask = masks[number] if number < len(masks) else None
            # Polygons of the XML are what the mask was drawn from.
            if mask is not None and image.objects[place].segmentation is None:
                image.objects[place] = replace(image.objects[place], segmentation=mask)

    def _objects(self, image: VocImage, size: tuple[int, int] | None) -> tuple[Object, ...]:
        kept: list[Object] = []
        seen: dict[tuple[str, Box | None], Object] = {}
        for thing in image.objects:
            self.met.setdefault(thing.category)
            box = thing.box
            twin = seen.setdefault((thing.category, box), thing)
            repeats = twin is not thing and replace(thing, line=twin.line) == twin
            if repeats and self.options.duplicates != "keep":
                message = f"an object {thing.category!r} is the same as that of line {twin.line}."
                action = duplicate_action(self.options.duplicates, same=True)
                self._in_file("duplicate-object", message, thing.line, action)
                continue
            fault = None if box is None else fault_of(box, size)
            if fault is None or box is None:
                if box is not None and self.parser.base and 1.0 in (box.width, box.height):
                    message = f"the box of {thing.category!r} is one pixel wide or high."
                    self._in_file("one-pixel-box", message, thing.line, "kept")
                kept.append(thing)
                continue
            line = thing.line
            settled = settle(
                box,
                size,
                fault,
                self.options.bad_boxes,
                f"the box {shown(box)} of {thing.category!r}, counted from 0,",
                lambda code, message, action, hint, line=line: self._report(  # type: ignore[misc]
                    code, message, self.path, action, line=line, hint=hint
                ),
            )
            if settled is not None:
                kept.append(thing if settled is box else replace(thing, box=settled))
        return tuple(kept)

    def _unlabelled(self) -> Iterator[Record]:
        """Images without an XML: not negatives, unless the user says that somebody looked."""
        left = [
            (folder, name)
            for folder in sorted(self.images)
            for name in sorted(self.images[folder].names)
            if join(folder, name) not in self.taken
        ]
        if not left or self.options.unlabelled == "leave":
            if left:
                message = f"{len(left)} images have no XML and are left out, as not labelled yet."
                hint = "Take them as images without objects: --unlabelled negative"
                self._report(
                    "unlabelled", message, join(self.finder.prefix, left[0][0]), "kept", hint=hint
                )
            return
        base = self.layout.bases()[0]
        for folder, name in left:
            uri = join(folder, name)
            size = image_size(f"{self.media_root}/{uri}")
            key = uri.rpartition(".")[0]
            yield Record(
                image_id=uri,
                uri=uri,
                width=size[0] if size else None,
                height=size[1] if size else None,
                split=self.options.split or self.splits.of_image(base, key, uri),
            )

    def _in_file(
        self,
        code: str,
        message: str,
        line: int | None,
        action: str = "skipped",
        hint: str | None = None,
    ) -> None:
        self._report(code, message, self.path, action, line=line, hint=hint)

    def _report(
        self,
        code: str,
        message: str,
        path: str,
        action: str = "skipped",
        *,
        line: int | None = None,
        hint: str | None = None,
    ) -> None:
        place = str(self.layout.root / path)
        self.context.issues.report(Issue(code, message, place, line, action, hint))
