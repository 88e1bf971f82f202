"""Environments of backends: made whole or not at all, tested, adopted, removed."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from tlx import environment_install, environments
from tlx.api import Environment
from tlx.context import Context
from tlx.data_folder import data_folder
from tlx.environment_install import base_python, install, uv_variables
from tlx.errors import MissingEnvironment, TlxError, UsageError

WORKER = """
def run(job, channel):
    import importlib.metadata
    try:
        import lamp
    except ImportError as error:
        channel.emit("check", name="imports", ok=False, detail=str(error), seconds=0.1)
        return {"ok": False, "versions": {}}
    ok = lamp.COLOUR == "red"
    channel.emit("check", name="imports", ok=True, detail="lamp", seconds=0.1)
    channel.emit("check", name="colour", ok=ok, detail=lamp.COLOUR, seconds=0.0)
    return {"ok": ok, "versions": {"lamp": importlib.metadata.version("lamp")}}
"""


def write_wheel(folder: Path, version: str, colour: str) -> None:
    """A wheel by hand (the binary distribution format of the packaging specifications)."""
    folder.mkdir(exist_ok=True)
    info = f"lamp-{version}.dist-info"
    with zipfile.ZipFile(folder / f"lamp-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr("lamp.py", f"COLOUR = {colour!r}\n")
        wheel.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: lamp\nVersion: {version}\n"
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(
            f"{info}/RECORD", f"lamp.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n"
        )


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLX_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setattr(environment_install.shutil, "which", lambda _: None)


@pytest.fixture
def lamp(tmp_path: Path) -> Environment:
    """An environment of one package, whose wheel is made here."""
    write_wheel(tmp_path / "wheels", "1.0", "red")
    worker = tmp_path / "worker"
    worker.mkdir()
    (worker / "__init__.py").write_text(WORKER)
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("lamp==1.0\n")
    return Environment(
        name="lamp",
        summary="a lamp",
        requirements=requirements,
        worker=worker,
        python=("3.11", "3.99"),
        download_mb=1,
        disk_mb=30,
    )


def test_installed_used_and_removed(lamp: Environment) -> None:
    with pytest.raises(MissingEnvironment, match="tlx backends install torchless"):
        environments.require(lamp, "torchless")
    stamp = install(lamp, Context())
    assert stamp.versions == {"lamp": "1.0"}
    assert stamp.owned
    assert (stamp.megabytes or 0) > 0
    python = environments.require(lamp, "torchless")
    # It was made at another path; its interpreter works at this one.
    said = subprocess.check_output([python, "-c", "import lamp; print(lamp.__file__)"], text=True)
    assert Path(said.strip()).is_relative_to(data_folder() / "environments" / "lamp")
    assert environments.state(lamp).kind == "ready"
    lamp.requirements.write_text("lamp==1.1\n")
    assert environments.state(lamp).kind == "outdated"
    assert environments.remove(lamp) == data_folder() / "environments" / "lamp"
    assert environments.state(lamp).kind == "missing"
    assert [p.name for p in environments.environments_folder().iterdir()] == [".lamp.lock"]


def test_a_failure_leaves_the_older_environment_in_use(lamp: Environment, tmp_path: Path) -> None:
    install(lamp, Context())
    write_wheel(tmp_path / "wheels", "2.0", "green")
    lamp.requirements.write_text("lamp==2.0\n")
    with pytest.raises(TlxError, match="did not pass the self-test: colour: green"):
        install(lamp, Context())
    lamp.requirements.write_text("lamp==3.0\n")
    with pytest.raises(TlxError, match="pip failed: .*lamp==3.0"):
        install(lamp, Context())
    lamp.requirements.write_text("lamp==1.0\n")
    assert environments.state(lamp).kind == "ready"
    assert all(check.ok for check in environments.self_test(
        lamp, environments.require(lamp, "x"), Context())[0])  # fmt: skip


def test_an_interruption_leaves_nothing_and_it_can_be_run_again(
    lamp: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stop:
        def status(self, text: str) -> None:
            if "lamp" in text:
                raise KeyboardInterrupt

        def track(self, items, description, total=None):  # type: ignore[no-untyped-def]
            yield from items

    with pytest.raises(KeyboardInterrupt):
        install(lamp, Context(progress=Stop()))
    assert environments.state(lamp).kind == "missing"
    assert [p.name for p in environments.environments_folder().iterdir()] == [".lamp.lock"]
    left = environments.environments_folder() / ".lamp.killed.part"
    left.mkdir()
    assert install(lamp, Context()).versions == {"lamp": "1.0"}
    assert not left.exists()


def test_a_second_installation_waits_its_turn(lamp: Environment) -> None:
    with environment_install._alone(lamp), pytest.raises(UsageError, match="another process"):
        install(lamp, Context())


def test_no_space_is_said_before_anything_is_fetched(lamp: Environment) -> None:
    with pytest.raises(TlxError, match=r"takes 999,999,999,999 MB, and .* MB free"):
        install(replace(lamp, disk_mb=999_999_999_999), Context())


def test_python_of_another_version(lamp: Environment) -> None:
    with pytest.raises(UsageError, match="needs Python 3.1 to 3.2; this is"):
        base_python(replace(lamp, python=("3.1", "3.2")))


def test_an_environment_of_the_users_own(lamp: Environment, tmp_path: Path) -> None:
    with pytest.raises(TlxError, match="imports: No module named 'lamp'"):
        environments.adopt(lamp, Path(sys.executable), Context())
    assert environments.state(lamp).kind == "missing"
    own = tmp_path / "own"
    venv.create(own, symlinks=True)
    site = next(own.glob("lib/python*/site-packages"))
    with zipfile.ZipFile(tmp_path / "wheels" / "lamp-1.0-py3-none-any.whl") as wheel:
        wheel.extractall(site)
    environments.adopt(lamp, own / "bin" / "python", Context())
    assert environments.require(lamp, "x") == own / "bin" / "python"
    assert environments.remove(lamp) is None
    assert (own / "bin" / "python").exists()
    environments.adopt(lamp, own / "bin" / "python", Context())
    (own / "bin" / "python").unlink()
    with pytest.raises(MissingEnvironment, match="its environment is gone"):
        environments.require(lamp, "x")


def test_a_broken_stamp_is_no_environment(lamp: Environment) -> None:
    file = environments.environments_folder() / "lamp.json"
    file.parent.mkdir(parents=True)
    for text in ("", "[]", json.dumps({"python": 1}), "\xff"):
        file.write_text(text)
        assert environments.state(lamp).kind == "gone"


def test_a_worker_without_a_self_test_fails_it(lamp: Environment) -> None:
    (lamp.worker / "__init__.py").write_text("def run(job, channel):\n    return {}\n")
    with pytest.raises(TlxError, match="it checked nothing"):
        environments.adopt(lamp, Path(sys.executable), Context())
    (lamp.worker / "__init__.py").write_text("import nothing_of_this_name\n")
    with pytest.raises(TlxError, match="No module named 'nothing_of_this_name'"):
        environments.adopt(lamp, Path(sys.executable), Context())


def test_pips_settings_reach_uv() -> None:
    settings = {
        "index-url": "https://a.example/simple",
        "extra-index-url": "https://b.example/simple file:///c",
        "find-links": "/wheels /more",
        "cert": "/ca.pem",
    }
    told = uv_variables(settings, {"PATH": "/bin", "SSL_CERT_FILE": "/mine.pem"})
    assert told == {
        "PATH": "/bin",
        "UV_DEFAULT_INDEX": "https://a.example/simple",
        "UV_INDEX": "https://b.example/simple file:///c",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": "/wheels,/more",
        "SSL_CERT_FILE": "/mine.pem",
    }
    assert uv_variables({}, {"PATH": "/bin"}) == {"PATH": "/bin"}


def test_pips_settings_are_read_as_pip_states_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "pip.conf"
    file.write_text(
        "[global]\nindex-url = https://a.example/simple\nfind-links =\n    /x\n    /y\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "https://b.example/simple")
    found = environment_install._pip_settings(sys.executable)
    assert found["index-url"] == "https://b.example/simple"
    assert found["find-links"] == "/x /y"
