"""Write audit entries: who did what to which object, how it ended, and what changed, redacted."""

from contextvars import ContextVar
from dataclasses import dataclass

from moorage.auth import Principal, redact
from moorage.hub.context import Hub
from moorage.resources.meta import Document
from moorage.store import audit, idempotency

CLAIM: ContextVar[idempotency.Claim | None] = ContextVar("claim", default=None)
"""The idempotency key under which the present request is carried out."""


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
    """Append one entry; inside a transaction it stands or falls with it.

    What is carried out under an idempotency key is noted there as done in the same way.
    """
    claim = CLAIM.get()
    if claim is not None and outcome == "ok":
        await idempotency.note_done(hub.store, claim)
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
