"""One IPAddress resource for each claimed or just released address: its name is the lock."""

from moorage.ipam.allocate import (
    PoolExhaustedError,
    claim,
    claims_of,
    forget,
    held_back_of,
    release,
)

__all__ = ["PoolExhaustedError", "claim", "claims_of", "forget", "held_back_of", "release"]
