"""Level-triggered reconciliation: queue, leases, steps, and the store as a port."""

from moorage.engine.controller import Controller, Watch
from moorage.engine.lease import HeldLease
from moorage.engine.manager import Manager, NotSettledError
from moorage.engine.step import (
    DONE,
    Context,
    Done,
    Outcome,
    Reconciler,
    Result,
    Step,
    StepReconciler,
    Wait,
    key_of,
    split_key,
    step,
    wait,
)
from moorage.engine.store import (
    RESYNC,
    Change,
    Changes,
    Lease,
    LeaseLostError,
    QueueDepth,
    Store,
    Tombstone,
)
from moorage.engine.tenure import Tenure

__all__ = [
    "DONE",
    "RESYNC",
    "Change",
    "Changes",
    "Context",
    "Controller",
    "Done",
    "HeldLease",
    "Lease",
    "LeaseLostError",
    "Manager",
    "NotSettledError",
    "Outcome",
    "QueueDepth",
    "Reconciler",
    "Result",
    "Step",
    "StepReconciler",
    "Store",
    "Tenure",
    "Tombstone",
    "Wait",
    "Watch",
    "key_of",
    "split_key",
    "step",
    "wait",
]
