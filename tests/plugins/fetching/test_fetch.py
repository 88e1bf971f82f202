"""``tlx fetch`` against a server that fails in every way."""

from __future__ import annotations

import csv
import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tlx.context import Context
from tlx.errors import UsageError
from tlx.fetched import INDEX, FetchedImages
from tlx_plugins.fetching.command import INCOMPLETE, FetchCommand, FetchOptions

BAD = "nothing-is-there"


def fetch(folder: Path, urls: list[str], **options: Any) -> dict[str, Any]:
    """Fetch a list; returns the result with the report's rows by address."""
    options = {"allow_private": True, "rate": 0.0, "timeout": 5.0, "workers": 4} | options
    path = folder / "urls.txt"
    path.write_text("\n".join(urls), encoding="utf-8")
    said: list[str] = []
    result = dict(
        FetchCommand().run(
            FetchOptions(path=path, output=folder / "images", **options), Context(), said.append
        )
    )
    if "report" in result:
        with Path(result["report"]).open(newline="", encoding="utf-8") as file:
            result["rows"] = {row["url"]: row for row in csv.DictReader(file)}
    result["said"] = "\n".join(said)
    return result


def files(folder: Path) -> dict[str, bytes]:
    """Everything below a folder of images but the tool's own files."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
        and ".tlx-fetch" not in path.parts
        and path.name not in {INDEX, "fetch-report.csv"}
    }


def test_images_arrive_byte_for_byte(server: Any, tmp_path: Path) -> None:
    urls = [f"{server.url}/img/{n}.jpg" for n in range(20)]
    result = fetch(tmp_path, [*urls, urls[3], "# a remark", ""])
    assert result["fetched"] == 20
    assert result["exit_code"] == 0
    assert files(tmp_path / "images") == {
        f"{n}.jpg": server.body(f"/img/{n}.jpg") for n in range(20)
    }
    assert "1 repeat another one" in result["said"]
    index = FetchedImages(tmp_path / "images")
    assert [index.find(url) for url in urls] == [f"{n}.jpg" for n in range(20)]
    assert index.find(urls[0] + BAD) is None


def test_a_second_run_asks_for_nothing(server: Any, tmp_path: Path) -> None:
    urls = [f"{server.url}/img/{n}.jpg" for n in range(5)]
    fetch(tmp_path, urls)
    before = dict(server.hits)
    again = fetch(tmp_path, urls)
    assert (again["fetched"], again["present"], again["exit_code"]) == (0, 5, 0)
    assert dict(server.hits) == before
    (tmp_path / "images" / "2.jpg").unlink()
    (tmp_path / "images" / "3.jpg").write_bytes(b"cut")
    third = fetch(tmp_path, [*urls, f"{server.url}/img/9.jpg"])
    # A file that is not as it was left stays, and its image gets another name.
    assert third["fetched"] == 3
    assert files(tmp_path / "images")["2.jpg"] == server.body("/img/2.jpg")


@pytest.mark.parametrize(
    ("path", "reason", "hits"),
    [
        ("/missing/1.jpg", "not-found", 1),
        ("/down/1.jpg", "http-status", 3),
        ("/patient/1.jpg", "http-status", 1),
        ("/circle/a", "redirect-loop", 1),
        ("/chain/0", "redirect-loop", 1),
        ("/elsewhere/1.jpg", "bad-address", 1),
        ("/html/1.jpg", "wrong-type", 1),
        ("/text/1.jpg", "no-image", 1),
        ("/empty/1.jpg", "empty", 1),
        ("/half/1.jpg", "broken-image", 1),
        ("/huge/1.jpg", "too-large", 1),
        ("/endless/1.jpg", "too-large", 1),
        ("/short/1.jpg", "broken-image", 1),
        ("/hangup/1.jpg", "no-connection", 3),
    ],
)
def test_what_cannot_be_fetched_has_a_reason(
    server: Any, tmp_path: Path, path: str, reason: str, hits: int
) -> None:
    good = f"{server.url}/img/good.jpg"
    result = fetch(tmp_path, [server.url + path, good], attempts=3, max_size="1MB")
    row = result["rows"][server.url + path]
    assert (row["status"], row["reason"]) == ("failed", reason)
    assert row["detail"].endswith(".")
    assert result["exit_code"] == INCOMPLETE
    assert server.hits[path] == hits
    assert list(files(tmp_path / "images")) == ["good.jpg"]
    assert not list((tmp_path / "images" / ".tlx-fetch").glob("*.part"))


def test_a_stalled_answer_and_dripping_headers_end(server: Any, tmp_path: Path) -> None:
    urls = [f"{server.url}/stalled/1.jpg", f"{server.url}/drip/2.jpg"]
    result = fetch(tmp_path, urls, attempts=1, timeout=0.5)
    reasons = [result["rows"][url]["reason"] for url in urls]
    assert reasons == ["timeout", "timeout"]


def test_passing_faults_are_overcome(server: Any, tmp_path: Path) -> None:
    paths = ["/flaky/1.jpg", "/busy/2.jpg", "/cut/3.jpg", "/moved/4.jpg", "/liar/5.jpg"]
    result = fetch(tmp_path, [server.url + path for path in paths])
    assert result["exit_code"] == 0, result["said"]
    got = files(tmp_path / "images")
    assert got.pop("4.jpg") == server.body("/img/7.jpg")
    for path in (p for p in paths if "moved" not in p):
        assert got.pop(path.rpartition("/")[2]) == server.body(path)
    assert not got
    first, second = server.times["/busy/2.jpg"]
    assert second - first >= 1.0
    assert result["rows"][server.url + "/flaky/1.jpg"]["attempts"] == "3"


def test_a_transfer_that_broke_off_goes_on_where_it_ended(server: Any, tmp_path: Path) -> None:
    path = "/resumable/1.jpg"
    fetch(tmp_path, [server.url + path])
    body = server.body(path)
    assert files(tmp_path / "images")["1.jpg"] == body
    assert server.ranges[path] == [None, f"bytes={len(body) // 2}-"]


def test_a_file_that_changed_in_between_begins_anew(server: Any, tmp_path: Path) -> None:
    path = "/resumable/1.jpg"
    old = server.body(path)
    fetch(tmp_path, [server.url + path], attempts=1)
    server.etags[path] = '"two"'
    server.pictures[path] = server.body("/img/77.jpg")
    assert server.pictures[path] != old
    fetch(tmp_path, [server.url + path])
    assert files(tmp_path / "images") == {"1.jpg": server.pictures[path]}
    assert server.ranges[path][1] is not None


def test_private_addresses_are_refused_also_behind_a_redirect(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tlx_plugins.fetching import client

    url = f"{server.url}/img/1.jpg"
    result = fetch(tmp_path, [url], allow_private=False)
    assert result["rows"][url]["reason"] == "private-address"
    assert not server.hits
    # As if the first host were public and the second, which it leads to, were not.
    public = client.is_public
    monkeypatch.setattr(client, "is_public", lambda a: not server.hits or public(a))
    led = f"{server.url}/inside/1.jpg"
    result = fetch(tmp_path, [led], allow_private=False, attempts=1)
    assert result["rows"][led]["reason"] == "private-address"
    assert server.hits == {"/inside/1.jpg": 1}


def test_the_token_goes_to_its_hosts_only(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_TOKEN", "s3cret")
    port = server.server_address[1]
    urls = [
        f"{server.url}/img/1.jpg",
        f"http://localhost:{port}/img/2.jpg",
        f"{server.url}/inside/3",
    ]
    result = fetch(tmp_path, urls, token_variable="MY_TOKEN", token_host="127.0.0.1")
    assert result["exit_code"] == 0
    assert server.seen["/img/1.jpg"] == "Bearer s3cret"
    assert server.seen["/img/2.jpg"] is None
    assert server.seen["/img/secret.jpg"] is None
    for path in (tmp_path / "images").rglob("*"):
        assert path.is_dir() or b"s3cret" not in path.read_bytes()
    with pytest.raises(UsageError, match="belong together"):
        fetch(tmp_path, urls, token_variable="MY_TOKEN")


def test_the_total_is_a_limit_and_the_rest_comes_next_time(server: Any, tmp_path: Path) -> None:
    urls = [f"{server.url}/img/{n}.jpg" for n in range(12)]
    size = len(server.body("/img/1.jpg"))
    first = fetch(tmp_path, urls, max_total=str(5 * size), workers=1)
    assert 0 < first["fetched"] < 12
    assert first["left"] == 12 - first["fetched"]
    assert first["exit_code"] == INCOMPLETE
    assert "Run it again" in first["said"]
    second = fetch(tmp_path, urls)
    assert (second["present"], second["exit_code"]) == (first["fetched"], 0)


def test_a_killed_run_is_gone_on_with(server: Any, tmp_path: Path) -> None:
    server.pause = 0.05
    urls = [f"{server.url}/img/{n}.jpg" for n in range(40)] + [f"{server.url}/resumable/gate.jpg"]
    listing = tmp_path / "urls.txt"
    listing.write_text("\n".join(reversed(urls)))
    command = [sys.executable, "-c", "import sys; from tlx.cli import main; sys.exit(main())",
               "fetch", str(listing), "-o", str(tmp_path / "images"), "--allow-private",
               "--workers", "2", "--rate", "0"]  # fmt: skip
    job = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, "no_proxy": "*"})
    deadline = time.monotonic() + 60
    while sum(server.hits.values()) < 12 and time.monotonic() < deadline:
        time.sleep(0.01)
    job.send_signal(signal.SIGKILL)
    job.wait()
    server.open_gate.set()
    with (tmp_path / "images" / INDEX).open("ab") as index:
        index.write(b'{"url":"http://x/')  # As if it had been killed while it wrote a line.
    came = files(tmp_path / "images")
    assert 5 < len(came) < 40
    assert all(body == server.body(f"/img/{name}") for name, body in came.items())
    half = len(server.body("/resumable/gate.jpg")) // 2
    before = dict(server.hits)
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["present"] == len(came)
    assert result["fetched"] == 41 - len(came)
    assert len(files(tmp_path / "images")) == 41
    assert server.ranges["/resumable/gate.jpg"] == [None, f"bytes={half}-"]
    again = {name: count - before.get(name, 0) for name, count in server.hits.items()}
    assert all(not again[f"/img/{name}"] for name in came)


def test_two_jobs_do_not_work_in_one_folder(server: Any, tmp_path: Path) -> None:
    from tlx_plugins.fetching.ledger import Ledger

    fetch(tmp_path, [f"{server.url}/img/1.jpg"])
    with (
        Ledger(tmp_path / "images").opened(),
        pytest.raises(UsageError, match="another tlx fetch"),
    ):
        fetch(tmp_path, [f"{server.url}/img/2.jpg"])


def test_a_folder_of_something_else_is_left_alone(server: Any, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="not made by tlx fetch"):
        fetch(tmp_path, [f"{server.url}/img/1.jpg"])


def test_a_dry_run_asks_nobody_and_writes_nothing(server: Any, tmp_path: Path) -> None:
    result = fetch(tmp_path, [f"{server.url}/img/1.jpg", "ftp://x/y"], dry_run=True)
    assert "2 would be fetched;" in result["said"]
    assert not server.hits
    assert not (tmp_path / "images").exists()


def test_endings_come_from_the_content(server: Any, tmp_path: Path) -> None:
    urls = [f"{server.url}/png/a.jpg", f"{server.url}/untyped/photo", f"{server.url}/img/3?w=1"]
    result = fetch(tmp_path, urls)
    names = sorted(files(tmp_path / "images"))
    assert names[1:] == ["a.jpg", "photo.png"]
    assert names[0].startswith("3-")
    assert names[0].endswith(".jpg")
    assert result["rows"][urls[0]]["note"] == "is PNG, which its name does not say"


def test_the_rate_of_one_host_is_kept(server: Any, tmp_path: Path) -> None:
    urls = [f"{server.url}/img/{n}.jpg" for n in range(6)]
    fetch(tmp_path, urls, rate=20.0)
    times = sorted(t for url in urls for t in server.times[url.removeprefix(server.url)])
    assert times[-1] - times[0] >= 5 / 20 - 0.02


def test_a_trickle_is_broken_off(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tlx_plugins.fetching import transfer

    monkeypatch.setattr(transfer, "_SLOW_SPAN", 0.4)
    url = f"{server.url}/trickle/1.jpg"
    result = fetch(tmp_path, [url], attempts=1)
    assert result["rows"][url]["reason"] == "too-slow"


def test_an_interrupted_run_ends_at_once_and_keeps_what_came(server: Any, tmp_path: Path) -> None:
    urls = [f"{server.url}/img/{n}.jpg" for n in range(5)] + [f"{server.url}/stalled/x.jpg"]
    listing = tmp_path / "urls.txt"
    listing.write_text("\n".join(urls))
    command = [sys.executable, "-c", "import sys; from tlx.cli import main; sys.exit(main())",
               "fetch", str(listing), "-o", str(tmp_path / "images"), "--allow-private",
               "--timeout", "600", "--rate", "0"]  # fmt: skip
    job = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ})
    deadline = time.monotonic() + 60
    while len(list((tmp_path / "images").glob("*.jpg"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.02)
    while not server.hits["/stalled/x.jpg"] and time.monotonic() < deadline:
        time.sleep(0.02)
    job.send_signal(signal.SIGINT)
    _, said = job.communicate(timeout=60)
    assert job.returncode == 130
    assert "Run it again to go on" in said
    with (tmp_path / "images" / "fetch-report.csv").open() as file:
        states = [row["status"] for row in csv.DictReader(file)]
    assert states == ["fetched"] * 5 + ["left"]


def test_a_report_never_covers_anything_else(server: Any, tmp_path: Path) -> None:
    url = f"{server.url}/img/1.jpg"
    with pytest.raises(UsageError, match="exists already"):
        fetch(tmp_path, [url], report=tmp_path / "urls.txt")
    assert (tmp_path / "urls.txt").read_text() == url
    for _ in range(2):
        fetch(tmp_path, [url], report=tmp_path / "report.csv")


def test_it_asks_through_the_proxy_of_the_environment(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://user:word@{server.url.removeprefix('http://')}")
    monkeypatch.setenv("no_proxy", "")
    fetch(tmp_path, ["http://pictures.invalid/img/5.jpg"], allow_private=False)
    assert server.hits == {"/img/5.jpg": 1}
    assert server.proxy_logins == ["Basic dXNlcjp3b3Jk"]
    monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:1")
    with pytest.raises(UsageError, match="proxy of the environment"):
        fetch(tmp_path, ["http://pictures.invalid/img/6.jpg"])


def test_no_answer_breaks_it(server: Any, tmp_path: Path) -> None:
    dice = random.Random(11)
    body = server.body("/img/1.jpg")
    head = b"HTTP/1.1 200 OK\r\n"
    server.raw = [
        b"",
        b"\0" * 100,
        b"HTTP/0.9 what\r\n\r\n",
        b"HTTP/1.1 999 \xff\xfe\r\n\r\n",
        b"HTTP/1.1 200" + b"A" * 100_000,
        head + b"X: " + b"y" * 100_000 + b"\r\n\r\n",
        head + b"X: y\r\n" * 1000 + b"\r\n",
        head + b"Content-Length: -5\r\n\r\n" + body,
        head + b"Content-Length: many\r\n\r\n" + body,
        head + b"Content-Length: 5\r\nContent-Length: 9\r\n\r\n" + body,
        head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        head + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nabc",
        head + b"Content-Encoding: gzip\r\n\r\nnot gzip at all",
        head + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"\0" * 30_000_000),
        head + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(body),
        head + b"Content-Type: \xe9\r\nETag: \xff\r\n\r\n" + body,
        b"HTTP/1.1 302 F\r\nLocation: http://[::1\r\n\r\n",
        b"HTTP/1.1 302 F\r\nLocation: \xff\xfe://\0\r\n\r\n",
        b"HTTP/1.1 302 F\r\n\r\n",
        b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 0-3/4\r\n\r\n" + body,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 50,
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 503 Busy\r\nRetry-After: " + b"9" * 400 + b"\r\n\r\n",
    ]
    whole = head + b"Content-Type: image/jpeg\r\n\r\n" + body
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(dice.randrange(1, 6)):
            data[dice.randrange(len(data) if dice.random() < 0.5 else 60)] = dice.randrange(256)
        server.raw.append(bytes(data[: dice.randrange(1, len(data) + 1)]))
    urls = [f"{server.url}/raw/{n}/x.jpg" for n in range(len(server.raw))]
    result = fetch(tmp_path, urls, attempts=1, timeout=2.0, max_size="1MB", workers=8)
    assert {row["status"] for row in result["rows"].values()} <= {"fetched", "failed"}
    assert result["rows"][urls[13]]["reason"] == "too-large"
    assert result["rows"][urls[14]]["status"] == "fetched"
    for name in files(tmp_path / "images"):
        with Image.open(tmp_path / "images" / name) as image:
            image.load()
