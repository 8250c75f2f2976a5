"""One IPAddress resource for each claimed address: its name is the lock."""

from moorage.ipam.allocate import PoolExhaustedError, claim, claims_of, release

__all__ = ["PoolExhaustedError", "claim", "claims_of", "release"]
