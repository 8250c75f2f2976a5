"""Kubernetes label selectors: read from text, and compared with labels."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from moorage.kit.errors import InvalidError

_KEY = (
    r"(?:[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
)
_VALUE = r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?"
_EQUALITY = re.compile(rf"(?P<key>{_KEY})\s*(?P<operator>==|=|!=)\s*(?P<value>{_VALUE})")
_SET = re.compile(rf"(?P<key>{_KEY})\s+(?P<operator>in|notin)\s*\((?P<values>[^()]*)\)")
_PRESENCE = re.compile(rf"(?P<operator>!?)\s*(?P<key>{_KEY})")
_MAX_LENGTH = 4096


@dataclass(frozen=True, slots=True)
class Requirement:
    """One part of a selector; all parts must hold."""

    key: str
    operator: Literal["in", "notin", "exists", "absent"]
    values: tuple[str, ...] = ()


@lru_cache(maxsize=256)
def parse_selector(text: str) -> tuple[Requirement, ...]:
    """Read a selector such as ``a=b,c!=d,e in (x,y),f,!g``; raises ``InvalidError``."""
    if len(text) > _MAX_LENGTH:
        raise InvalidError(f"a label selector may have {_MAX_LENGTH} characters at most")
    if not text.strip():
        return ()
    return tuple(_parse_part(part.strip(), text) for part in re.split(r",(?![^(]*\))", text))


def _parse_part(part: str, text: str) -> Requirement:
    if found := _EQUALITY.fullmatch(part):
        operator: Literal["in", "notin"] = "notin" if found["operator"] == "!=" else "in"
        return Requirement(found["key"], operator, (found["value"],))
    if found := _SET.fullmatch(part):
        values = tuple(value.strip() for value in found["values"].split(","))
        if all(re.fullmatch(_VALUE, value) for value in values):
            operator = "in" if found["operator"] == "in" else "notin"
            return Requirement(found["key"], operator, values)
    if found := _PRESENCE.fullmatch(part):
        return Requirement(found["key"], "absent" if found["operator"] else "exists")
    raise InvalidError(
        f"label selector {text!r}: cannot read {part!r}; write a=b, a!=b, a in (b,c), "
        "a notin (b,c), a or !a, with commas between"
    )


def matches(selector: tuple[Requirement, ...], labels: Mapping[str, str]) -> bool:
    """Tell whether labels fulfil a selector, as the store's lists do."""
    for part in selector:
        value = labels.get(part.key)
        holds = {
            "in": value is not None and value in part.values,
            "notin": value is None or value not in part.values,
            "exists": value is not None,
            "absent": value is None,
        }[part.operator]
        if not holds:
            return False
    return True
