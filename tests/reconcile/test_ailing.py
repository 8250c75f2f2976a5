"""Two vCenters in one gateway, of which one no longer answers in time."""

import threading
from pathlib import Path

from moorage.resources import CloudAccount, Machine
from moorage.vsphere import Limits
from moorage_lab.api import VCenterProcess
from tests.builders import a_cluster, an_ip_pool
from tests.reconcile.conftest import World
from tests.reconcile.test_machines import powered_on, reason

SLOW = (
    "RetrievePropertiesEx",
    "CloneVM_Task",
    "PowerOnVM_Task",
    "FindByUuid",
    "CurrentTime",
    "CreatePropertyCollector",
    "RetrieveContent",
)


async def test_an_ailing_vcenter_holds_up_its_own_machines_only(
    vcenter: VCenterProcess, tmp_path: Path
) -> None:
    limits = Limits(slow_s=2.0, read_s=5.0, effect_s=5.0)
    with VCenterProcess.start() as other:
        async with World.running(vcenter, tmp_path, limits=limits) as world:
            await world.ask_account("well")
            await world.ask_account("ill", other)
            await world.until(
                CloudAccount,
                lambda found: len(found) == 2 and all(one.status.is_true("Ready") for one in found),
                "both accounts are ready",
            )
            threads = threading.active_count()
            for method in SLOW:
                other.control.fault(method, "delay", count=-1, seconds=60)
            await world.ask(an_ip_pool(end="10.77.1.90"))
            for name in ("a", "b", "c", "d"):
                await world.ask_cluster(a_cluster(f"ill-{name}", account="ill"))
            await world.until(
                CloudAccount,
                lambda found: (
                    {reason(one, "Responsive") for one in found} == {"Done", "VCenterAiling"}
                ),
                "only the ill one is said to ail",
            )
            assert threading.active_count() <= threads + limits.calls + 8, "threads do not pile up"

            await world.ask_cluster(
                a_cluster("well", account="well", control_plane={"replicas": 3})
            )
            await world.until(
                Machine,
                lambda found: powered_on(3)([one for one in found if one.spec.account == "well"]),
                "the other vCenter's machines are made",
            )
            assert [vm for vm in other.control.inventory()["vms"] if not vm["template"]] == []

            other.control.clear_faults()
            await world.until(Machine, powered_on(7), "nothing is lost when it answers again")
            await world.until(
                CloudAccount,
                lambda found: all(one.status.is_true("Ready") for one in found),
                "both accounts are ready again",
            )
