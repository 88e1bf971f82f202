"""Text of CVAT's XML: numbers, values of attributes, escapes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from xml.sax.saxutils import escape, quoteattr

from tlx.model import AttributeValue

UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
"""What XML 1.0 cannot hold (section 2.2)."""


def number(value: float) -> str:
    """Two decimals, as CVAT writes them, or as many as the number needs to come back exactly."""
    text = f"{value:.2f}"
    return text if float(text) == value else repr(float(value))


def points(numbers: tuple[float, ...]) -> str:
    """``x,y;x,y;...`` of x and y in turn."""
    texts = list(map(number, numbers))
    return ";".join(map(",".join, zip(texts[0::2], texts[1::2], strict=True)))


def attribute_text(value: AttributeValue) -> str:
    """The value of an attribute as CVAT writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def text(value: str) -> str:
    """Text between tags; a carriage return would come back as a line feed."""
    return escape(UNWRITABLE.sub("", value), {"\r": "&#13;"})


def element(name: str, value: str) -> str:
    """An element that holds text, on a line of its own."""
    return f"<{name}>{text(value)}</{name}>\n"


def opened(name: str, values: Mapping[str, str]) -> str:
    """The start tag of an element with attributes."""
    facts = "".join(f" {key}={quoteattr(UNWRITABLE.sub('', v))}" for key, v in values.items())
    return f"<{name}{facts}>"
