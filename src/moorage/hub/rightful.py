"""Rights to what a cluster's document does: the guard knows only the name in the path."""

from moorage.hub.deps import Scope
from moorage.hub.proposals import Proposal


def permit_proposal(scope: Scope, proposal: Proposal) -> None:
    """Raise ``ForbiddenError`` unless the caller may make of the cluster and pools what is asked.

    Whoever sees clusters by their labels cannot label one out of reach, or into that of others.
    """
    before = proposal.before
    if before is None:
        scope.require("clusters.create")
        labels = None
    else:
        labels = before.metadata.labels
        scope.require("clusters.update", labels)
        scope.require("clusters.update", proposal.cluster.metadata.labels)
    for name, pool in proposal.wanted.items():
        known = proposal.known.get(name)
        if known is None:
            scope.require("nodepools.create", labels)
        elif (known.spec, known.metadata.labels) != (pool.spec, pool.metadata.labels):
            scope.require("nodepools.update", labels)
