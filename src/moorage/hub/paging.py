"""The opaque tokens by which lists are continued."""

import base64
import json
from typing import Any

from moorage.kit.errors import FieldFault, InvalidError


def page_token(*place: str | int) -> str:
    """Write down the last place of a page."""
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def read_page_token(text: str | None, *kinds: type[Any]) -> tuple[Any, ...] | None:
    """Read a place whose parts are of these kinds; raises ``InvalidError``."""
    if text is None:
        return None
    try:
        place = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except ValueError:
        place = None
    if isinstance(place, list) and [type(part) for part in place] == list(kinds):
        return tuple(place)
    raise InvalidError(
        "the list cannot be continued",
        (FieldFault("continue", "is not a token that this hub gave"),),
    )
