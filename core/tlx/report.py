"""A short report of a run: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tlx.runs import Run
from tlx.staging import write_text

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --accent: #2a78d6; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { line-height: 1.2; } h2 { margin-top: 2.2rem; }
table { border-collapse: collapse; margin: .6rem 0; }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; } th { font-weight: 600; }
td { font-variant-numeric: tabular-nums; } td:first-child { font-variant-numeric: normal; }
.facts td { text-align: left; }
.big { display: flex; gap: 2.5rem; flex-wrap: wrap; margin: 1rem 0; }
.big div { min-width: 7rem; } .big b { display: block; font-size: 2rem; line-height: 1.1; }
.warning { border-left: 4px solid #d08000; padding: .3rem .8rem; background: var(--soft); }
img { max-width: 100%; } svg text { fill: currentColor; font-size: 12px; }
.wide { overflow-x: auto; }
"""


def write_report(
    path: Path,
    run: Run,
    *,
    title: str,
    introduction: str = "",
    baselines: Mapping[str, Mapping[str, Any]] | None = None,
    sheet: Path | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the report of a run that has been evaluated.

    Args:
        path: The HTML file.
        run: A run with ``metrics.json``.
        title: Heading.
        introduction: A paragraph below it.
        baselines: Other metrics (with ``ap`` and ``ap50``) to compare with, by name.
        sheet: A picture to embed.
        overwrite: Replace the file.
    """
    metrics = run.read_json("metrics.json")
    parts = [
        f"<h1>{_text(title)}</h1>",
        f"<p>{_text(introduction)}</p>" if introduction else "",
        _headline(metrics),
        *(
            f'<p class="warning">The split leaks, so the figures are too good: {_text(leak)}</p>'
            for leak in metrics["leaks"][:3]
        ),
        _comparison(metrics, baselines or {}),
        "<h2>By class</h2>" + _by_class(metrics),
        "<h2>By height in pixels</h2>" + _by_height(metrics),
        "<h2>While it learned</h2>" + _curve(_epochs(run)),
        _picture(sheet) if sheet is not None else "",
        "<h2>How it was made</h2>" + _facts(run, metrics),
    ]
    document = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_text(title)}</title><style>{_STYLE}</style></head><body>"
        + "\n".join(part for part in parts if part)
        + "</body></html>\n"
    )
    write_text(path, document, overwrite=overwrite)
    return path


def _text(value: object) -> str:
    return html.escape(str(value))


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    head = "".join(f"<th>{_text(name)}</th>" for name in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def _headline(metrics: Mapping[str, Any]) -> str:
    shown = (
        ("AP50", _score(metrics["ap50"])),
        ("AP", _score(metrics["ap"])),
        ("precision", _score(metrics["precision"])),
        ("recall", _score(metrics["recall"])),
    )
    cells = "".join(f"<div><b>{value}</b>{name}</div>" for name, value in shown)
    images, objects = f"{metrics['images']:,} images", f"{metrics['objects']:,} objects"
    where = f"{images} of the split {metrics['split']}, {objects}"
    return f'<div class="big">{cells}</div><p>On {_text(where)}.</p>'


def _comparison(metrics: Mapping[str, Any], baselines: Mapping[str, Mapping[str, Any]]) -> str:
    if not baselines:
        return ""
    rows = [(name, _score(m.get("ap50")), _score(m.get("ap"))) for name, m in baselines.items()]
    rows.append(("this run", _score(metrics["ap50"]), _score(metrics["ap"])))
    return "<h2>Against chance</h2>" + _table(("", "AP50", "AP"), rows)


def _by_class(metrics: Mapping[str, Any]) -> str:
    columns = (
        "class",
        "objects",
        "AP",
        "AP50",
        "threshold",
        "precision",
        "recall",
        "false",
        "missed",
    )
    rows = [
        (
            name,
            f"{c['objects']:,}",
            _score(c["ap"]),
            _score(c["ap50"]),
            _score(c["threshold"]),
            _score(c["precision"]),
            _score(c["recall"]),
            c["false_positives"],
            c["false_negatives"],
        )
        for name, c in metrics["by_class"].items()
    ]
    return _table(columns, rows)


def _by_height(metrics: Mapping[str, Any]) -> str:
    rows = [
        (
            f"{b['low']:g}+" if b["high"] is None else f"{b['low']:g} to {b['high']:g}",
            f"{b['objects']:,}",
            _score(b["ap"]),
            _score(b["ap50"]),
            _score(b["ar"]),
        )
        for b in metrics["by_height"]
    ]
    return _table(("height", "objects", "AP", "AP50", "AR"), rows)


def _epochs(run: Run) -> list[tuple[int, float]]:
    """Validation AP50 after each epoch; 0 is before the first step."""
    file = run.path / "events.jsonl"
    points: dict[int, float] = {}
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        event = json.loads(line)
        if event.get("kind") == "epoch":
            value = (event.get("metrics") or {}).get("ap50")
            if value is not None:
                points[int(event["epoch"])] = float(value)
    return sorted(points.items())


def _curve(points: Sequence[tuple[int, float]]) -> str:
    """Validation AP50 by epoch as a small line chart."""
    if len(points) < 2:
        return "<p>No validation split, so no curve.</p>"
    width, height, left, bottom = 640, 220, 44, 30
    last = points[-1][0] or 1

    def place(epoch: float, value: float) -> tuple[float, float]:
        x = left + (width - left - 12) * epoch / last
        return round(x, 1), round(height - bottom - (height - bottom - 12) * value, 1)

    line = " ".join(f"{x},{y}" for x, y in (place(*p) for p in points))
    dots = "".join(
        f'<circle cx="{x}" cy="{y}" r="3.5" fill="var(--accent)">'
        f"<title>epoch {e}: {v:.3f}</title></circle>"
        for (e, v), (x, y) in ((p, place(*p)) for p in points)
    )
    grid = "".join(
        f'<line x1="{left}" x2="{width}" y1="{y}" y2="{y}" stroke="var(--line)"/>'
        f'<text x="{left - 8}" y="{y + 4}" text-anchor="end">{v:g}</text>'
        for v, y in ((v, place(0, v)[1]) for v in (0, 0.25, 0.5, 0.75, 1))
    )
    step = max(1, last // 10)
    ticks = "".join(
        f'<text x="{place(e, 0)[0]}" y="{height - 8}" text-anchor="middle">{e}</text>'
        for e in range(0, last + 1, step)
    )
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" style="max-width:100%" role="img" '
        'aria-label="validation AP50 by epoch">'
        f'{grid}{ticks}<polyline points="{line}" fill="none" stroke="var(--accent)" '
        f'stroke-width="2"/>{dots}</svg>'
        "<p>AP50 on the validation split by epoch; 0 is before the first step.</p>"
    )


def _picture(sheet: Path) -> str:
    kind = "jpeg" if sheet.suffix.lower() in (".jpg", ".jpeg") else "png"
    data = base64.b64encode(sheet.read_bytes()).decode("ascii")
    return (
        "<h2>What it sees</h2><p>White and dashed: labels. In colour: detections above the "
        "threshold of their class.</p>"
        f'<img alt="labels and detections" src="data:image/{kind};base64,{data}">'
    )


def _facts(run: Run, metrics: Mapping[str, Any]) -> str:
    request = run.info.request
    weights = Path(request.weights).name if request.weights else "random"
    rows = [
        ("model", f"{request.model} ({run.info.backend})"),
        ("started from", weights),
        ("class rows", ", ".join(f"{a} from {b}" for a, b in request.warm_start.items()) or "new"),
        ("epochs, batch, seed", f"{request.epochs}, {request.batch_size}, {request.seed}"),
        ("checkpoint", metrics["checkpoint"]),
        ("dataset", f"{metrics['dataset']} (SHA-256 {metrics['dataset_fingerprint'][:16]}...)"),
    ]
    return _table(("", ""), rows).replace("<table>", '<table class="facts">', 1)
