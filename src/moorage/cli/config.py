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

    def context(self, name: str) -> HubContext:
        """Return a stored context; raises ``InvalidError`` that names the known ones."""
        found = self.contexts.get(name)
        if found is None:
            known = ", ".join(sorted(self.contexts)) or "none"
            raise InvalidError(f"there is no context {name!r}; known: {known}")
        return found


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
        raise InvalidError(
            f"the CLI's own file {path} cannot be understood ({type(error).__name__}): mend or "
            "remove it, then log in again"
        ) from error


def save(config: Config) -> None:
    """Write the configuration as a whole or not at all, readable by its owner only."""
    path = config_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise InvalidError(f"{path.parent} cannot be made: {error.strerror}") from error
    write_private(path, yaml.safe_dump(config.document(), sort_keys=False))


def check_writable() -> None:
    """Raise ``InvalidError`` unless the configuration can be saved."""
    save(load())


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, as a whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise InvalidError(f"{path} cannot be written: {error.strerror}") from error
