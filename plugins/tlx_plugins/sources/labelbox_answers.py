"""Answers to the questions of a Labelbox ontology: typed attributes, or image-level labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from tlx.model import AttributeValue
from tlx_plugins.sources.labelbox_schema import Answer, Choice

MAXIMUM_DEPTH = 30
"""Labelbox nests questions to a depth of a few; a file that goes deeper is no export."""

Fact = tuple[str, str | None, AttributeValue]
"""The question's path, the chosen option if it is one of several, and the attribute's value."""


def facts(answers: Sequence[Answer], report: Callable[[str, str, str], None]) -> Iterator[Fact]:
    """All answers, nested ones after the answer that they belong to.

    The path of a question tells its position in the tree, since the same question may be asked
    below several options: ``weather``, then ``weather/rain/intensity`` for a question that the
    option *rain* of *weather* asks.

    Args:
        answers: The answers of one image or object.
        report: Takes a code, a sentence and the action for what cannot be read.

    Yields:
        ``(path, option, option)`` for the one choice of a radio question, ``(path, option, True)``
        for each choice of a checklist, ``(path, None, text)`` for free text.
    """
    # A stack of its own: nesting beyond all measure must not end in a RecursionError.
    waiting = [("", answer, 0) for answer in reversed(answers)]
    while waiting:
        prefix, answer, depth = waiting.pop()
        name = (answer.name or answer.value or "").strip()
        if not name:
            report("bad-answer", "has an answer to a question without a name.", "changed")
            continue
        if depth > MAXIMUM_DEPTH:
            message = f"has answers that nest deeper than {MAXIMUM_DEPTH}."
            report("bad-answer", message, "changed")
            continue
        path = prefix + name
        choices: list[Choice] = []
        if answer.radio_answer is not None:
            choices = [answer.radio_answer]
        elif answer.checklist_answers is not None:
            choices = answer.checklist_answers
        elif answer.text_answer is not None:
            if answer.text_answer.content is not None:
                yield path, None, answer.text_answer.content
        else:
            message = f"has an answer to {path!r} that is no choice and no text."
            report("bad-answer", message, "changed")
        nested = []
        for choice in choices:
            option = (choice.name or choice.value or "").strip()
            if not option:
                continue
            yield path, option, option if answer.radio_answer is not None else True
            below = f"{path}/{option}/"
            nested += [(below, inner, depth + 1) for inner in choice.classifications or ()]
        waiting.extend(reversed(nested))


def attribute(fact: Fact) -> tuple[str, AttributeValue]:
    """Name and value of the attribute for a fact: a checklist has a flag per option."""
    path, option, value = fact
    return (f"{path}/{option}", True) if value is True else (path, value)
