"""A cluster's keys that another gateway made, handed on by whoever has the recovery key."""

from moorage.bootstrap import ClusterPKI
from moorage.controllers.gateway.env import Env
from moorage.kit.errors import ForbiddenError, TerminalError
from moorage.resources import Cluster, ClusterKeys, ResealedKeys


async def take_resealed(
    cluster: Cluster, stored: ClusterKeys, env: Env, *, refused: ForbiddenError
) -> ClusterKeys:
    """Store the keys anew, sealed to this gateway and the recovery key, and return them so.

    Args:
        cluster: Whose keys they are.
        stored: The keys as the other gateway sealed them.
        env: Of this gateway.
        refused: Why ``stored`` cannot be opened here.

    Raises ``TerminalError``: ``KeysNotReadable`` when nothing opens, ``KeysOfAnotherCluster``
    when the CA differs from the one that the cluster is known by.
    """
    resealed = await env.store.find(ResealedKeys, *cluster.key)
    if resealed is None:
        raise TerminalError(
            "KeysNotReadable",
            f"{refused}: whoever has the recovery key runs "
            f"`moorage gateways recover {env.gateway} --recovery-key FILE`",
        ) from refused
    try:
        keys = ClusterPKI.from_bytes(env.vault.open_keys(cluster, resealed.spec.sealed))
    except ForbiddenError as error:
        raise TerminalError("KeysNotReadable", f"resealed keys: {error}") from error
    known = cluster.status.ca_certificate
    if known is not None and known != keys.ca.certificate:
        raise TerminalError(
            "KeysOfAnotherCluster",
            "the resealed keys hold another CA than the one that this cluster is known by: they "
            "are not used",
        )
    stored.spec.sealed = await env.vault.seal_keys(cluster, keys.to_bytes())
    return await env.store.put_spec(stored)
