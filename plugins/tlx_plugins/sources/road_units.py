"""Positions along a road, in metres, from what tables say in metres, kilometres or miles."""

from __future__ import annotations

import re
from typing import Literal

Unit = Literal["auto", "m", "km", "mile"]
METRES = {"m": 1.0, "km": 1000.0, "mile": 1609.344}
"""Metres of each unit (the international mile)."""

_STATED = re.compile(
    r"(?i)(?:^|[\s_(\[.-])(?:(k)ilomet(?:er|re)s?|(k)m|(m)iles?|(m)i|m|met(?:er|re)s?)(?:$|[\s_)\].-])"
)
_NUMBER = re.compile(r"[-+]?(?:[0-9]{1,12}(?:[.,][0-9]{0,17})?|[.,][0-9]{1,17})")
_POST = re.compile(r"([0-9]{1,6})\s*\+\s*([0-9]{1,3}(?:[.,][0-9]{1,3})?)")


def stated_unit(title: str) -> Unit | None:
    """The unit that the name of a column states.

    >>> stated_unit("from_km"), stated_unit("Start (m)"), stated_unit("from")
    ('km', 'm', None)
    """
    match = _STATED.search(title)
    if match is None:
        return None
    kilo, kilo_short, mile, mile_short = match.groups()
    return "km" if kilo or kilo_short else "mile" if mile or mile_short else "m"


def degrees(text: str) -> float | None:
    """A latitude or longitude in degrees; None for what is none."""
    if not text.isascii() or _NUMBER.fullmatch(text) is None:
        return None
    value = float(text.replace(",", "."))
    return value if abs(value) <= 180 else None


def metres(text: str, unit: str) -> float | None:
    """A position in metres, to the millimetre; None for what is no number.

    A decimal comma counts as a point. ``12+300`` is kilometre 12 and 300 m, whatever the unit.
    """
    post = _POST.fullmatch(text)
    if post is not None:
        return round(int(post[1]) * 1000.0 + float(post[2].replace(",", ".")), 3)
    if not text.isascii() or _NUMBER.fullmatch(text) is None:
        return None
    return round(float(text.replace(",", ".")) * METRES[unit], 3)
