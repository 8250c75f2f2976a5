"""Check: one thing that was looked at before anything is done."""

from moorage.resources.meta import Model


class Check(Model):
    """One thing that was looked at."""

    name: str
    """One UpperCamel word."""
    ok: bool
    message: str = ""
    """What is wrong; empty when nothing is."""
    blocking: bool = True
    """Whether nothing should be done while it is not ok; else it only warns."""
