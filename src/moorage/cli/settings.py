"""The options that stand before every command."""

import sys
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """What was asked for on the command line; ``None``: the stored or usual choice."""

    context: str | None = None
    project: str | None = None
    output: str | None = None


_DEFAULTS = Settings()
_settings: ContextVar[Settings] = ContextVar("settings", default=_DEFAULTS)


def use(settings: Settings) -> None:
    """Set the options of this call."""
    _settings.set(settings)


def settings() -> Settings:
    """Return the options of this call."""
    return _settings.get()


def output_format() -> str:
    """Return ``table``, ``json`` or ``yaml``: what was asked for, else by who is reading."""
    return _settings.get().output or ("table" if sys.stdout.isatty() else "json")
