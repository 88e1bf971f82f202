"""Lists of addresses, the names that their images get, and readers that find these again."""

from __future__ import annotations

import csv
import ipaddress
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tlx import pipeline
from tlx.cli import main
from tlx.dataset import Dataset
from tlx.errors import DataError, TlxError, UsageError
from tlx.fetched import identity_of
from tlx_plugins.fetching.client import check_address, is_public
from tlx_plugins.fetching.exports import read_input
from tlx_plugins.fetching.failure import Failure
from tlx_plugins.fetching.naming import Names, safe_path
from tlx_plugins.fetching.pace import parse_size, retry_after

ROWS = "ImageID,Subset,OriginalURL\n0a1,train,https://a.example/x%20y.jpg?d=1\n0b2,test,\n"


def addresses(path: Path, **options: Any) -> list[tuple[str, str | None, int | None]]:
    given = {"encoding": None, "column": None, "name_column": None} | options
    return [tuple(entry) for entry in read_input(path, **given).addresses]  # type: ignore[misc]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_table_has_its_column_and_names(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "urls.csv"
    path.write_bytes(ROWS.replace("\n", "\r\n").encode(encoding))
    assert addresses(path) == [("https://a.example/x%20y.jpg?d=1", "0a1", 2)]


def test_columns_are_told_by_their_contents_or_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "urls.csv"
    path.write_text("page;photo\nhttp://a/p;http://a/i.jpg\n")
    with pytest.raises(DataError, match="several columns: 'page', 'photo'"):
        addresses(path)
    assert addresses(path, column="Photo") == [("http://a/i.jpg", None, 2)]
    with pytest.raises(UsageError, match="no column 'foto'"):
        addresses(path, column="foto")
    path.write_text("http://a/1.jpg\nhttp://a/2.jpg\n")
    assert [line for _, _, line in addresses(path)] == [1, 2]
    path.write_text("name,label\na.jpg,cat\n")
    with pytest.raises(DataError, match="no column of addresses"):
        addresses(path)
    path.write_bytes("url\nhttp://a/\xe9.jpg\n".encode("cp1252"))
    with pytest.raises(DataError, match="--encoding|is not UTF-8"):
        addresses(path)
    assert addresses(path, encoding="cp1252")[0][0] == "http://a/é.jpg"


def test_real_exports_name_their_images(shared_data: Path) -> None:
    path = shared_data / "labelbox" / "ndjson_2023" / "export-result.ndjson"
    rows = [json.loads(line)["data_row"] for line in path.read_text().splitlines()]
    got = addresses(path)
    assert [url for url, _, _ in got] == [row["row_data"] for row in rows]
    assert [name for _, name, _ in got] == [row["external_id"] for row in rows]
    path = shared_data / "coco_val2017_sample" / "instances.json"
    images = json.loads(path.read_text())["images"]
    assert [(u, n) for u, n, _ in addresses(path)] == [
        (i["coco_url"], i["file_name"]) for i in images
    ]
    path = shared_data / "seed_peaches" / "data" / "peaches_training_coco.json"
    images = json.loads(path.read_text())["images"]
    assert [u for u, _, _ in addresses(path)] == [i["file_name"] for i in images]
    path = shared_data / "labelbox" / "v1_2021" / "image_export.json"
    assert [u for u, _, _ in addresses(path)] == [json.loads(path.read_text())["Labeled Data"]]


def test_signed_addresses_of_one_image_are_one(shared_data: Path) -> None:
    path = shared_data / "labelbox" / "v1_2021" / "unkown_media_type_export.json"
    for row in json.loads(path.read_text()):
        assert "?" not in identity_of(row["Labeled Data"])
    assert identity_of("http://A/x?st=1&se=2") == "http://a/x?st=1&se=2"
    assert identity_of("http://a/x?sig=1&sv=2&se=3&size=4") == "http://a/x?size=4"
    assert identity_of("http://a/x?X-Amz-Signature=1&X-Amz-Date=2&id=7") == "http://a/x?id=7"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("../../etc/passwd.jpg", "etc/passwd.jpg"),
        ("..\\..\\x.jpg", "x.jpg"),
        ("/abs/x.jpg", "abs/x.jpg"),
        ("C:\\x.jpg", "C_/x.jpg"),
        ("CON.jpg", "_CON.jpg"),
        (".hidden.jpg", "_hidden.jpg"),
        ("a\0b\n.jpg", "a_b_.jpg"),
        ("x\u202egpj.exe.jpg", "x_gpj.exe.jpg"),
        ("größe 1.jpg", "größe 1.jpg"),
        ("....", "image"),
        ("a" * 300 + ".jpg", "a" * 120 + ".jpg"),
    ],
)
def test_names_are_safe(text: str, expected: str) -> None:
    assert safe_path(text) == expected


URLS = st.one_of(
    st.text(max_size=40).map(lambda t: f"http://a.example/{t}"),
    st.sampled_from(
        ["http://a/x.jpg", "http://b/x.jpg", "http://b/X.JPG", "http://a/%2e%2e%2fx.jpg",
         "http://a/x?1", "http://a/x?2", "http://a/x", "http://a/", "http://a/x.jpg/y.jpg"]
    ),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(URLS, st.one_of(st.none(), st.text(max_size=30))), max_size=15))
