"""Opens what was sealed to this gateway, and seals what only it may read (design, 3.9)."""

from collections.abc import Awaitable, Callable

import structlog

from moorage.kit.errors import ForbiddenError
from moorage.kit.seal import PrivateSealingKey, PublicSealingKey, SealedEnvelope, seal
from moorage.resources import CloudAccount, Cluster, Secret
from moorage.resources.account import credential_context

log = structlog.get_logger(__name__)


class Vault:
    """Holds the gateway's private sealing key. Opened secrets stay in memory only."""

    def __init__(
        self,
        sealing: PrivateSealingKey,
        installation: str,
        recovery_key: Callable[[], Awaitable[PublicSealingKey | None]],
    ) -> None:
        self._sealing = sealing
        self._installation = installation
        self._recovery_key = recovery_key

    def open_password(self, account: CloudAccount, secret: Secret) -> str:
        """Return the account's password.

        Raises ``ForbiddenError`` when the secret was sealed for another installation, account,
        server, user or trust than those that the account has now, or to another gateway.
        """
        context = credential_context(self._installation, account.metadata.name, account.spec)
        try:
            return self._sealing.open(secret.spec.sealed, context).decode()
        except UnicodeDecodeError as error:
            raise ForbiddenError(f"{secret} is not text: seal the password again") from error

    async def seal_keys(self, cluster: Cluster, plain: bytes) -> SealedEnvelope:
        """Seal a cluster's keys to this gateway and, once there is one, to the recovery key."""
        recipients = [self._sealing.public()]
        recovery_key = await self._recovery_key()
        if recovery_key is not None:
            recipients.append(recovery_key)
        else:
            log.warning("cluster keys sealed without a recovery key", cluster=str(cluster))
        return seal(plain, recipients, self._keys_context(cluster))

    def open_keys(self, cluster: Cluster, sealed: SealedEnvelope) -> bytes:
        """Return a cluster's keys; raises ``ForbiddenError`` when they are another cluster's."""
        return self._sealing.open(sealed, self._keys_context(cluster))

    def _keys_context(self, cluster: Cluster) -> dict[str, str]:
        return {
            "installation": self._installation,
            "kind": "ClusterKeys",
            "project": cluster.metadata.project,
            "name": cluster.metadata.name,
            "uid": cluster.metadata.uid,
        }
