"""What is asked of, and answered by, the operation about region and zone tags in vCenter."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from moorage.resources.meta import InventoryPath, Model

TagValue = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$")
]
"""What a node's label can say, and not nothing."""


class ZonesArguments(Model):
    """Arguments of the verb ``zones``. Names are inventory paths, or names that are unique."""

    regions: dict[InventoryPath, TagValue] = Field(default_factory=dict, max_length=200)
    """Datacenter -> the region that its tag shall name."""
    zones: dict[InventoryPath, TagValue] = Field(default_factory=dict, max_length=1000)
    """Compute cluster, or standalone host -> the zone that its tag shall name."""
    apply: bool = False
    """Make the tags and attach them; else only say what would be done."""


class TaggedObject(Model):
    """A datacenter, compute cluster or standalone host, with what nodes there would get."""

    kind: str
    """``datacenter``, ``compute cluster`` or ``host``."""
    object: str
    """Inventory path."""
    region: str = ""
    region_from: str = ""
    """Inventory path of the object that bears the tag."""
    zone: str = ""
    """Empty: the failure domain's name is the zone."""
    zone_from: str = ""
    message: str = ""
    """What is wrong with the tags, or why they are not seen."""


class TagAction(StrEnum):
    """What is done in vCenter."""

    CREATE_CATEGORY = "create category"
    CREATE_TAG = "create tag"
    ATTACH = "attach tag"


class TagChange(Model):
    """One thing that was done, or would be."""

    action: TagAction
    category: str
    tag: str = ""
    object: str = ""
    """Inventory path, where a tag is attached."""


class ZonesResult(Model):
    """Result of the verb ``zones``."""

    region_category: str
    zone_category: str
    objects: list[TaggedObject]
    """As it is, after what was done."""
    changes: list[TagChange] = Field(default_factory=list)
    """In their order; empty when all is as it was asked."""
    applied: bool = False
