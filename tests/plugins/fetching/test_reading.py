"""Readers that fetch what their labels name by addresses: only when asked, and like tlx fetch."""

from __future__ import annotations

import functools
import json
import shutil
import socket
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as runs

from tlx.cli import main
from tlx.context import Context
from tlx.dataset import to_batches
from tlx.errors import DataError, UsageError
from tlx.fetched import INDEX
from tlx.issues import IssueLog
from tlx.model import Box, Record
from tlx.pipeline import ingest
from tlx.schema import batch_to_records
from tlx_plugins.fetching import command
from tlx_plugins.formats.coco import CocoFormat
from tlx_plugins.sources.labelbox import LabelboxSource

PLUGINS = {"labelbox": LabelboxSource(), "coco": CocoFormat()}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses, and little patience."""
    hasty = functools.partial(command.FetchOptions, rate=0.0, timeout=0.5, attempts=2)
    monkeypatch.setattr(command, "FetchOptions", hasty)


def read(name: str, path: Path, policy: str = "skip", **options: Any) -> tuple[Any, IssueLog, Any]:
    """Read with a source; returns records, issues, and the reading."""
    options = {"allow_private": True} | options
    plugin: Any = PLUGINS[name]
    dry_run = options.pop("dry_run", False)
    context = Context(issues=IssueLog(policy), dry_run=dry_run)  # type: ignore[arg-type]
    reading = plugin.read(path, plugin.options(**options), context)
    batches = to_batches(reading.content)
    records: list[Record] = [record for batch in batches for record in batch_to_records(batch)]
    return records, context.issues, reading


def labelbox(path: Path, urls: list[str], *things: dict[str, Any], size: Any = (64, 48)) -> Path:
    """An export with a row for each address, of which the first has the objects."""
    media = {"width": size[0], "height": size[1], "mime_type": "image/jpeg"}
    rows = []
    for number, url in enumerate(urls):
        annotations = {"objects": list(things) if number == 0 else [], "classifications": []}
        data = {"id": f"row {number}", "external_id": f"s/{number}.jpg", "row_data": url}
        label = {"id": "l", "annotations": annotations}
        projects = {"p": {"name": "p", "labels": [label]}}
        rows.append({"data_row": data, "media_attributes": dict(media), "projects": projects})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def coco(path: Path, urls: list[str]) -> Path:
    """A COCO file with a box in each image; every other one has its address beside its name."""
    images: list[dict[str, Any]] = []
    for number, url in enumerate(urls):
        named = (
            {"file_name": url} if number % 2 else {"file_name": f"{number}.jpg", "coco_url": url}
        )
        images.append({"id": number + 1, "width": 64, "height": 48} | named)
    boxes = [
        {"id": n + 1, "image_id": n + 1, "category_id": 1, "bbox": [1, 2, 3, 4], "iscrowd": 0}
        for n in range(len(urls))
    ]
    document = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "car"}]}
    path.write_text(json.dumps(document))
    return path


def make(name: str, folder: Path, urls: list[str]) -> Path:
    maker = {"labelbox": labelbox, "coco": coco}[name]
    return maker(folder / "labels.json" if name == "coco" else folder / "labels.ndjson", urls)


@pytest.mark.parametrize("name", PLUGINS)
def test_nobody_is_asked_unasked(
    server: Any, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(name, tmp_path, [f"{server.url}/img/{n}.jpg" for n in range(3)])

    def refuse(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    records, issues, _ = read(name, path)
    assert len(records) == 3
    assert not issues.total
    assert not server.hits


@pytest.mark.parametrize("name", PLUGINS)
def test_images_are_fetched_once_and_read_from_there(
    server: Any, tmp_path: Path, name: str
) -> None:
    urls = [f"{server.url}/img/{number}.jpg" for number in range(5)]
    path = make(name, tmp_path, urls)
    folder = tmp_path / "images"
    records, issues, reading = read(name, path, "fail", fetch=str(folder))
    assert not issues.total
    assert reading.media_root == folder
    for url, record in zip(urls, records, strict=True):
        brought = (folder / record.uri).read_bytes()
        assert brought == server.pictures[url.removeprefix(server.url)]
        assert (record.width, record.height) == (64, 48)
    assert (folder / "fetch-report.csv").is_file()
    assert sum(server.hits.values()) == 5
    (folder / records[1].uri).unlink()
    again, _, _ = read(name, path, "fail", fetch=str(folder))
    assert again == records
    assert sum(server.hits.values()) == 6
    # It is what --images takes, without the network.
    server.hits.clear()
    assert read(name, path, "fail", images=str(folder))[0] == records
    assert not server.hits


@pytest.mark.parametrize("name", PLUGINS)
def test_what_cannot_be_fetched_is_a_bad_record(server: Any, tmp_path: Path, name: str) -> None:
    faults = {
        "/gone/1.jpg": "answers 404 Not Found.",
        "/stalled/1.jpg": "does not answer in time.",
        "/half/1.jpg": "cannot be decoded: image file is truncated",
        "/circle/a": "is led in a circle to",
        "/html/1.jpg": "is text/html, no image.",
        "/text/1.jpg": "is no image of a known kind",
    }
    urls = [f"{server.url}{path}" for path in ["/img/1.jpg", *faults, "/img/2.jpg"]]
    path = make(name, tmp_path, urls)
    folder = tmp_path / "images"
    records, issues, _ = read(name, path, fetch=str(folder))
    assert len(records) == 2
    assert issues.counts == {"not-fetched": len(faults)}
    assert issues.actions == {"skipped": len(faults)}
    for issue, (address, words) in zip(issues.kept, faults.items(), strict=True):
        assert f"its image is not there: {server.url}{address} {words}" in issue.message
        assert issue.path == str(path)
    with pytest.raises(DataError, match="answers 404 Not Found") as caught:
        read(name, path, "fail", fetch=str(folder))
    assert "Run it again to ask again" in (caught.value.hint or "")


@pytest.mark.parametrize("name", PLUGINS)
def test_private_addresses_are_refused_unless_allowed(
    server: Any, tmp_path: Path, name: str
) -> None:
    path = make(name, tmp_path, [f"{server.url}/img/1.jpg"])
    records, issues, _ = read(name, path, fetch=str(tmp_path / "images"), allow_private=False)
    assert not records
    assert "--allow-private lets it be asked" in issues.kept[0].message
    assert not server.hits


@pytest.mark.parametrize("name", PLUGINS)
def test_a_limit_leaves_the_rest_for_the_next_run(server: Any, tmp_path: Path, name: str) -> None:
    urls = [f"{server.url}/img/{number}.jpg" for number in range(60)]
    path = make(name, tmp_path, urls)
    folder = str(tmp_path / "images")
    records, issues, _ = read(name, path, fetch=folder, max_total="20KB")
    assert 0 < len(records) < 60
    assert issues.counts == {"not-fetched": 60 - len(records)}
    assert "was not asked for yet." in issues.kept[-1].message
    assert len(read(name, path, "fail", fetch=folder)[0]) == 60


@pytest.mark.parametrize("name", PLUGINS)
def test_wrong_ways_to_ask(server: Any, tmp_path: Path, name: str) -> None:
    path = make(name, tmp_path, [f"{server.url}/img/1.jpg"])
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("keep this")
    with pytest.raises(UsageError, match="was not made by tlx fetch"):
        read(name, path, fetch=str(full))
    with pytest.raises(UsageError, match="--images and --fetch both say"):
        read(name, path, fetch=str(tmp_path / "new"), images=str(full))
    with pytest.raises(UsageError, match="belong together"):
        read(name, path, fetch=str(tmp_path / "new"), token_host="a.test")
    local = make(name, tmp_path, ["folder/1.jpg"])
    with pytest.raises(DataError, match="names no address"):
        read(name, local, fetch=str(tmp_path / "new"))
    assert not server.hits


@pytest.mark.parametrize("name", PLUGINS)
def test_a_dry_run_asks_nobody(server: Any, tmp_path: Path, name: str) -> None:
    path = make(name, tmp_path, [f"{server.url}/img/{n}.jpg" for n in range(3)])
    folder = tmp_path / "images"
    records, issues, _ = read(name, path, fetch=str(folder), dry_run=True)
    assert len(records) == 3
    assert not issues.total
    assert not server.hits
    assert not folder.exists()


@pytest.mark.parametrize("name", PLUGINS)
def test_a_dataset_is_the_same_whenever_its_images_came(
    server: Any, tmp_path: Path, name: str
) -> None:
    path = make(name, tmp_path, [f"{server.url}/img/{n}.jpg" for n in range(4)])
    told: list[str] = []
    options = {"fetch": str(tmp_path / "images"), "allow_private": True}
    made = []
    for number in range(2):
        context = Context(emit=lambda event: told.append(event["message"]))
        dest = tmp_path / f"{number}.tlx"
        made.append(ingest(name, path, dest, options=options, context=context).fingerprint)
    assert made[0] == made[1]
    assert any(text.startswith("Fetched 4 images") for text in told)


@pytest.mark.parametrize("name", PLUGINS)
def test_the_commands_say_what_was_fetched(
    server: Any, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make(name, tmp_path, [f"{server.url}/img/{n}.jpg" for n in range(3)])
    asked = ["--fetch", str(tmp_path / "images"), "--allow-private"]
    assert main(["ingest", name, str(path), "-o", str(tmp_path / "a.tlx"), *asked]) == 0
    assert "Fetched 3 images" in capsys.readouterr().err
    dest = str(tmp_path / "out")
    wanted = ["convert", str(path), "--from", name, "--to", "coco", "-o", dest, *asked]
    assert main([*wanted, "--media", "copy"]) == 0
    assert "3 are there already." in capsys.readouterr().err
    assert len([*(tmp_path / "out").rglob("*.jpg")]) == 3
    assert sum(server.hits.values()) == 3


def test_only_what_is_read_is_fetched(server: Any, tmp_path: Path) -> None:
    path = labelbox(tmp_path / "labels.ndjson", [f"{server.url}/img/{n}.jpg" for n in range(6)])
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[1]["projects"] = {}
    rows[2]["projects"]["p"]["name"] = "other"
    rows[3]["projects"]["p"]["labels"][0]["performance_details"] = {"skipped": True}
    rows[4]["media_attributes"]["mime_type"] = "video/mp4"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    read("labelbox", path, fetch=str(tmp_path / "a"), project="other")
    assert sorted(server.hits) == ["/img/2.jpg"]
    read("labelbox", path, fetch=str(tmp_path / "a"))
    assert sorted(server.hits) == ["/img/0.jpg", "/img/2.jpg", "/img/5.jpg"]
    server.hits.clear()
    read("labelbox", path, fetch=str(tmp_path / "b"), unlabelled="keep")
    assert sorted(server.hits) == [f"/img/{n}.jpg" for n in (0, 1, 2, 3, 5)]


# Masks.


def png(pixels: Any, mode: str | None = None) -> bytes:
    made = BytesIO()
    image = Image.fromarray(np.asarray(pixels, np.uint8))
    (image if mode is None else image.convert(mode)).save(made, "PNG")
    return made.getvalue()


@pytest.fixture
def drawn() -> Any:
    """A mask of two parts; bool array [48, 64]."""
    pixels = np.zeros((48, 64), bool)
    pixels[5:20, 10:30] = True
    pixels[30, 40] = True
    return pixels


def mask(url: str, name: str = "road", kind: str = "mask", **more: Any) -> dict[str, Any]:
    return {"feature_id": f"f-{url[-5:]}", "name": name, kind: {"url": url} | more}


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
@pytest.mark.parametrize("mode", [None, "1", "RGB", "RGBA", "P"])
def test_a_mask_becomes_an_outline(server: Any, tmp_path: Path, drawn: Any, mode: str) -> None:
    server.pictures["/img/90.png"] = png(drawn * 255, mode)
    url = f"{server.url}/img/90.png"
    path = labelbox(tmp_path / "labels.ndjson", ["https://host.test/a.jpg"], mask(url))
    options = {"fetch_masks": str(tmp_path / "masks")}
    (record,), issues, _ = read("labelbox", path, "fail", **options)
    (thing,) = record.objects
    assert thing.box == Box(10.0, 5.0, 41.0, 31.0)
    assert thing.segmentation.size == (48, 64)
    decoded = runs.decode({"size": [48, 64], "counts": thing.segmentation.counts})
    assert np.array_equal(decoded.astype(bool), drawn)
    assert thing.attributes["labelbox_mask_url"] == url
    assert record.uri == "https://host.test/a.jpg"
    assert not issues.total
    assert server.hits == {"/img/90.png": 1}
    assert read("labelbox", path, "fail", **options)[0] == [record]
    assert server.hits == {"/img/90.png": 1}
    # Unasked it stays what it was.
    (record,), issues, _ = read("labelbox", path)
    assert record.objects[0].segmentation is None
    assert issues.counts == {"mask-by-reference": 1}


def test_objects_of_a_composite_mask_are_told_by_colour(
    server: Any, tmp_path: Path, drawn: Any
) -> None:
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[drawn] = (200, 10, 10)
    pixels[40:44, 1:9] = (10, 10, 200)
    server.pictures["/img/91.png"] = png(pixels)
    url = f"{server.url}/img/91.png"
    things = [
        mask(url, "road", "composite_mask", color_rgb=[200, 10, 10]),
        mask(url, "lawn", "composite_mask", color_rgb=[10, 10, 200]),
        mask(url, "none", "composite_mask", color_rgb=[1, 2, 3]),
        mask(url, "unnamed", "composite_mask"),
        mask(url, "nonsense", "composite_mask", color_rgb="red"),
    ]
    path = labelbox(tmp_path / "labels.ndjson", ["https://host.test/a.jpg"], *things)
    (record,), issues, _ = read("labelbox", path, fetch_masks=str(tmp_path / "masks"))
    boxes = {thing.category: thing.box for thing in record.objects}
    assert boxes == {"road": Box(10.0, 5.0, 41.0, 31.0), "lawn": Box(1.0, 40.0, 9.0, 44.0)}
    assert [issue.message for issue in issues.kept] == [
        "the mask of a 'none': has no pixel of the object.",
        "the mask of a 'unnamed': is one of several objects, and its colour is not named.",
        "the mask of a 'nonsense': is one of several objects, and its colour is not named.",
    ]
    assert server.hits == {"/img/91.png": 1}


def test_masks_that_do_not_come_or_do_not_fit(server: Any, tmp_path: Path, drawn: Any) -> None:
    server.pictures["/img/92.png"] = png(drawn * 255)
    server.pictures["/img/93.png"] = png(drawn[:40, :50] * 255)
    server.pictures["/img/94.png"] = png(np.zeros((48, 64)))
    names = ["img/92.png", "img/93.png", "img/94.png", "gone/1.png", "half/2.png", "circle/a"]
    names += ["html/3.png", "stalled/4.png"]
    things = [mask(f"{server.url}/{name}", name) for name in names]
    things.append(mask("no address", "no address"))
    path = labelbox(tmp_path / "labels.ndjson", ["https://host.test/a.jpg"], *things)
    (record,), issues, _ = read("labelbox", path, fetch_masks=str(tmp_path / "masks"))
    assert [thing.category for thing in record.objects] == ["img/92.png"]
    expected = [
        ("bad-mask", "has 50 x 40 pixels and its image 64 x 48."),
        ("bad-mask", "has no pixel of the object."),
        ("not-fetched", "answers 404 Not Found."),
        ("not-fetched", "cannot be decoded"),
        ("not-fetched", "is led in a circle"),
        ("not-fetched", "is text/html, no image."),
        ("not-fetched", "does not answer in time."),
        ("not-fetched", "'no address' is no address to fetch it from."),
    ]
    for issue, (code, words) in zip(issues.kept, expected, strict=True):
        assert issue.code == code
        assert words in issue.message
        assert (issue.line, issue.action) == (1, "skipped")


def test_images_and_masks_at_once_with_a_token(
    server: Any, tmp_path: Path, drawn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", "s3cret-t0ken")
    server.pictures["/locked/95.png"] = png(drawn * 255)
    thing = mask(f"{server.url}/locked/95.png")
    path = labelbox(tmp_path / "labels.ndjson", [f"{server.url}/img/1.jpg"], thing)
    folders = {"fetch": str(tmp_path / "images"), "fetch_masks": str(tmp_path / "masks")}
    named = {"token_variable": "KEY", "token_host": "127.0.0.1"}
    (record,), issues, reading = read("labelbox", path, "fail", **folders, **named)
    assert record.objects[0].segmentation is not None
    assert not issues.total
    assert (reading.media_root / record.uri).is_file()
    written = [p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()]
    assert not any(b"s3cret" in content for content in written)
    # An index is all that a folder of masks needs to be read again.
    shutil.rmtree(tmp_path / "masks" / ".tlx-fetch")
    assert (tmp_path / "masks" / INDEX).is_file()
    assert read("labelbox", path, "fail", **folders, **named)[0] == [record]
