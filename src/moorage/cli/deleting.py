"""Deleting by name what leaves nothing to wait for."""

from moorage.cli.ask import confirm_name
from moorage.cli.context import Context
from moorage.cli.say import say
from moorage.resources import Resource


async def delete_named(kind: type[Resource], what: str, name: str, *, yes: bool) -> None:
    """Delete one resource of the whole hub; asks for its name unless ``yes``.

    Args:
        kind: Its kind.
        what: The kind as people call it, such as ``IP pool``.
        name: Its name; one that does not exist is said before anything is asked.
        yes: Do not ask.
    """
    async with Context.current().api() as api:
        await api.get(kind, name)
        if not yes:
            confirm_name(what, name)
        await api.delete(kind, name)
    say(f"{what} {name} deleted")
