"""Write audit entries: who did what to which object, how it ended, and what changed, redacted."""

from dataclasses import dataclass

from moorage.auth import Principal, redact
from moorage.hub.context import Hub
from moorage.resources.meta import Document
from moorage.store import audit


@dataclass(slots=True)
class AuditNote:
    """One act, filled in as it goes on."""

    verb: str
    kind: str
    project: str = ""
    name: str = ""
    before: Document | None = None
    after: Document | None = None


async def record(
    hub: Hub, principal: Principal | None, source: str, note: AuditNote, outcome: str
) -> None:
    """Append one entry; inside a transaction it stands or falls with it."""
    actor = "anonymous"
    if principal is not None:
        actor = principal.username
        if principal.credential.startswith("apikey:"):
            actor = f"{actor} ({principal.credential})"
    await audit.append(
        hub.store,
        actor=actor,
        source=source,
        verb=str(note.verb),
        kind=note.kind,
        project=note.project,
        name=note.name,
        outcome=outcome,
        before=redact(note.before),
        after=redact(note.after),
    )
