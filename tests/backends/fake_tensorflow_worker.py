"""Stands in for the TensorFlow worker: finds what ``truth.json`` says, better from step to step."""

from __future__ import annotations

import json
import os
from pathlib import Path


def run(job, channel):
    return globals()[f"do_{job['kind']}"](job, channel)


def _truth():
    return json.loads((Path(__file__).parent / "truth.json").read_text())


def _save(job, which, step, state):
    folder = Path(job["run"]) / "checkpoints"
    name = f"step-{step:08d}"
    (folder / name).mkdir(exist_ok=True)
    for ending in ("index", "data-00000-of-00001"):
        (folder / name / f"ckpt-{step}.{ending}").write_text("weights")
    pointer = {
        "format": "tlx-tensorflow", "version": 1, "backend": job["backend"],
        "model": job["model"], "prefix": f"{name}/ckpt-{step}", "step": step, "sha256": "00",
        "classes": job["classes"], "state": state, "settings": {},
    }  # fmt: skip
    (folder / f"{which}.json").write_text(json.dumps(pointer))
    return str(folder / f"{which}.json")


def _detections(channel, number, truth, shift):
    boxes = [[x0 + shift, y0, x1 + shift, y1] for x0, y0, x1, y1 in truth["boxes"]]
    channel.emit(
        "detections", image=number, boxes=boxes, scores=[0.9] * len(boxes),
        classes=truth["classes"],
    )  # fmt: skip


def do_train(job, channel):  # noqa: C901 - a script with faults to order
    from tlx.worker_protocol import Cancelled, WorkerError

    settings = json.loads(os.environ.get("FAKE_WORKER", "{}"))
    (Path(job["run"]) / "job.json").write_text(json.dumps(job))
    channel.emit("ready", versions={"tensorflow": "0.0"}, seconds=0.1)
    if "raise" in settings:
        raise type(settings["raise"], (Exception,), {})("{{function_node}} cannot")
    if "refuse" in settings:
        raise WorkerError(*settings["refuse"])
    channel.emit("restored", source=None, sha256=None, rows=[
        {"part": "backbone", "restored": 0, "moved": 0, "new": 7}], classes=[])  # fmt: skip
    step = 0 if job["resume"] is None else job["resume"]["step"]
    state = {} if job["resume"] is None else job["resume"]["state"]
    truth = _truth()
    shifts = settings.get("shifts", [8, 4, 0])

    def validate():
        for number, path in enumerate(job["validation"]):
            shift = shifts[min(len(shifts) - 1, step // job["steps_to_score"])]
            _detections(channel, number, truth[Path(path).name], shift)
        reply = channel.ask("validated", step=step, loss=1.0 / step if step else None)
        for which in ("last", "best") if reply["best"] else ("last",):
            channel.emit(
                "checkpoint", which=which, step=step, path=_save(job, which, step, reply["state"])
            )
        return reply

    with channel.graceful():
        try:
            if job["resume"] is None or job["resume"]["score_first"]:
                state = validate()["state"]
            while step < job["steps"]:
                step += 1
                channel.emit(
                    "step", step=step, loss=1.0 / step, losses={"classification": 1.0 / step},
                    learning_rate=0.1, images_per_second=9.0,
                )  # fmt: skip
                if step == settings.get("die_at"):
                    os.kill(os.getpid(), 9)
                if step == settings.get("wait_at"):
                    channel.ask("nothing")
                channel.check()
                if step % job["steps_to_score"] == 0 or step == job["steps"]:
                    reply = validate()
                    state = reply["state"]
                    if reply["stop"]:
                        break
        except Cancelled:
            path = _save(job, "last", step, state)
            channel.emit("checkpoint", which="last", step=step, path=path)
            raise Cancelled(step) from None
    return {"step": step, "stopped": step < job["steps"]}


def do_predict(job, channel):
    truth = _truth()
    named = job.get("exported")
    if named is not None:
        assert (Path(named["folder"]) / "model.txt").read_text() == named["form"]
    number = 0
    # Portions of two, and what cannot be read is told first, as the real worker may do it.
    while portion := channel.ask("images", count=2)["paths"]:
        numbered = list(enumerate(portion, number))
        number += len(portion)
        for place, path in sorted(numbered, key=lambda pair: Path(pair[1]).stat().st_size > 99):
            _answer(channel, place, path, truth)
    return {"images": number}


def _answer(channel, number, path, truth):
    if Path(path).stat().st_size < 100:
        channel.emit("unreadable", image=number, message="it is no picture.")
    else:
        _detections(channel, number, truth[Path(path).name], 0)


def do_export(job, channel):
    (Path(job["dest"]) / "model.txt").write_text(job["to"])
    channel.emit("log", message=f"{len(job['images'])} images agree with the original")
    return {
        "files": ["model.txt"], "first_id": 1, "input": {"array": "uint8"},
        "output": {"detection_classes": "the id"},
    }  # fmt: skip
