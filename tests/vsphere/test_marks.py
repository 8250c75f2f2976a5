"""The epoch of a cluster, read from its VMs' marks: from memory only where that is new enough."""

import anyio

from moorage.kit.errors import UnavailableError
from moorage.kit.ids import new_uid
from moorage.vsphere import Limits, VCenter
from tests.vsphere.harness import TARGET, Site, a_mark, a_request, clone_and_wait, until


async def test_a_higher_epoch_is_seen_and_old_memory_is_not_believed(site: Site) -> None:
    cluster = new_uid()
    ours, theirs = await site.connect(), await site.connect()
    target = await ours.resolve(TARGET)
    uid = new_uid()
    mark = a_mark(uid, instance_uuid=uid, epoch=1, cluster=cluster)
    vm = await clone_and_wait(ours, a_request(target, uid=uid, mark=mark))
    await until(lambda: theirs.marks.of_cluster(cluster))
    assert await ours.marks.highest_epoch(cluster, max_age_s=60) == 1
    assert await ours.marks.highest_epoch(new_uid(), max_age_s=0) == 0

    site.process.control.reset_counters()
    assert await ours.marks.highest_epoch(cluster, max_age_s=-1) == 1
    assert site.calls()["RetrievePropertiesEx"] == 1, "all marks are read in one call"
    higher = a_mark(uid, instance_uuid=uid, epoch=2, cluster=cluster)
    await theirs.set_identity(theirs.marks.of_cluster(cluster)[0], higher)

    await until(lambda: ours.marks.highest_seen(cluster) == 2)
    assert ours.marks.shows(vm.moref, higher)
    assert not ours.marks.shows(vm.moref, mark)


async def _clusters(site: Site, vcenter: VCenter, count: int) -> list[str]:
    """Make that many clusters of one VM each."""
    target = await vcenter.resolve(TARGET)
    clusters = [new_uid() for _ in range(count)]
    for cluster in clusters:
        uid = new_uid()
        mark = a_mark(uid, instance_uuid=uid, epoch=1, cluster=cluster)
        await clone_and_wait(vcenter, a_request(target, uid=uid, mark=mark))
    return clusters


async def _ask_all(vcenter: VCenter, clusters: list[str]) -> list[int | None]:
    """Ask about all at once; ``None`` where vCenter did not answer."""
    answers: list[int | None] = []

    async def ask(cluster: str) -> None:
        try:
            answers.append(await vcenter.marks.highest_epoch(cluster, max_age_s=-1))
        except UnavailableError:
            answers.append(None)

    async with anyio.create_task_group() as tasks:
        for cluster in clusters:
            tasks.start_soon(ask, cluster)
    return answers


async def test_those_who_ask_at_once_share_a_read(site: Site) -> None:
    vcenter = await site.connect()
    clusters = await _clusters(site, vcenter, 4)
    site.process.control.reset_counters()

    assert await _ask_all(vcenter, clusters * 3) == [1] * 12

    assert site.calls()["RetrievePropertiesEx"] <= 2, "one under way, and one for all who waited"


async def test_a_read_that_fails_is_believed_by_nobody_who_waited_for_it(site: Site) -> None:
    vcenter = await site.connect()
    clusters = await _clusters(site, vcenter, 3)
    site.process.control.fault("RetrievePropertiesEx", "fail", fault="SystemError", count=1)

    answers = await _ask_all(vcenter, clusters)

    assert answers.count(None) == 1, "who made the call hears of it"
    assert answers.count(1) == 2, "the others ask again"


async def test_the_stream_says_often_that_nothing_changed_while_effects_rest_on_it(
    site: Site,
) -> None:
    vcenter = await site.connect(limits=Limits(stream_fresh_s=1))
    await vcenter.marks.highest_epoch(new_uid(), max_age_s=5)  # an effect is near
    await _clusters(site, vcenter, 1)  # ends the wait that was quiet
    returns = vcenter.counters.stream_returns

    await until(lambda: vcenter.counters.stream_returns >= returns + 3)
