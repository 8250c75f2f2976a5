"""What a gateway's controllers are made from."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from moorage.engine import Controller, Store
from moorage.gateway.vault import Vault
from moorage.kit.clock import Clock


@dataclass(frozen=True, slots=True)
class Services:
    """Handed to whoever makes the controllers."""

    store: Store
    clock: Clock
    vault: Vault
    installation: str
    gateway: str
    acknowledged: Callable[[], int]
    """Highest own resource version that the hub has confirmed to have stored."""
    trigger: Callable[[str, str], None]
    """``trigger(controller, key)``: look at that key soon. May be called from any thread."""


Controllers = Callable[[Services], AbstractAsyncContextManager[Sequence[Controller[Any]]]]
"""Opens what the controllers share and yields them; closes it (logs out) at the end."""
