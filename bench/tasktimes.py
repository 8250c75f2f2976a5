"""Tasks that take their time, and queue, as in a real vCenter: how near we come to its limits."""

from collections import Counter

from bench.fleet import Fleet
from bench.result import Report
from bench.system import System

CLONE_S, POWER_ON_S, RECONFIGURE_S = 6.0, 2.0, 0.5
TASKS_PER_HOST, TASKS_PER_DATASTORE, CLONES_PER_VCENTER = 4, 32, 16
"""The last one is what Moorage itself allows an account (``vsphere.types.Limits.clones``)."""
MACHINES = 100
RATIO = 1.3


def tasktimes(report: Report) -> None:
    """Add workers to a cluster, and compare with the time that the tasks alone need."""
    with System.start("thin") as system:
        fleet = Fleet(system, report)
        fleet.make(1, 1, 3, case="1 x (1 + 3), before task times")
        hosts = len(system.vcenter.control.inventory()["hosts"])
        system.vcenter.control.set_limits(
            taskSeconds={
                "CloneVM_Task": CLONE_S,
                "PowerOnVM_Task": POWER_ON_S,
                "ReconfigVM_Task": RECONFIGURE_S,
            },
            tasksPerHost=TASKS_PER_HOST,
            tasksPerDatastore=TASKS_PER_DATASTORE,
        )
        case = f"{MACHINES} more workers, real task times"
        cost = fleet.scale("c1-3-0", 4, MACHINES, case=case)
        by_host = MACHINES * (CLONE_S + POWER_ON_S) / (hosts * TASKS_PER_HOST)
        by_datastore = MACHINES * CLONE_S / TASKS_PER_DATASTORE
        by_vcenter = MACHINES * CLONE_S / CLONES_PER_VCENTER
        bound = max(by_host, by_datastore, by_vcenter)
        report.add(case, "lower bound: hosts", by_host, "s")
        report.add(case, "lower bound: the one datastore", by_datastore, "s")
        report.add(case, "lower bound: clones in flight", by_vcenter, "s")
        report.add(case, "time / longest lower bound", cost.seconds / bound, "", RATIO)
        vms = system.vcenter.control.inventory()["vms"]
        load = Counter(vm["host"] for vm in vms if not vm["template"])
        spread = max(load.values()) * hosts / load.total()
        report.add(case, "busiest host / mean", spread, "")
