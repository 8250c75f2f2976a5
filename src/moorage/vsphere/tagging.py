"""Tags and their categories, over one open REST session. Blocking."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from moorage.kit.errors import ForbiddenError, NotFoundError, UnavailableError
from moorage.vsphere.places import Place
from moorage.vsphere.rest import RestCalls

T = TypeVar("T")

SINGLE = "SINGLE"


@dataclass(frozen=True, slots=True)
class Category:
    """A category of tags."""

    identifier: str
    name: str
    cardinality: str
    """``SINGLE``: an object has at most one tag of it. ``MULTIPLE``: any number."""
    types: tuple[str, ...]
    """vSphere types that its tags can be attached to; none: all."""


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag."""

    identifier: str
    name: str
    category: str
    """Identifier of its category."""


class Tagging:
    """The tagging service, in one open session."""

    def __init__(self, calls: RestCalls) -> None:
        self._calls = calls

    # What is there

    def attached(self, objects: Sequence[Place]) -> dict[str, list[str] | None]:
        """Return moref -> identifiers of the tags; ``None`` where the account may not read.

        One call; where the account may not read one of the objects, vCenter refuses all: each is
        asked for by itself then.
        """
        try:
            return self._attached(objects)
        except (ForbiddenError, NotFoundError):
            if len(objects) == 1:
                return {objects[0].moref: None}
        found: dict[str, list[str] | None] = {}
        for one in objects:
            found |= self.attached([one])
        return found

    def _attached(self, objects: Sequence[Place]) -> dict[str, list[str] | None]:
        answered = self._calls.call(
            f"read the tags of {len(objects)} objects",
            "POST",
            "tag-association",
            action="list-attached-tags-on-objects",
            body={"object_ids": [_object(one) for one in objects]},
        )
        found: dict[str, list[str] | None] = {one.moref: [] for one in objects}
        for one in _rows(answered):
            named = one.get("object_id") or {}
            found[str(named.get("id"))] = [str(tag) for tag in one.get("tag_ids") or ()]
        return found

    def tag(self, identifier: str) -> Tag:
        """Return a tag; raises ``NotFoundError``."""
        answered = self._calls.call(f"read tag {identifier}", "GET", "tag", identifier=identifier)
        fields = _row(answered)
        return Tag(identifier, str(fields.get("name", "")), str(fields.get("category_id", "")))

    def category(self, identifier: str) -> Category:
        """Return a category; raises ``NotFoundError``."""
        what = f"read tag category {identifier}"
        answered = self._calls.call(what, "GET", "category", identifier=identifier)
        fields = _row(answered)
        return Category(
            identifier,
            str(fields.get("name", "")),
            str(fields.get("cardinality", "")),
            tuple(str(one) for one in fields.get("associable_types") or ()),
        )

    def categories(self) -> list[Category]:
        """Return all categories that the account may read."""
        answered = self._calls.call("list the tag categories", "GET", "category")
        return list(_each(self.category, answered))

    def tags_of(self, category: Category) -> list[Tag]:
        """Return the tags of a category that the account may read."""
        what = f"list the tags of category {category.name}"
        action = "list-tags-for-category"
        if self._calls.is_api:
            body = {"category_id": category.identifier}
            answered = self._calls.call(what, "POST", "tag", action=action, body=body)
        else:
            answered = self._calls.call(
                what, "POST", "tag", identifier=category.identifier, action=action
            )
        return list(_each(self.tag, answered))

    # What is done

    def create_category(self, name: str, description: str, types: Sequence[str]) -> str:
        """Make a category of which an object has at most one tag; return its identifier."""
        answered = self._calls.call(
            f"create tag category {name}",
            "POST",
            "category",
            body={
                "name": name,
                "description": description,
                "cardinality": SINGLE,
                "associable_types": list(types),
            },
            wrap="create_spec",
        )
        return str(answered)

    def create_tag(self, category: str, name: str, description: str) -> str:
        """Make a tag; return its identifier."""
        answered = self._calls.call(
            f"create tag {name}",
            "POST",
            "tag",
            body={"name": name, "description": description, "category_id": category},
            wrap="create_spec",
        )
        return str(answered)

    def attach(self, tag: Tag, place: Place) -> None:
        """Attach a tag to an object; nothing happens where it is attached already."""
        self._calls.call(
            f"attach tag {tag.name} to {place.name} ({place.moref})",
            "POST",
            "tag-association",
            identifier=tag.identifier,
            action="attach",
            body={"object_id": _object(place)},
        )


def _each(read: Callable[[str], T], identifiers: object) -> Iterator[T]:
    for identifier in identifiers if isinstance(identifiers, list) else ():
        with suppress(NotFoundError):  # deleted meanwhile
            yield read(str(identifier))


def _object(place: Place) -> dict[str, str]:
    return {"type": place.kind, "id": place.moref}


def _row(answered: object) -> dict[str, Any]:
    if not isinstance(answered, dict):
        raise UnavailableError("vCenter's tagging service answered in an unknown form")
    return answered


def _rows(answered: object) -> list[dict[str, Any]]:
    return [_row(one) for one in answered] if isinstance(answered, list) else []
