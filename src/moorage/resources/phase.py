"""One word for people about any resource, and whether waiting can mend it."""

from typing import Literal

from moorage.resources.meta import Resource

Tone = Literal["good", "busy", "bad", "leaving"]
"""How a phase is shown: reached, on its way, not without a person, going."""

DELETING, PENDING, READY = "Deleting", "Pending", "Ready"
DELETION_HELD = "DeletionHeld"
"""Reason of a condition: the gateway's brake holds the deletion until somebody approves it."""

HOPELESS = frozenset(
    {
        "ChecksumMismatch",
        "DeployRefused",
        "DiskTooSmall",
        "DisksNotReadable",
        "FailureDomainNotFound",
        "FolderTaken",
        "HostNotFound",
        "HostUntrusted",
        "InvalidCredentials",
        "KeysNotReadable",
        "KeysOfAnotherCluster",
        "LayerInvalid",
        "LinkedCloneImpossible",
        "MarkRefused",
        "NameTaken",
        "NotATemplate",
        "NotVCenter",
        "OVAInvalid",
        "VCenterTooOld",
        "PlacementInvalid",
        "PlanOutdated",
        "SecretNotForThisUse",
        "SourceNotFound",
        "SourceUntrusted",
        "TemplateGone",
        "TemplateNotFound",
        "TemplateUnfit",
        "UntrustedCertificate",
        "ZoneTagsInvalid",
    }
)
"""Reasons that waiting does not mend: ``--wait`` ends with 1 instead of staying."""


def phase(resource: Resource) -> str:
    """Return one word for people, computed from the conditions."""
    ready = resource.status.condition("Ready")
    return phase_of(
        is_deleting=resource.is_deleting,
        ready=None if ready is None else (ready.status, ready.reason),
    )


def phase_of(*, is_deleting: bool, ready: tuple[str, str] | None) -> str:
    """Return the word from status and reason of the condition ``Ready``, if there is one."""
    if is_deleting:
        return DELETING
    if ready is None:
        return PENDING
    status, reason = ready
    return READY if status == "True" else reason


def tone_of(word: str) -> Tone:
    """Return how a phase is shown."""
    if word == READY:
        return "good"
    if word == DELETING:
        return "leaving"
    return "bad" if word in HOPELESS else "busy"
