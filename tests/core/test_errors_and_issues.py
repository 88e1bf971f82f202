"""Errors are places; skipped records are counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tlx.errors import (
    DataError,
    MissingExtra,
    Place,
    PluginError,
    TlxError,
    UsageError,
    nearest,
)
from tlx.issues import Issue, IssueLog


def test_an_error_says_what_where_and_what_next() -> None:
    error = DataError("no number.", place=Place("a.csv", 7), hint="Mend it.")
    assert str(error) == "a.csv:7: no number. Mend it."
    assert str(Place("a.json", pointer="$.images[3]")) == "a.json at $.images[3]"


def test_exit_codes_are_those_of_the_design() -> None:
    codes = {k: k.exit_code for k in (TlxError, UsageError, DataError, PluginError, MissingExtra)}
    assert list(codes.values()) == [1, 2, 3, 4, 5]


def test_a_missing_extra_says_how_to_install_it() -> None:
    assert "pip install 'tlx[torch]'" in str(MissingExtra("the torch backend", "torch"))


def test_near_misses() -> None:
    assert nearest("LSIA", ["coco", "lisa"]).startswith("Did you mean 'lisa'?")
    assert nearest("zzz", ["coco"]) == "Known: coco."
    assert nearest("zzz", []) == "Known: none."


def test_fail_raises_and_skip_counts(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a.csv:7: no number"):
        IssueLog("fail").report(Issue("bad-row", "no number", "a.csv", 7))
    log = IssueLog("skip", keep=2)
    for line in range(5):
        log.report(Issue("bad-row", "no number", "a.csv", line))
    assert (log.total, log.lost, len(log.kept)) == (5, 5, 2)
    for name in ("i.jsonl", "again.jsonl"):
        log.write(tmp_path / name)
        lines = (tmp_path / name).read_text().splitlines()
        assert [json.loads(line)["line"] for line in lines] == [0, 1, 2, 3, 4]
    log.report(Issue("bad-row", "no number", "a.csv", 5))
    log.write(tmp_path / "i.jsonl")
    assert len((tmp_path / "i.jsonl").read_text().splitlines()) == 6


def test_what_comes_late_is_shown_too() -> None:
    log = IssueLog("skip", keep=2)
    for line in range(5):
        log.report(Issue("outside", "a box leaves the image", "a.csv", line, "kept"))
    assert log.first_lost is None
    for line in range(5):
        log.report(Issue("bad-row", "no number", "a.csv", line))
    assert [issue.line for issue in log.first("bad-row")] == [0, 1, 2, 3]
    assert log.first_lost == log.first("bad-row", 1)[0]


def test_what_loses_nothing_never_raises() -> None:
    log = IssueLog("fail")
    log.report(Issue("outside", "a box leaves the image", action="kept"))
    assert (log.total, log.lost) == (1, 0)


def test_a_wrong_policy_is_refused() -> None:
    with pytest.raises(UsageError, match="--on-error"):
        IssueLog("ignore")  # type: ignore[arg-type]
