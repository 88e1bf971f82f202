"""Train, evaluate, predict, inspect by the commands, on discs that a small network can learn."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from tlx.cli import main
from tlx.dataset import Dataset, write_dataset
from tlx.model import Box, Category, Object, Record, Taxonomy
from tlx.predictions import open_predictions
from tlx.runs import Run

pytest.importorskip("torch", reason="the torch backend is not installed")

MODEL = "fcos_shufflenet_v2_x0_5_fpn"
COLORS = {"red": "#e01010", "green": "#10c010"}


def scenes(folder: Path, count: int) -> list[Record]:
    """Grey pictures with one or two discs; four pictures are a sequence."""
    dice = random.Random(7)
    records = []
    (folder / "images").mkdir(parents=True)
    for number in range(count):
        image = Image.new("RGB", (96, 64), (90, 90, 95))
        pen = ImageDraw.Draw(image)
        objects = []
        for slot in range(dice.choice((1, 2))):
            name = dice.choice((*COLORS,))
            size = dice.randint(12, 22)
            x, y = slot * 48 + dice.randint(0, 48 - size), dice.randint(0, 64 - size)
            pen.ellipse([x, y, x + size - 1, y + size - 1], fill=COLORS[name])
            objects.append(Object(category=name, box=Box(x, y, x + size, y + size)))
        uri = f"images/{number:03}.png"
        image.save(folder / uri)
        split = "train" if number < count * 0.6 else "val" if number < count * 0.8 else "test"
        records.append(
            Record(
                image_id=uri,
                uri=uri,
                width=96,
                height=64,
                split=split,
                group=f"clip{number // 4}",
                frame=number % 4,
                objects=tuple(objects),
            )
        )
    return records


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``discs.tlx`` and ``runs/1``, trained by the command."""
    folder = tmp_path_factory.mktemp("learning")
    taxonomy = Taxonomy(
        tuple(Category(name=n, color=c, color_defined=True) for n, c in COLORS.items())
    )
    write_dataset(folder / "discs.tlx", scenes(folder, 60), taxonomy, folder, ())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        code = main(
            ["train", "discs.tlx", "--model", MODEL, "--weights", "none", "--epochs", "8",
             "--batch-size", "4", "--shorter-side", "64", "--longer-side", "96",
             "--learning-rate", "0.006", "--threads", "1"]
        )  # fmt: skip
    assert code == 0
    return folder


def result(capsys: pytest.CaptureFixture[str], *words: object) -> Any:
    code = main([*map(str, words), "--json"])
    out, err = capsys.readouterr()
    assert code == 0, err
    return json.loads(out)


def test_a_run_holds_what_the_readme_says(trained: Path) -> None:
    run = Run.open(trained / "runs" / "1")
    names = {p.name for p in run.path.iterdir()}
    assert names >= {
        "request.json",
        "environment.json",
        "events.jsonl",
        "tensorboard",
        "checkpoints",
        "thresholds.json",
        "predictions",
        "result.json",
        "MODEL_CARD.md",
    }
    events = [json.loads(line) for line in (run.path / "events.jsonl").read_text().splitlines()]
    epochs = [e["epoch"] for e in events if e["kind"] == "epoch"]
    assert epochs == [*range(9)]
    environment = run.read_json("environment.json")
    assert {"tlx", "torch", "torchvision"} <= set(environment["packages"])
    assert "red, green" in (run.path / "MODEL_CARD.md").read_text()


