"""The commands as a user types them: results, exit codes, and what is said when it goes wrong."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pycocotools.coco import COCO

import tlx
from tlx.cli import main
from tlx.dataset import Dataset


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def result(capsys: pytest.CaptureFixture[str], *words: object) -> Any:
    """Run a command with ``--json`` and give its value."""
    code = main([*map(str, words), "--json"])
    out, err = capsys.readouterr()
    assert code == 0, err
    return json.loads(out)


def complaint(capsys: pytest.CaptureFixture[str], code: int, *words: object) -> str:
    """Run a command that must fail, and give what it says, on one line."""
    assert main([*map(str, words)]) == code
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    assert "error: " in err
    return " ".join((out + err).split())


def test_from_labels_to_coco(lisa: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = result(capsys, "ingest", "lisa", lisa, "-o", "lights.tlx")
    assert (made["images"], made["objects"], made["negatives"]) == (16, 12, 4)
    parts = result(
        capsys, "split", "lights.tlx", "--by", "sequence", "--ratios", "train=0.5,val=0.5"
    )
    assert parts["images_by_split"] == {"train": 8, "val": 8}
    one = result(
        capsys, "relabel", "lights.tlx", "stop=light,go=light,warning=light,goLeft=light",
        "-o", "one.tlx",
    )  # fmt: skip
    assert one["objects_by_category"]["light"] == 12
    written = result(capsys, "convert", "one.tlx", "--to", "coco", "-o", "coco")
    assert {x["field"] for x in written["loss"]} >= {"group", "frame"}
    judged = [COCO(str(file)) for file in sorted(Path("coco").rglob("*.json"))]
    assert sum(len(c.anns) for c in judged) == 12
    assert sum(len(c.imgs) for c in judged) == 16


def test_a_source_is_detected(lisa: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert result(capsys, "ingest", lisa, "-o", "a.tlx")["source"] == "lisa"


def test_dry_run_keeps_nothing(lisa: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert result(capsys, "ingest", "lisa", lisa, "--dry-run")["images"] == 16
    assert sorted(p.name for p in Path().iterdir()) == ["LISA"]


def test_a_dry_run_shows_all_that_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    boxes = ("1,1,9,9", "9,9,1,1", "8,8,1,1", "1,2,x,4")
    rows = ["image,class,x1,y1,x2,y2", *(f"a.jpg,go,{box}" for box in boxes), ""]
    Path("labels.csv").write_text("\n".join(rows))
    assert main(["ingest", "csv", "labels.csv", "--dry-run"]) == 3
    told = " ".join(capsys.readouterr().err.split())
    assert "degenerate-box 2 skipped" in told
    assert "Also at labels.csv:4" in told
    assert "bad-corner 1 skipped" in told
    assert "error: labels.csv:3" in told
    assert "(3 bad in all)" in told
    assert main(["ingest", "csv", "labels.csv", "--dry-run", "--on-error", "skip"]) == 0
    assert not list(Path().glob("*.tlx"))


def test_people_read_tables_of_80_columns(
    lisa: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["ingest", "lisa", str(lisa), "-o", "a.tlx"]) == 0
    out = capsys.readouterr().out
    assert "16 images (4 without objects), 12 objects, 7 classes: written to a.tlx" in out
    assert max(map(len, out.splitlines()[1:])) <= 80


def test_convert_says_what_is_lost_before_it_writes(
    lisa: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["ingest", "lisa", str(lisa), "-o", "a.tlx"])
    capsys.readouterr()
    words = complaint(capsys, 2, "convert", "a.tlx", "--to", "coco", "-o", "c", "--strict")
    assert "coco would lose" in words
    assert "Leave out --strict" in words
    assert not Path("c").exists()
    dry = result(capsys, "convert", "a.tlx", "--to", "coco", "-o", "c", "--dry-run")
    assert dry["output"] is None
    assert not Path("c").exists()


def test_a_conversion_leaves_word_of_how_it_was_made(
    lisa: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Versions, options, class ids, loss and lineage; twice the same bytes; the loss as printed."""
    result(capsys, "ingest", "lisa", lisa, "-o", "a.tlx")
    for out in ("one", "two"):
        done = result(capsys, "convert", "a.tlx", "--to", "coco", "-o", out)
    told = json.loads(Path("one.tlx.json").read_text())
    assert Path("one.tlx.json").read_bytes() == Path("two.tlx.json").read_bytes()
    assert told["tlx"] == tlx.__version__
    assert (told["format"], told["plugin"]) == ("coco", f"tlx {tlx.__version__}")
    assert (told["images"], told["objects"]) == (16, 12)
    judged = COCO("one/annotations/instances.json")
    assert told["class_ids"] == {c["name"]: c["id"] for c in judged.cats.values()}
    assert told["loss"] == done["loss"]
    assert {"field": "objects.crowd", "count": 12, "kind": "assumed"}.items() <= next(
        loss.items() for loss in told["loss"] if loss["kind"] == "assumed"
    )
    assert [step["name"] for step in told["lineage"]] == ["ingest"]
    assert told["options"]["ids"] == "source"


