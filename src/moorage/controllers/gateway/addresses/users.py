"""Who else uses an address of our pools: asked when it is about to be given."""

from collections.abc import Sequence

from moorage.controllers.gateway.env import Env
from moorage.ipam import UsedBy, who_answers
from moorage.kit.errors import InvalidError, UnavailableError
from moorage.resources import IPPool
from moorage.resources.ippool import AddressConflict
from moorage.resources.spans import Address
from moorage.vsphere import Target


def user_of(
    env: Env, pools: Sequence[IPPool], account: str, target: Target, claimant: str
) -> UsedBy:
    """Return what tells ``claim`` who else uses an address, and lets the pool say so.

    Args:
        env: Whose vCenter is looked at.
        pools: Where the addresses are from.
        account: Cloud account of the machines that shall have it.
        target: A place where they will be: only its network counts.
        claimant: UID of the machine or cluster that it is for.
    """

    async def used_by(address: Address) -> str | None:
        pool = next(one for one in pools if one.spec.may_give(address))
        found = await vm_with(env, address, account, target, claimant)
        if found is None and pool.spec.probe and (answer := await who_answers(address)):
            found = AddressConflict(address=address, used_by=answer, since=env.clock.now())
        if found is None:
            return None
        env.conflicts.note(pool.metadata.name, found)
        env.trigger("ippool", f"/{pool.metadata.name}")
        return found.used_by

    return used_by


async def vm_with(
    env: Env, address: Address, account: str, target: Target, claimant: str
) -> AddressConflict | None:
    """Return the VM that reports an address in the network of ``target``, if one is seen.

    Nothing is found while vCenter cannot be asked: machines look again before they are cloned.
    """
    vcenter = env.accounts.get(account)
    if vcenter is None or not vcenter.addresses.is_seen(str(address)):
        return None
    try:
        network = (await vcenter.resolve(target)).network.moref
    except (InvalidError, UnavailableError):
        return None
    user = await vcenter.addresses.user_of(str(address), network=network, claimant=claimant)
    if user is None:
        return None
    return AddressConflict(
        address=address, used_by=user, account=account, network=network, since=env.clock.now()
    )


async def still_used(env: Env, conflict: AddressConflict) -> AddressConflict | None:
    """Look again at a conflict; returns it as it is now, ``None`` when it is over."""
    if conflict.account is None or conflict.network is None:
        user = await who_answers(conflict.address)
    else:
        vcenter = env.accounts.get(conflict.account)
        if vcenter is None or not vcenter.addresses.can_tell:
            return conflict
        user = await vcenter.addresses.user_of(str(conflict.address), network=conflict.network)
    return None if user is None else conflict.model_copy(update={"used_by": user})
