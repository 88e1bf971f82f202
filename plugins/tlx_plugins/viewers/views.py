"""What the App shows first: saved views of the mistakes, colours of the classes, the sidebar.

Every view sorts by a stored field: sorting by an expression takes seconds on 100,000 images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tlx.model import Taxonomy
from tlx_plugins.viewers.documents import LABEL_FIELDS
from tlx_plugins.viewers.findings import CLASS_AGNOSTIC, CLASS_WISE
from tlx_plugins.viewers.layout import Layout

MISTAKES = "mistakes"
SMALLEST = "smallest objects"
_HARDEST_IMAGES = 100
_COUNTS = ("tp", "fp", "fn")


@dataclass(frozen=True, slots=True)
class SavedView:
    """A saved view: its name in the App, what it shows, and the FiftyOne view."""

    name: str
    description: str
    view: Any


def mistake_views(dataset: Any, *, score_threshold: float, small_height: float) -> list[SavedView]:
    """The views of what the network did wrong.

    Args:
        dataset: The FiftyOne dataset.
        score_threshold: Detections below it are hidden in these views.
        small_height: What counts as small, in pixels.
    """
    from fiftyone import ViewField

    sure = dataset.filter_labels(
        "predictions", ViewField("confidence") >= score_threshold, only_matches=False
    )
    unsure = (1 + score_threshold) / 2
    confused = ViewField("confused_with").exists()
    return [
        SavedView(
            MISTAKES,
            f"Images with a false positive or a miss at score {score_threshold:g}, most first",
            sure.match(ViewField("mistakes") > 0).sort_by("mistakes", reverse=True),
        ),
        SavedView(
            "false positives",
            "Detections that found no object of their class",
            dataset.match(ViewField("eval_fp") > 0)
            .filter_labels("predictions", ViewField(CLASS_WISE) == "fp")
            .sort_by("eval_fp", reverse=True),
        ),
        SavedView(
            "missed objects",
            "Objects that no detection of their class found",
            sure.match(ViewField("eval_fn") > 0)
            .filter_labels("ground_truth", ViewField(CLASS_WISE) == "fn")
            .sort_by("eval_fn", reverse=True),
        ),
        SavedView(
            "missed small objects",
            f"Missed objects of less than {small_height:g} pixels in height",
            sure.match(ViewField("missed_small") > 0)
            .filter_labels(
                "ground_truth",
                (ViewField(CLASS_WISE) == "fn") & (ViewField("height_px") < small_height),
            )
            .sort_by("missed_small", reverse=True),
        ),
        SavedView(
            "class confusions",
            "Objects that were found but called something else; see confused_with",
            dataset.match(ViewField("confused") > 0)
            .filter_labels("ground_truth", confused)
            .filter_labels("predictions", confused)
            .sort_by("confused", reverse=True),
        ),
        SavedView(
            "low confidence correct",
            f"Right detections with a score below {unsure:g}, least sure first",
            dataset.match(ViewField("lowest_correct") < unsure)
            .filter_labels(
                "predictions",
                (ViewField(CLASS_WISE) == "tp") & (ViewField("confidence") < unsure),
            )
            .sort_by("lowest_correct"),
        ),
        SavedView(
            "hardest images",
            f"The {_HARDEST_IMAGES} images where the network is most wrong or least sure",
            sure.match(ViewField("hardness") > 0)
            .sort_by("hardness", reverse=True)
            .limit(_HARDEST_IMAGES),
        ),
    ]


def dataset_views(dataset: Any, layout: Layout) -> list[SavedView]:
    """The views that need no predictions."""
    from fiftyone import ViewField

    views = [
        SavedView(
            SMALLEST,
            "Images with objects, that of the lowest object first",
            dataset.match(ViewField("objects") > 0).sort_by("smallest_height"),
        ),
        SavedView(
            "images without objects",
            "Negative images",
            dataset.match(ViewField("objects") == 0),
        ),
    ]
    if layout.groups:
        order = "frame" if layout.frames else None
        views.append(
            SavedView(
                "one per group",
                "One tile per clip or drive; its frames are to page through in the image window",
                dataset.match(ViewField("group").exists()).group_by("group", order_by=order),
            )
        )
    return views


def save_views(dataset: Any, views: list[SavedView]) -> dict[str, str]:
    """Save the views; returns the part of the URL that opens each."""
    from fiftyone.core.utils import to_slug

    for entry in views:
        dataset.save_view(entry.name, entry.view, description=entry.description, overwrite=True)
    return {entry.name: to_slug(entry.name) for entry in views}


def configure_app(dataset: Any, taxonomy: Taxonomy, layout: Layout, *, judged: bool) -> None:
    """Set the colours of the classes, the order of the sidebar, and what is drawn at first."""
    import fiftyone as fo
    from fiftyone.core.odm.dataset import ActiveFields

    boxes = ["ground_truth", "predictions"] if judged else ["ground_truth"]
    labels = [LABEL_FIELDS[state] for state in (True, False, None) if state in layout.labels]
    drawn = ["outlines"] * layout.outlines + ["keypoints"] * layout.keypoints
    colors = [
        {"value": category.name, "color": category.color}
        for category in taxonomy.categories
        if category.color is not None
    ]
    dataset.app_config.color_scheme = fo.ColorScheme(
        color_by="value",
        fields=[
            {"path": path, "colorByAttribute": "label", "valueColors": colors}
            for path in (*boxes, *drawn, *labels)
        ],
    )
    image = ["image_id", "filepath", "split", "objects", "smallest_height"]
    image += [name for name, there in (("group", layout.groups), ("frame", layout.frames)) if there]
    image += [attribute.name for attribute in layout.image_attributes.values()]
    groups = {"labels": [*boxes, *drawn, *labels], "tags": []}
    if judged:
        counts = [f"{key}_{c}" for key in (CLASS_WISE, CLASS_AGNOSTIC) for c in _COUNTS]
        sorted_by = ["mistakes", "confused", "missed_small", "hardness", "lowest_correct"]
        groups["mistakes"] = [*sorted_by, *counts]
    groups["image"] = image
    groups["metadata"] = ["id", "metadata", "created_at", "last_modified_at"]
    dataset.app_config.sidebar_groups = [
        fo.SidebarGroupDocument(name=name, paths=paths, expanded=name != "metadata")
        for name, paths in groups.items()
    ]
    dataset.app_config.active_fields = ActiveFields(
        paths=[*boxes, *drawn, *labels[:1]], exclude=False
    )
    dataset.save()
