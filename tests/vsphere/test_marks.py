"""The epoch of a cluster, read from its VMs' marks: from memory only where that is new enough."""

from moorage.kit.ids import new_uid
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
