"""The vCenter's inventory file, as far as the lab itself must read it."""

from pathlib import Path
from typing import Any

import yaml

from moorage_lab.errors import LabError
from moorage_lab.places import lab_dir


def default_inventory() -> Path:
    return lab_dir() / "inventories" / "default.yaml"


def images_of(inventory: Path) -> set[str]:
    """The node images that an inventory's templates name."""
    return {
        str(template["image"])
        for datacenter in _list(_read(inventory), "datacenters")
        for template in _list(datacenter, "templates")
        if template.get("image")
    }


def users_of(inventory: Path) -> list[tuple[str, str]]:
    """Names and passwords of an inventory's users."""
    users = _list(_read(inventory), "users")
    return [(str(user.get("name")), str(user.get("password"))) for user in users]


def _read(inventory: Path) -> dict[str, Any]:
    try:
        spec = yaml.safe_load(inventory.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise LabError(f"inventory {inventory} cannot be read: {error}") from error
    if not isinstance(spec, dict):
        raise LabError(f"inventory {inventory} is no mapping of datacenters and users")
    return spec


def _list(parent: dict[str, Any], key: str) -> list[dict[str, Any]]:
    value = parent.get(key) or []
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise LabError(f"{key} in the inventory is no list of mappings: {value!r}")
    return value