def test_it_learned_and_eval_says_how_much(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = result(capsys, "eval", trained / "runs" / "1", "--heights", "16,20")
    assert metrics["split"] == "test"
    assert metrics["ap50"] > 0.5
    assert metrics["leaks"] == []
    assert [b["low"] for b in metrics["by_height"]] == [0, 16, 20]
    assert sum(b["objects"] for b in metrics["by_height"]) == metrics["objects"]
    assert set(metrics["by_class"]) == {"red", "green"}
    assert json.loads((trained / "runs" / "1" / "metrics.json").read_text()) == metrics


def test_eval_agrees_with_pycocotools_on_the_files(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    run, data = trained / "runs" / "1", trained / "discs.tlx"
    metrics = result(capsys, "eval", run, "--split", "val")
    result(capsys, "convert", data, "--to", "coco", "-o", tmp_path / "coco")
    truth = COCO(str(next((tmp_path / "coco").rglob("*val.json"))))
    images = {i["file_name"].split("/")[-1]: i["id"] for i in truth.imgs.values()}
    classes = {c["name"]: c["id"] for c in truth.cats.values()}
    found = [
        {
            "image_id": images[p.image_id.split("/")[-1]],
            "category_id": classes[d.category],
            "bbox": [d.box.xmin, d.box.ymin, d.box.width, d.box.height],
            "score": d.score,
        }
        for p in open_predictions(run / "predictions" / "val.parquet")
        for d in p.detections
    ]
    judge = COCOeval(truth, truth.loadRes(found), "bbox")
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    capsys.readouterr()
    assert metrics["ap"] == pytest.approx(judge.stats[0], abs=1e-12)
    assert metrics["ap50"] == pytest.approx(judge.stats[1], abs=1e-12)
    assert metrics["ar_100"] == pytest.approx(judge.stats[8], abs=1e-12)


def test_eval_prints_tables_of_80_columns(
    trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["eval", str(trained / "runs" / "1")]) == 0
    out = capsys.readouterr().out
    assert "AP50" in out
    assert max(map(len, out.splitlines()[1:])) <= 80


def test_a_leaky_split_is_stamped_on_the_result(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = Dataset.open(trained / "discs.tlx")
    rows = list(data.records())
    leaky = [Record(**{**_fields(r), "group": "one clip"}) for r in rows]
    write_dataset(tmp_path / "leaky.tlx", leaky, data.taxonomy, data.media_root, ())
    run = shutil.copytree(trained / "runs" / "1", tmp_path / "run")
    metrics = result(capsys, "eval", run, "--dataset", tmp_path / "leaky.tlx")
    assert metrics["leaks"] == ["sequence one clip in test and train and val (60 images)"]
    assert main(["eval", str(run), "--dataset", str(tmp_path / "leaky.tlx")]) == 0
    assert "leaky split" in capsys.readouterr().err


def _fields(record: Record) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__struct_fields__}


def test_predict_on_a_folder_an_image_and_a_dataset(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, images = trained / "runs" / "1", trained / "images"
    done = result(capsys, "predict", run, images, "-o", tmp_path / "folder")
    assert done["images"] == 60
    assert len(list((tmp_path / "folder" / "pictures").iterdir())) == 60
    lines = (tmp_path / "folder" / "predictions.jsonl").read_text().splitlines()
    assert [json.loads(line)["image_id"] for line in lines][:2] == ["000.png", "001.png"]

    one = result(capsys, "predict", run, images / "059.png", "-o", tmp_path / "one")
    assert one["images"] == 1
    with Image.open(next((tmp_path / "one" / "pictures").iterdir())) as picture:
        assert picture.size == (96, 64)

    whole = result(
        capsys, "predict", run, trained / "discs.tlx", "--split", "test", "-o", tmp_path / "data"
    )
    assert whole["images"] == 12
    assert not (tmp_path / "data" / "pictures").exists()
    same = {p.image_id: p for p in open_predictions(tmp_path / "data" / "predictions.parquet")}
    single = next(iter(open_predictions(tmp_path / "one" / "predictions.parquet")))
    pairs = zip(single.detections, same["images/059.png"].detections, strict=True)
    assert all(a.category == b.category and abs(a.score - b.score) < 1e-4 for a, b in pairs)


def test_predict_says_what_is_wrong(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(trained / "runs" / "1")
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "broken.jpg").write_bytes(b"not a jpeg")
    (tmp_path / "empty").mkdir()
    for given, code, says in (
        ("notes.txt", 2, "is not an image that tlx reads"),
        ("empty", 2, "holds no image"),
        ("broken.jpg", 3, "broken.jpg"),
        ("nowhere.jpg", 2, "does not exist"),
    ):
        assert main(["predict", run, str(tmp_path / given), "-o", str(tmp_path / "out")]) == code
        err = capsys.readouterr().err
        assert says in err
        assert "Traceback" not in err
        assert not (tmp_path / "out").exists()
    images = str(trained / "images")
    assert main(["predict", run, images, "-o", images, "--overwrite"]) == 2
    assert "would replace the input" in capsys.readouterr().err
    assert len(list((trained / "images").iterdir())) == 60
    words = ["predict", run, str(tmp_path / "broken.jpg"), "-o", str(tmp_path / "out")]
    assert main([*words, "--on-error", "skip"]) == 0
    assert "broken.jpg" in (tmp_path / "out" / "issues.jsonl").read_text()


def test_predict_on_a_video(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    pictures = sorted((trained / "images").iterdir())[:10]
    film = cv2.VideoWriter(
        str(tmp_path / "drive.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 5.0, (96, 64)
    )
    for picture in pictures:
        film.write(cv2.imread(str(picture)))
    film.release()
    run, out = trained / "runs" / "1", tmp_path / "seen"
    done = result(
        capsys, "predict", run, tmp_path / "drive.avi", pictures[0], "-o", out, "--every", "2",
        "--video",
    )  # fmt: skip
    assert (done["images"], done["frames"]) == (1, 5)
    assert done["videos"] == [str(out / "videos" / "drive.mp4")]
    assert [p.name for p in (out / "pictures").iterdir()] == [f"{pictures[0].stem}.png.jpg"]
    lines = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    assert "frame" not in lines[0]
    assert [(v["image_id"], v["frame"], v["seconds"]) for v in lines[1:]] == [
        (f"drive.avi/{n:06d}", n, n / 5) for n in (0, 2, 4, 6, 8)
    ]
    first, again = (v["detections"][0] for v in lines[:2])
    assert first["category"] == again["category"]
    assert first["box"]["xmin"] == pytest.approx(again["box"]["xmin"], abs=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["drive.avi", "seen"]
    words = ["predict", str(run), str(pictures[0]), "-o", str(tmp_path / "x"), "--video"]
    assert main(words) == 2
    assert "--video writes videos again, and none is given" in capsys.readouterr().err


def test_inspect_sums_up_the_mistakes(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    value = result(
        capsys, "inspect", trained / "discs.tlx", "--run", trained / "runs" / "1", "--text"
    )
    assert value["images"] == 12
    assert value["misses"] >= 0


def test_resume_extends_a_run(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(trained / "runs" / "1", tmp_path / "run")
    done = result(capsys, "train", "--resume", run, "--epochs", "9")
    assert Path(done["run"]) == run
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    assert [e["epoch"] for e in events if e["kind"] == "epoch"][-1] == 9


def test_warm_start_from_a_run_with_other_classes(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = trained / "discs.tlx"
    result(capsys, "relabel", data, "red=stop,green=go", "-o", tmp_path / "new.tlx")
    words = ("train", tmp_path / "new.tlx", "--model", MODEL, "--weights", trained / "runs" / "1",
             "--epochs", "1", "-o", tmp_path / "run", "--shorter-side", "64",
             "--longer-side", "96", "--learning-rate", "1e-5", "--warm-start")  # fmt: skip
    result(capsys, *words, "stop=red,go=green")
    events = [
        json.loads(line) for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()
    ]
    before = next(e for e in events if e["kind"] == "epoch" and e["epoch"] == 0)
    assert before["metrics"]["ap50"] > 0.5, "the moved rows detect before the first step"
    classes = next(e for e in events if e["kind"] == "restored")["classes"]
    assert [(c["class"], c["from"]) for c in classes] == [("stop", "red"), ("go", "green")]
    assert main([*map(str, words), "stop=rde,go=green", "--overwrite"]) == 2
    assert "Did you mean 'red'" in capsys.readouterr().err
    assert Run.open(tmp_path / "run").result() is not None, "the run to be replaced is back"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new.tlx", "run"]


def test_a_run_that_never_began_leaves_nothing(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", str(trained / "discs.tlx"), "--model", MODEL, "--device", "cuda:7",
             "--weights", "none", "-o", str(tmp_path / "run")]  # fmt: skip
    assert main(words) == 2
    assert "cuda" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_training_can_be_gone_on_with(
    trained: Path, tmp_path: Path, number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    words = ["train", str(trained / "discs.tlx"), "--model", MODEL, "--weights", "none",
             "--epochs", "500", "--batch-size", "4", "--shorter-side", "64", "--longer-side", "96",
             "-o", str(run)]  # fmt: skip
    code = "import sys; from tlx.cli import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", code, *words],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    ) as child:
        try:
            deadline = time.monotonic() + 120
            while not (run / "checkpoints" / "last.pt").exists():
                assert time.monotonic() < deadline
                time.sleep(0.1)
            child.send_signal(number)
            _, err = child.communicate(timeout=60)
        finally:
            child.kill()
    assert child.returncode == 130
    assert f"tlx train --resume {run}" in " ".join(err.decode().split())
    assert b"Traceback" not in err
    done = [
        json.loads(line)["epoch"]
        for line in (run / "events.jsonl").read_text().splitlines()
        if json.loads(line)["kind"] == "epoch"
    ]
    result(capsys, "train", "--resume", run, "--epochs", str(max(done) + 1))
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == ["best.pt", "last.pt"]
