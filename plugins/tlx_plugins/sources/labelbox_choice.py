"""Which of several labels of one data row count: projects, consensus, benchmarks, skipped rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from tlx_plugins.sources.labelbox_schema import LabelSet, Project

Consensus = Literal["first", "newest", "benchmark", "all"]
Report = Callable[[str, str, str], None]


Chosen = tuple[LabelSet, str]
"""A label that counts, with the name of its project."""

Status = Literal["labelled", "unlabelled", "skipped"]

Choice = tuple[tuple[Chosen, ...], Status]
"""The labels that count, one per project unless all were asked for; and why there is none, if so.
Plain tuples, since one is made for every row."""


class Chooser:
    """Chooses labels.

    Args:
        consensus: Which label of a project counts where there are several.
        project: The name or id of the only project that counts; None for all.
        report: Takes what was left out.
    """

    def __init__(self, consensus: Consensus, project: str | None, report: Report) -> None:
        self.consensus = consensus
        self.project = project
        self.report = report
        self.seen: dict[str, None] = {}
        self.found = False

    def choose(self, projects: Mapping[str, Project] | None) -> Choice:
        """The labels of one data row that count."""
        if not projects:
            return (), "unlabelled"
        if len(projects) == 1 and self.project is None:
            # By far the most frequent case: one project, one label.
            key, project = next(iter(projects.items()))
            labels = project.labels
            if labels is not None and len(labels) == 1:
                label = labels[0]
                details = label.performance_details
                skipped_one = details is not None and details.skipped
                if not skipped_one and label.annotations is not None:
                    return ((label, project.name or key),), "labelled"
        found: list[Chosen] = []
        skipped = 0
        for key, project in projects.items():
            name = project.name or key
            if self.project is not None:
                if self.project not in (key, name):
                    if len(self.seen) < 20:
                        self.seen[name] = None
                    continue
                self.found = True
            labels = [label for label in project.labels or () if label.annotations is not None]
            usable = [label for label in labels if not label.skipped]
            skipped += len(labels) - len(usable)
            found += [(label, name) for label in self._of_project(usable)]
        if found:
            if len({name for _, name in found}) > 1:
                names = ", ".join(repr(name) for _, name in found[:4])
                self.report("several-projects", f"is labelled in {names}; all count.", "kept")
            return tuple(found), "labelled"
        return (), "skipped" if skipped else "unlabelled"

    def _of_project(self, labels: Sequence[LabelSet]) -> Sequence[LabelSet]:
        if len(labels) < 2:
            return labels
        if self.consensus == "all":
            message = f"has {len(labels)} labels; all count, one beside the other."
            self.report("several-labels", message, "kept")
            return labels
        chosen = labels[0]
        if self.consensus == "newest":
            # Of two that were changed in the same second the later one in the file is taken.
            chosen = max(labels, key=lambda label: label.changed_at)
            chosen = next(x for x in reversed(labels) if x.changed_at == chosen.changed_at)
        elif self.consensus == "benchmark":
            references = {label.reference for label in labels} - {None}
            benchmarks = [label for label in labels if label.id in references]
            if benchmarks:
                chosen = benchmarks[0]
            else:
                message = f"has {len(labels)} labels and none is a benchmark; the first is taken."
                self.report("no-benchmark", message, "kept")
        message = f"has {len(labels)} labels; the {self.consensus} one counts (option consensus)."
        self.report("several-labels", message, "requested")
        return (chosen,)
