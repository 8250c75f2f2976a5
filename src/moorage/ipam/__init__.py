"""One IPAddress resource for each claimed or just released address: its name is the lock."""

from moorage.ipam.allocate import (
    PoolExhaustedError,
    UsedBy,
    claim,
    claims_of,
    forget,
    held_back_of,
    nobody,
    read_pool,
    release,
    take,
)
from moorage.ipam.probe import who_answers

__all__ = [
    "PoolExhaustedError",
    "UsedBy",
    "claim",
    "claims_of",
    "forget",
    "held_back_of",
    "nobody",
    "read_pool",
    "release",
    "take",
    "who_answers",
]
