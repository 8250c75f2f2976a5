"""Gateways, accounts, secrets, IP pools: what the hub adds and refuses."""

from dataclasses import replace

from moorage.engine.store import Store
from moorage.hub.admission import (
    account_faults,
    gateway_users,
    ip_pool_faults,
    sealing_key_id,
    secret_faults,
    template_faults,
)
from moorage.hub.documents import show_secret
from moorage.hub.rules.base import (
    RECOVERY_KEY,
    Rules,
    assign,
    in_use,
    load_estate,
    release_unseen,
    route_to,
)
from moorage.kit.errors import FieldFault
from moorage.resources import (
    CloudAccount,
    Gateway,
    IPPool,
    Secret,
    Template,
)
from moorage.resources.meta import Document
from moorage.store import SqlOperations, access


class GatewayRules(Rules[Gateway]):
    """A gateway stays as long as anything is routed to it."""

    def __init__(self) -> None:
        super().__init__(Gateway)

    async def check_deletion(self, store: Store, resource: Gateway) -> None:
        name = resource.metadata.name
        estate = await load_estate(store)
        secrets = {s.metadata.name: s for s in await store.list(Secret)}
        users = gateway_users(name, replace(estate, secrets=secrets))
        in_use(resource, users, "delete these first")

    async def deleting(self, store: Store, resource: Gateway) -> None:
        assert isinstance(store, SqlOperations)  # noqa: S101 - the hub's store has the tables
        await access.revoke_enrolment_tokens(store, resource.metadata.name)


class AccountRules(Rules[CloudAccount]):
    """A cloud account goes to the gateway that it names."""

    def __init__(self) -> None:
        super().__init__(CloudAccount)

    async def prepare(
        self, store: Store, resource: CloudAccount, before: CloudAccount | None
    ) -> None:
        route_to(resource, resource.spec.gateway, before)

    async def faults(
        self, store: Store, resource: CloudAccount, before: CloudAccount | None
    ) -> list[FieldFault]:
        estate = await load_estate(store)
        secrets = {s.metadata.name: s for s in await store.list(Secret)}
        return account_faults(resource, replace(estate, secrets=secrets), before=before)

    async def check_deletion(self, store: Store, resource: CloudAccount) -> None:
        tally, name = (await load_estate(store)).tally, resource.metadata.name
        users = [f"cluster {one}" for one in tally.users_of_account(name)]
        in_use(resource, users, "delete these clusters first")
        templates = [str(one) for one in await templates_of(store, name)]
        in_use(resource, templates, "delete these first; what is in vCenter stays there")

    async def deleting(self, store: Store, resource: CloudAccount) -> None:
        await release_unseen(store, resource)


class TemplateRules(Rules[Template]):
    """A template goes to the gateway of its account."""

    def __init__(self) -> None:
        super().__init__(Template)

    async def prepare(self, store: Store, resource: Template, before: Template | None) -> None:
        account = await store.find(CloudAccount, "", resource.spec.account)
        if account is not None:
            route_to(resource, account.spec.gateway, before)

    async def faults(
        self, store: Store, resource: Template, before: Template | None
    ) -> list[FieldFault]:
        return template_faults(resource, await load_estate(store), before=before)

    async def deleting(self, store: Store, resource: Template) -> None:
        await release_unseen(store, resource)


async def templates_of(store: Store, account: str) -> list[Template]:
    """Return the templates that were asked for with an account."""
    return [one for one in await store.list(Template) if one.spec.account == account]


class SecretRules(Rules[Secret]):
    """A sealed secret goes to the gateway that can open it, and is never read back."""

    def __init__(self) -> None:
        super().__init__(Secret)

    async def prepare(self, store: Store, resource: Secret, before: Secret | None) -> None:
        resource.metadata.route = resource.spec.gateway
        resource.metadata.epoch = 1

    async def faults(
        self, store: Store, resource: Secret, before: Secret | None
    ) -> list[FieldFault]:
        estate = await load_estate(store)
        recovery = await store.get_value(RECOVERY_KEY)
        key_id = sealing_key_id(recovery) if recovery else None
        return secret_faults(resource, replace(estate, recovery_key_id=key_id), before=before)

    def show(self, resource: Secret) -> Document:
        return show_secret(resource)

    async def check_deletion(self, store: Store, resource: Secret) -> None:
        name = resource.metadata.name
        users = [str(a) for a in await store.list(CloudAccount) if a.spec.secret == name]
        in_use(resource, users, "point them to another secret or delete them first")


class IPPoolRules(Rules[IPPool]):
    """An IP pool goes to one gateway and stays as long as a cluster uses it."""

    def __init__(self) -> None:
        super().__init__(IPPool)

    async def prepare(self, store: Store, resource: IPPool, before: IPPool | None) -> None:
        route_to(resource, resource.spec.gateway, before)

    async def faults(
        self, store: Store, resource: IPPool, before: IPPool | None
    ) -> list[FieldFault]:
        estate = await load_estate(store)
        return ip_pool_faults(resource, estate, before=before)

    async def created(self, store: Store, resource: IPPool) -> None:
        await assign(store, resource)

    async def check_deletion(self, store: Store, resource: IPPool) -> None:
        estate = await load_estate(store)
        users = sorted(estate.tally.users_of_pool(resource.metadata.name))
        in_use(resource, [f"cluster {name}" for name in users], "delete these clusters first")

    async def deleting(self, store: Store, resource: IPPool) -> None:
        await release_unseen(store, resource)
