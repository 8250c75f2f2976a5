"""Where the CLI remembers hubs, tokens and pins: one file that only its owner can read."""

import os
from pathlib import Path

import yaml
from pydantic import Field, ValidationError

from moorage.kit.errors import InvalidError
from moorage.resources.meta import Model


class HubContext(Model):
    """One hub, as one user."""

    server: str
    username: str
    token: str = Field(repr=False)
    ca: str | None = None
    """PEM that the hub's certificate chains to; ``None``: the system's trust store."""
    project: str = "default"
    installation: str
    recovery_key: str | None = None
    """Public half of the recovery key, pinned at first sight."""
    gateways: dict[str, str] = Field(default_factory=dict)
    """Gateway name -> pinned fingerprint of its identity key."""


class Config(Model):
    """All contexts, and which one is used."""

    current: str | None = None
    contexts: dict[str, HubContext] = Field(default_factory=dict)


def config_path() -> Path:
    """Return ``$MOORAGE_CONFIG``, else ``moorage/config.yaml`` in the user's configuration."""
    given = os.environ.get("MOORAGE_CONFIG")
    if given:
        return Path(given)
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "moorage" / "config.yaml"


def load() -> Config:
    """Read the configuration; an absent file is an empty one."""
    path = config_path()
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Config()
    try:
        return Config.model_validate(yaml.safe_load(text) or {})
    except (yaml.YAMLError, ValidationError) as error:
        raise InvalidError(f"{path} cannot be understood: {error}") from error


def save(config: Config) -> None:
    """Write the configuration as a whole or not at all, readable by its owner only."""
    path = config_path()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        yaml.safe_dump(config.document(), file, sort_keys=False)
    temporary.replace(path)
