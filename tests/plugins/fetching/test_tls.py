"""``tlx fetch`` over TLS: who is believed, and who sees the token."""

from __future__ import annotations

import csv
import logging
from pathlib import Path
from typing import Any

import pytest

from tlx.context import Context
from tlx.errors import UsageError
from tlx_plugins.fetching import client
from tlx_plugins.fetching.command import INCOMPLETE, FetchCommand, FetchOptions

TOKEN = "s3cret-t0ken"


def fetch(folder: Path, urls: list[str], **options: Any) -> dict[str, Any]:
    """Fetch a list; returns the result with what was said and the report's rows by address."""
    options = {"allow_private": True, "rate": 0.0, "timeout": 5.0, "attempts": 1} | options
    path = folder / "urls.txt"
    path.write_text("\n".join(urls))
    said: list[str] = []
    result = dict(
        FetchCommand().run(
            FetchOptions(path=path, output=folder / "images", **options), Context(), said.append
        )
    )
    with Path(result["report"]).open(newline="") as file:
        rows = {row["url"]: row for row in csv.DictReader(file)}
    return result | {"said": "\n".join(said), "rows": rows}


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The token in the environment, for 127.0.0.1 only."""
    monkeypatch.setenv("MY_TOKEN", TOKEN)
    return {"token_variable": "MY_TOKEN", "token_host": "127.0.0.1"}


def elsewhere(server: Any, path: str) -> str:
    """The same server by another name."""
    return f"{server.scheme}://localhost:{server.server_address[1]}{path}"


def test_a_stranger_is_not_believed(secure_server: Any, tmp_path: Path) -> None:
    url = f"{secure_server.url}/img/1.jpg"
    result = fetch(tmp_path, [url])
    assert result["exit_code"] == INCOMPLETE
    row = result["rows"][url]
    assert row["reason"] == "tls"
    assert "has a certificate that is not trusted here (unable to get local issuer" in row["detail"]
    assert "name the file of its authority with --ca, or in SSL_CERT_FILE." in row["detail"]
    assert "\n" not in row["detail"]
    assert not secure_server.hits


def test_who_is_named_is_believed(
    secure_server: Any, certificates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = [f"{secure_server.url}/img/{number}.jpg" for number in range(4)]
    assert fetch(tmp_path, urls[:2], ca=certificates / "ca.pem")["fetched"] == 2
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates / "ca.pem"))
    assert fetch(tmp_path, urls[2:])["fetched"] == 2
    assert (tmp_path / "images" / "3.jpg").read_bytes() == secure_server.pictures["/img/3.jpg"]


def test_a_certificate_of_another_host_is_none(
    secure_server: Any, certificates: Path, tmp_path: Path
) -> None:
    url = elsewhere(secure_server, "/img/1.jpg")
    row = fetch(tmp_path, [url], ca=certificates / "ca.pem")["rows"][url]
    assert row["reason"] == "tls"
    assert "is not its own or out of date: Hostname mismatch" in row["detail"]
    assert "--ca" not in row["detail"]
    assert not secure_server.hits


def test_what_is_no_tls_at_all_is_said(server: Any, tmp_path: Path) -> None:
    url = server.url.replace("http:", "https:") + "/img/1.jpg"
    row = fetch(tmp_path, [url])["rows"][url]
    assert row["reason"] in {"tls", "no-connection"}
    assert row["detail"]


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_file_without_certificates_is_refused(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match=r"ca\.pem holds no certificate that can be read"):
        fetch(tmp_path, ["https://127.0.0.1:1/x.jpg"], ca=path)


def test_the_token_opens_what_it_is_for(
    secure_server: Any, certificates: Path, tmp_path: Path, token: dict[str, str]
) -> None:
    url = f"{secure_server.url}/locked/1.jpg"
    ca = certificates / "ca.pem"
    assert fetch(tmp_path, [url], ca=ca)["rows"][url]["reason"] == "no-permission"
    assert fetch(tmp_path, [url], ca=ca, **token)["fetched"] == 1


def test_no_other_host_gets_it_whatever_leads_there(
    secure_server: Any, server: Any, certificates: Path, tmp_path: Path, token: dict[str, str]
) -> None:
    secure_server.target = elsewhere(server, "/img/1.jpg")
    away = f"{secure_server.url}/away/1.jpg"
    result = fetch(tmp_path, [away], ca=certificates / "ca.pem", **token)
    assert result["fetched"] == 1
    assert secure_server.seen["/away/1.jpg"] == f"Bearer {TOKEN}"
    assert server.hits == {"/img/1.jpg": 1}
    assert server.seen["/img/1.jpg"] is None


def test_it_never_goes_from_https_to_http(
    secure_server: Any, server: Any, certificates: Path, tmp_path: Path, token: dict[str, str]
) -> None:
    secure_server.target = f"{server.url}/img/1.jpg"
    away = f"{secure_server.url}/away/1.jpg"
    row = fetch(tmp_path, [away], ca=certificates / "ca.pem", **token)["rows"][away]
    assert row["reason"] == "token-in-the-clear"
    assert "is led from https to http, and 127.0.0.1 would get the token" in row["detail"]
    assert not server.hits
    # Without a token there is nothing to lose.
    assert fetch(tmp_path, [away], ca=certificates / "ca.pem")["fetched"] == 1


def test_it_goes_over_http_within_the_own_network_only(
    server: Any, tmp_path: Path, token: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{server.url}/locked/1.jpg"
    monkeypatch.setattr(client, "is_public", lambda _: True)
    row = fetch(tmp_path, [url], **token)["rows"][url]
    assert row["reason"] == "token-in-the-clear"
    assert not server.hits
    monkeypatch.undo()
    monkeypatch.setenv("MY_TOKEN", TOKEN)
    monkeypatch.setenv("no_proxy", "*")
    assert fetch(tmp_path, [url], **token)["fetched"] == 1


def test_nothing_that_is_written_or_said_has_it(
    secure_server: Any,
    server: Any,
    certificates: Path,
    tmp_path: Path,
    token: dict[str, str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    secure_server.target = f"{server.url}/img/1.jpg"
    names = ["away/1.jpg", "locked/1.jpg", "hangup/1.jpg", "cut/1.jpg", "text/1.jpg", "nothing"]
    names += ["down/1.jpg", "circle/a", "html/1.jpg", "empty/1.jpg"]
    names += ["echo/status", "echo/1-kind", "echo/circle"]
    urls = [f"{secure_server.url}/{name}" for name in names]
    urls.append(elsewhere(secure_server, "/locked/2.jpg"))
    result = fetch(tmp_path, urls, ca=certificates / "ca.pem", **token)
    assert result["fetched"] == 2
    assert sum(result["failed"].values()) == len(urls) - 2
    assert result["rows"][f"{secure_server.url}/echo/status"]["detail"].endswith("Bearer ***.")
    led = result["rows"][f"{secure_server.url}/echo/circle"]
    assert led["detail"] == "is led to an address with the token in it."
    assert sum(value == f"Bearer {TOKEN}" for value in secure_server.seen.values()) >= len(names)
    assert TOKEN not in repr(result) + caplog.text
    for path in (tmp_path / "images").rglob("*"):
        assert path.is_dir() or TOKEN.encode() not in path.read_bytes()