def test_a_folder_above_what_is_known_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sets/first").mkdir(parents=True)
    words = complaint(capsys, 2, "ingest", tmp_path / "sets")
    assert "nothing that tlx knows." in words
    assert "coco: no JSON with images and annotations" in words
    text = json.dumps({"images": [], "annotations": [], "categories": []})
    (tmp_path / "sets/first/labels.json").write_text(text)
    words = complaint(capsys, 2, "ingest", tmp_path / "sets")
    assert "nothing that tlx knows, but first in it is coco." in words


def test_an_input_of_which_nothing_is_left_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, text = "<annotation><filename>{}.jpg</filename></annotation>", tmp_path / "in/a.xml"
    (tmp_path / "in/elsewhere").mkdir(parents=True)
    text.write_text(image.format("a"))
    (tmp_path / "in/b.xml").write_text(image.format("b"))
    Image.new("L", (9, 9)).save(tmp_path / "in/elsewhere/c.jpg")
    for flags in (("--on-error", "skip"), ("--dry-run",)):
        words = complaint(capsys, 3, "ingest", "voc", tmp_path / "in", "-o", tmp_path / "x", *flags)
        assert f"{text}:1: nothing is left: 2 bad record(s) were left out" in words
        assert "the image 'a.jpg' is not here" in words


