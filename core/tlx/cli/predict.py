"""``tlx predict RUN IMAGES... -o FOLDER``; images or videos, a run or an exported model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from tlx.cli.common import Flags, make_context, show_issues
from tlx.cli.screen import Screen
from tlx.predicting import predict
from tlx.thresholds import threshold_array


def register(app: App, arguments: list[str], screen: Screen) -> None:
    """Add the command."""
    del arguments

    @app.command(name="predict", help="Detect in a dataset, a folder, images, or videos.")
    def command(
        run: Path,
        inputs: list[Path],
        *,
        output: Annotated[Path, Parameter(name=("--output", "-o"))],
        split: str | None = None,
        checkpoint: Literal["best", "last"] = "best",
        batch_size: int = 8,
        device: str = "auto",
        score_threshold: float | None = None,
        pictures: bool = True,
        video: Annotated[bool, Parameter(negative=())] = False,
        every: int = 1,
        overwrite: Annotated[bool, Parameter(negative=())] = False,
        on_error: Literal["fail", "skip"] = "fail",
        flags: Flags | None = None,
    ) -> None:
        """Predict.

        Args:
            run: Run folder, or a folder that tlx export wrote.
            inputs: A dataset folder, folders of images, image files, videos.
            output: Folder to write: predictions.parquet, predictions.jsonl, pictures/, videos/.
            split: Only this split of a dataset.
            checkpoint: Which checkpoint of a run.
            batch_size: Images at a time.
            device: auto, cpu, cuda or cuda:N.
            score_threshold: Keep and draw from this score on; by default all from 0.01 on is kept
                and what passes the thresholds tuned per class is drawn.
            pictures: Draw pictures of loose images.
            video: Write each video again as mp4 with the boxes drawn.
            every: Look at every so many frames of a video.
            overwrite: Replace what lies at the output.
            on_error: fail or skip: what an unreadable image does.
        """
        del flags
        context = make_context(on_error=on_error)
        done = predict(
            run,
            inputs,
            output,
            split=split,
            checkpoint=checkpoint,
            batch_size=batch_size,
            device=device,
            score_threshold=score_threshold,
            pictures=pictures,
            video=video,
            every=every,
            overwrite=overwrite,
            context=context,
        )
        seen: dict[str, int] = {}
        for prediction in done.predictions:
            names = [d.category for d in prediction.detections]
            limits = dict(zip(names, threshold_array(names, done.thresholds), strict=True))
            for d in prediction.detections:
                if d.score >= limits[d.category]:
                    seen[d.category] = seen.get(d.category, 0) + 1
        listing = (
            ", ".join(f"{count:,} {name}" for name, count in sorted(seen.items())) or "nothing"
        )
        looked = [f"{len(done.tasks):,} images"] if done.tasks or not done.frames else []
        if done.frames:
            looked.append(f"{done.frames:,} frames")
        screen.say(f"{' and '.join(looked)}: {listing}; written to {output}")
        show_issues(screen, context.issues)
        screen.result(
            {
                "output": str(output),
                "predictions": str(done.predictions.path),
                "images": len(done.tasks),
                "frames": done.frames,
                "videos": [str(path) for path in done.videos],
                "detections": seen,
                "issues": dict(context.issues.counts),
            }
        )
