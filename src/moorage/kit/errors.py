"""What can go wrong, in the few shapes that callers treat differently."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldFault:
    """One fault of one input field; ``path`` is dotted, such as ``spec.pools[0].cpus``."""

    path: str
    message: str


class MoorageError(Exception):
    """Base of all errors that Moorage raises on purpose. The text is meant for people."""


class NotFoundError(MoorageError):
    """What was asked for is proven not to exist."""


class ConflictError(MoorageError):
    """It exists already, or has changed since it was read."""


class InvalidError(MoorageError):
    """The input is wrong. ``faults`` names every faulty field at once."""

    def __init__(self, message: str, faults: tuple[FieldFault, ...] = ()) -> None:
        lines = [message, *(f"  {fault.path}: {fault.message}" for fault in faults)]
        super().__init__("\n".join(lines))
        self.message = message
        self.faults = faults


class UnauthenticatedError(MoorageError):
    """Nobody, or somebody with a wrong or expired credential, asked."""


class ForbiddenError(MoorageError):
    """The credential is good but not allowed to do this."""


class UnavailableError(MoorageError):
    """The other side did not answer, or asked to come back later. Trying again may help."""


class StorageFullError(UnavailableError):
    """The own database's disk is full. It goes on by itself once there is room again."""


class DeferredError(UnavailableError):
    """Not tried at all now, for a reason that passes without anybody's trying again and again.

    ``reason`` becomes the condition's reason; ``after_s`` is when to look again at the latest.
    """

    def __init__(self, reason: str, message: str, after_s: float) -> None:
        super().__init__(message)
        self.reason = reason
        self.after_s = after_s


class TerminalError(MoorageError):
    """Trying again cannot help: the spec, or the world, must change first.

    ``reason`` is one UpperCamel word that becomes the condition's reason.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