def test_a_conversion_lists_all_that_it_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line for each issue beside the output, and none of an earlier run stays there."""
    table, journal = tmp_path / "t/boxes.csv", tmp_path / "c.issues.jsonl"
    table.parent.mkdir()
    head, good, bad = "image,label,xmin,ymin,xmax,ymax", "a.jpg,x,1,1,5,5", "a.jpg,x,one,1,5,5"
    words = ["convert", table.parent, "--from", "csv", "--to", "coco", "-o", tmp_path / "c"]
    table.write_text("\n".join([head, good, bad, bad.replace("one", "two"), ""]))
    assert main([*map(str, words), "--on-error", "skip"]) == 0
    said = "".join(capsys.readouterr().err.split())
    assert f"Issuesin{table.parent}" in said
    assert "boxes.csv:3:" in said
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    assert [line["line"] for line in lines if line["code"] == "bad-corner"] == [3, 4]
    told = json.loads((tmp_path / "c.tlx.json").read_text())
    assert sum(told["issues"].values()) == len(lines)
    Image.new("L", (9, 9)).save(table.parent / "a.jpg")
    table.write_text(f"{head}\n{good}\n")
    assert main([*map(str, words), "--overwrite"]) == 0
    assert not journal.exists()


def test_what_a_format_has_to_make_up_is_said(
    lisa: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["ingest", "lisa", str(lisa), "-o", "a.tlx"])
    capsys.readouterr()
    assert main(["convert", "a.tlx", "--to", "coco", "-o", "c.json"]) == 0
    words = capsys.readouterr()
    said = " ".join((words.out + words.err).split())
    assert "coco has to state what the labels do not: objects.crowd (up to 12)" in said
    assert Path("c.json.tlx.json").is_file()


def test_foreign_to_foreign_in_one_go(lisa: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = result(capsys, "convert", lisa, "--from", "lisa", "--to", "coco", "-o", "c")
    assert (done["images"], done["objects"]) == (16, 12)


def test_options_come_from_toml_and_flags_win(
    lisa: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("tlx.toml").write_text("[ingest.lisa]\nnegatives = false\n")
    assert result(capsys, "ingest", "lisa", lisa, "-o", "a.tlx")["images"] == 12
    assert result(capsys, "ingest", "lisa", lisa, "-o", "b.tlx", "--negatives")["images"] == 16
    Path("other.toml").write_text("[ingest.lisa]\nnegatives = true\n")
    other = ("--config", "other.toml", "ingest", "lisa", lisa, "-o", "c.tlx")
    assert result(capsys, *other)["images"] == 16


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["igest"], 2, "Did you mean 'ingest'?"),
        (["ingest", "lsia", "LISA"], 2, "Did you mean 'lisa'?"),
        (["ingest", "lisa", "LIAS"], 2, "Did you mean 'LISA'?"),
        (["ingest", "lisa"], 2, "See: tlx ingest lisa --help"),
        (["ingest", "lisa", "LISA", "--bxes", "box"], 2, "--b"),
        (["ingest", "lisa", "empty"], 3, "is empty; looked for frameAnnotationsBOX.csv"),
        (["ingest", "lisa", "wrong"], 3, "found 1 other"),
        (["ingest", "wrong"], 2, "is nothing that tlx knows"),
        (["split", "LISA"], 2, "is not a dataset"),
        (["split", "a.tlx", "--ratios", "0.5,0.9"], 2, "sum to 1"),
        (["relabel", "a.tlx", "stpo=x", "-o", "b.tlx"], 2, "Did you mean 'stop'?"),
        (["convert", "a.tlx", "--to", "cocoo", "-o", "x"], 2, "Did you mean 'coco'?"),
        (["train", "a.tlx", "--model", "fasterrcnn"], 2, "has no model 'fasterrcnn'"),
        (["train", "a.tlx", "--backend", "trch"], 2, "Did you mean 'torch'?"),
        (["train", "a.tlx", "--model", "ssdlite320_mobilenet_v3_large"], 2, "tlx split"),
        (["train"], 2, "no dataset is named"),
        (["train", "--resume", "nowhere"], 2, "is not a run folder"),
        (["eval", "runs/7"], 2, "is not a run folder"),
        (["predict", "runs/7", "a.jpg", "-o", "x"], 2, "is not a run folder"),
        (["--config", "no.toml", "plugins"], 2, "no.toml does not exist"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_a_new_user_gets_wrong(
    lisa: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, says: str
) -> None:
    assert lisa.is_dir()
    Path("empty").mkdir()
    Path("wrong").mkdir()
    Path("wrong/holiday.txt").write_text("")
    if "a.tlx" in words:
        assert main(["ingest", "lisa", "LISA", "-o", "a.tlx"]) == 0
        capsys.readouterr()
    assert says in complaint(capsys, code, *words)


def test_a_broken_line_is_named_and_can_be_skipped(
    lisa: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = next(lisa.rglob("dayClip1/frameAnnotationsBOX.csv"))
    lines = file.read_text().splitlines()
    file.write_text("\n".join([lines[0], lines[1].replace(";30;", ";thirty;", 1), *lines[2:]]))
    words = complaint(capsys, 3, "ingest", "lisa", lisa, "-o", "a.tlx")
    assert "frameAnnotationsBOX.csv:2" in words
    assert "--on-error skip" in words
    assert not Path("a.tlx").exists()
    done = result(capsys, "ingest", "lisa", lisa, "-o", "a.tlx", "--on-error", "skip")
    assert done["objects"] == 11
    assert sum(done["issues"].values()) == 1
    assert "frameAnnotationsBOX.csv" in Dataset.open("a.tlx").issues_path.read_text()


def test_errors_are_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["split", "nowhere.tlx", "--json"]) == 2
    value = json.loads(capsys.readouterr().out)
    assert value["exit_code"] == 2
    assert "nowhere.tlx" in value["error"]


@pytest.mark.parametrize(
    "words",
    [
        ["ingest", "lisa", "LISA", "-o", "out"],
        ["convert", "LISA", "--from", "lisa", "--to", "coco", "-o", "out", "--media", "copy"],
    ],
    ids=lambda words: words[0],
)
def test_a_full_disk_is_one_sentence(lisa: Path, tmp_path: Path, words: list[str]) -> None:
    """A real write error of the operating system: no file may grow beyond a limit."""
    limit = 4096 if words[0] == "ingest" else 65536
    code = (
        # Or the cut-off byte code of what is imported here would be everybody's.
        "import resource, signal, sys; sys.dont_write_bytecode = True;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}));"
        "from tlx.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    for image in lisa.rglob("*.jpg"):  # The labels of the conversion fit, an image does not.
        with image.open("ab") as file:
            file.write(bytes(100_000))
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "cannot write out: File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["LISA"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("workers", ["0", "3"])
def test_an_interrupted_conversion_says_so_and_leaves_nothing(
    tmp_path: Path, number: signal.Signals, workers: str
) -> None:
    images = [{"id": n, "file_name": f"{n}.jpg", "width": 9, "height": 9} for n in range(60_000)]
    document = {"images": images, "annotations": [], "categories": []}
    (tmp_path / "a.json").write_text(json.dumps(document))
    words = ["convert", "a.json", "--from", "coco", "--to", "voc", "-o", "out"]
    command = [sys.executable, "-c", "from tlx.cli import main; main()", *words]
    with subprocess.Popen(
        [*command, "--workers", workers], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as process:
        while not any(tmp_path.glob(".out.*/out/Annotations/*")) and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(number)
        words_said = process.communicate()[1]
    assert process.returncode == 130
    assert "interrupted; nothing half-written was left." in words_said
    assert "Traceback" not in words_said
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_closed_pipe_ends_quietly() -> None:
    command = f"{sys.executable} -c 'from tlx.cli import main; main()' plugins | head -1"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr


def test_plugins_models_and_backends_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    names = {(p["kind"], p["name"]) for p in result(capsys, "plugins")["plugins"]}
    assert {("source", "lisa"), ("format", "coco"), ("backend", "torch")} <= names
    models = {m["name"] for m in result(capsys, "models")["models"]}
    assert {"fasterrcnn_mobilenet_v3_large_320_fpn", "ssdlite320_mobilenet_v3_large"} <= models
    backends = result(capsys, "backends")["backends"]
    assert [b["name"] for b in backends] == ["tfod", "tfvision", "torch"]


def test_inspect_without_fiftyone_sums_up_and_says_what_to_install(
    lisa: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "fiftyone" else find(name)
    )
    main(["ingest", "lisa", str(lisa), "-o", "a.tlx"])
    capsys.readouterr()
    words = complaint(capsys, 5, "inspect", "a.tlx")
    assert "16 images (4 without objects), 12 objects" in words
    assert "pip install 'tlx[fiftyone]'" in words


def test_train_without_torch_says_what_to_install(
    lisa: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "torch" else find(name)
    )
    main(["ingest", "lisa", str(lisa), "-o", "a.tlx"])
    capsys.readouterr()
    words = complaint(capsys, 5, "train", "a.tlx", "--model", "ssdlite320_mobilenet_v3_large")
    assert "pip install 'tlx[torch]'" in words
    assert not Path("runs").exists()


def test_published_weights_that_are_not_here_are_named_and_never_fetched_unasked(
    lisa: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("torch", reason="the torch backend is not installed")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    main(["ingest", "lisa", str(lisa), "-o", "a.tlx"])
    main(["split", "a.tlx", "--ratios", "train=0.5,val=0.5"])
    capsys.readouterr()
    words = complaint(
        capsys, 2, "train", "a.tlx", "--model", "ssdlite320_mobilenet_v3_large", "--epochs", "1"
    )
    assert "ssdlite320_mobilenet_v3_large_coco-a79551df.pth" in words
    assert "--download" in words
    assert not Path("runs/1").exists()


def test_a_dry_run_extracts_nothing(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = shared_data / "tfrecord" / "pets_examples.record"
    words = ("ingest", "tfrecord", records, "--images", tmp_path / "out", "-o", "a.tlx")
    assert result(capsys, *words, "--dry-run")["images"] == 10
    assert list(tmp_path.iterdir()) == []
    assert result(capsys, *words)["images"] == 10
    assert len([p for p in (tmp_path / "out").rglob("*") if p.is_file()]) == 10


def test_no_output_replaces_what_is_read(lisa: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(lisa.rglob("*"))
    assert main(["ingest", "lisa", str(lisa), "-o", "a.tlx"]) == 0
    capsys.readouterr()
    for words in (
        ["ingest", "lisa", lisa, "-o", lisa],
        ["ingest", "lisa", lisa, "-o", lisa.parent],
        ["convert", "a.tlx", "--to", "coco", "-o", "a.tlx"],
        ["convert", "a.tlx", "--to", "coco", "-o", lisa],
        ["convert", lisa, "--from", "lisa", "--to", "coco", "-o", lisa],
    ):
        assert "would replace the input" in complaint(capsys, 2, *words, "--overwrite")
    assert sorted(lisa.rglob("*")) == before
    assert Dataset.open("a.tlx").counts.images == 16


def test_labels_are_drawn_to_be_looked_at(lisa: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result(capsys, "ingest", "lisa", lisa, "-o", "a.tlx")
    some = result(capsys, "draw", "a.tlx", "-o", "some", "--limit", "3")
    assert len(some["pictures"]) == 3
    assert sorted(p.name for p in Path("some").iterdir()) == sorted(some["pictures"])
    every = result(capsys, "draw", "a.tlx", "-o", "every", "--limit", "0")
    assert len(every["pictures"]) == len(
        [r for r in Dataset.open("a.tlx").records() if r.objects or r.labels]
    )
    words = complaint(capsys, 2, "draw", "a.tlx", "-o", "none", "--image", "nobody.jpg")
    assert "has no image 'nobody.jpg'" in words
    assert not Path("none").exists()