def test_names_stay_inside_and_never_collide(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[str, str | None]]
) -> None:
    folder = tmp_path_factory.getbasetemp() / "names"
    names = Names(folder)
    urls = {identity_of(url): (url, name) for url, name in entries}
    given_out = [names.give(url, name or None) for url, name in urls.values()]
    assert len({name.casefold() for name in given_out}) == len(given_out)
    for name in given_out:
        assert (folder / name).resolve().is_relative_to(folder.resolve())
        assert not name.startswith(("/", ".")), name
        assert name.isprintable()
        assert not any(other.startswith(name + "/") for other in given_out)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("127.0.0.1", False), ("10.1.2.3", False), ("192.168.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False), ("0.0.0.0", False), ("::1", False), ("fe80::1%eth0", False),
        ("fd00::1", False), ("::ffff:127.0.0.1", False), ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False), ("224.0.0.1", False), ("93.184.216.34", True),
        ("2606:4700::1111", True),
    ],
)  # fmt: skip
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public
    if "%" not in address and not public:
        assert not ipaddress.ip_address(address).is_global or ":" in address or "224" in address


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "ftp://a/x.jpg", "http://", "http://u:p@a/x.jpg", "javascript:1",
     "http://a:99999/x", "http://[::1/x", "x.jpg", "http://a/\r\nHost: b", ""],
)  # fmt: skip
def test_what_is_no_web_address_is_refused(url: str) -> None:
    with pytest.raises(Failure) as caught:
        check_address(url)
    assert caught.value.reason == "bad-address"


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_no_text_breaks_the_check_of_addresses(text: str) -> None:
    for url in (text, f"http://{text}", f"http://a/{text}"):
        identity_of(url)
        try:
            check_address(url)
        except Failure:
            continue


def test_sizes_and_waits() -> None:
    assert parse_size("1.5 KB", "--max-size") == 1536
    assert parse_size("64MB", "--max-size") == 64 << 20
    for text in ("", "0", "many", "-1", "5 parsec"):
        with pytest.raises(UsageError, match="no size"):
            parse_size(text, "--max-size")
    assert retry_after("120", 0.0) == 120.0
    assert retry_after("Thu, 01 Jan 1970 00:01:00 GMT", 20.0) == 40.0
    assert retry_after("soon", 0.0) is None


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([".csv", ".txt", ".json", ".ndjson"]))
def test_no_list_breaks_the_reader(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, suffix: str
) -> None:
    path = tmp_path_factory.mktemp("list") / f"urls{suffix}"
    path.write_bytes(data)
    try:
        addresses(path)
    except TlxError:
        return


# What was fetched is found by readers.


def test_coco_csv_and_labelbox_find_what_was_fetched(
    server: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = f"{server.url}/img/1.jpg"
    signed = f"{server.url}/img/2.jpg?X-Amz-Signature={{}}&X-Amz-Date=1"
    coco = tmp_path / "coco.json"
    coco.write_text(json.dumps({
        "images": [
            {"id": 1, "file_name": image, "width": 64, "height": 48},
            {"id": 2, "file_name": "sub/two.jpg", "coco_url": f"{server.url}/img/3.jpg"},
        ],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}],
        "categories": [{"id": 1, "name": "sign"}],
    }))  # fmt: skip
    table = tmp_path / "labels.csv"
    table.write_text(f"image,label,x,y,w,h\n{image},sign,1,2,3,4\n")
    box = {"top": 2, "left": 1, "height": 4, "width": 3}
    row = {
        "data_row": {"id": "r1", "external_id": "no name", "row_data": signed.format("old")},
        "projects": {"p": {"name": "P", "labels": [{"annotations": {"objects": [
            {"name": "sign", "annotation_kind": "ImageBoundingBox", "bounding_box": box}]}}]}},
    }  # fmt: skip
    export = tmp_path / "export.ndjson"
    export.write_text(json.dumps(row) + "\n")
    for path in (coco, table, export):
        folder = tmp_path / f"{path.stem}-images"
        command = ["fetch", str(path), "-o", str(folder), "--allow-private", "--json"]
        assert main(command) == 0
        assert json.loads(capsys.readouterr().out)["failed"] == {}
    # The same image, signed anew.
    export.write_text(json.dumps(row).replace("old", "new") + "\n")
    for name, path, images in (("coco", coco, 2), ("csv", table, 1), ("labelbox", export, 1)):
        made = tmp_path / f"{name}.tlx"
        folder = tmp_path / f"{path.stem}-images"
        dataset = pipeline.ingest(name, path, made, options={"images": str(folder)})
        records = list(dataset.records())
        assert len(records) == images
        for record in records:
            with Image.open(Dataset.open(made).image_path(record.uri)) as picture:
                assert picture.size == (64, 48)


def test_the_command_says_what_failed_and_ends_with_its_code(
    server: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "urls.csv"
    path.write_text(f"name,url\nx,{server.url}/missing/1.jpg\ny,{server.url}/img/2.jpg\n")
    report = tmp_path / "report.json"
    command = ["fetch", str(path), "-o", str(tmp_path / "out"), "--allow-private"]
    assert main([*command, "--report", str(report)]) == 6
    said = capsys.readouterr().out
    assert "1 failed: not-found" in said
    assert "Fetched 1 image," in said
    lines = {line["line"]: line for line in json.loads(report.read_text())}
    assert (lines[2]["status"], lines[2]["http_status"]) == ("failed", 404)
    assert (lines[3]["status"], lines[3]["file"]) == ("fetched", "2.jpg")
    assert main(["fetch", str(path)]) == 2
    assert main(["fetch", str(tmp_path / "nothing.csv"), "-o", "x"]) == 2


def test_a_dataset_names_what_it_lacks(server: Any, tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text(f"image,label\n{server.url}/img/1.jpg,sign\n{server.url}/img/2.jpg,sign\n")
    pipeline.ingest("csv", table, tmp_path / "d.tlx")
    with (tmp_path / "labels.csv").open() as file:
        urls = [row["image"] for row in csv.DictReader(file)]
    assert [url for url, _, _ in addresses(tmp_path / "d.tlx")] == urls
    assert not server.hits
