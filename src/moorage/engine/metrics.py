"""What the engine counts, for Prometheus."""

from collections.abc import Iterable
from datetime import datetime

from prometheus_client import Counter, Gauge, Histogram

from moorage.engine.store import QueueDepth

BUILD = Gauge("moorage_build_info", "1; what runs here.", ["process", "version"])
RECONCILE_SECONDS = Histogram(
    "moorage_reconcile_seconds",
    "Time that one pass over one key took.",
    ["controller", "outcome"],
    buckets=(0.005, 0.02, 0.1, 0.5, 2, 10, 60),
)
QUEUE_DEPTH = Gauge("moorage_queue_depth", "Keys that are due and not leased.", ["controller"])
QUEUE_OLDEST_SECONDS = Gauge(
    "moorage_queue_oldest_seconds", "How long the longest due key has waited.", ["controller"]
)
LEASES_LOST = Counter(
    "moorage_leases_lost", "Passes that ended because another replica took over.", ["controller"]
)


def show_queue(controllers: Iterable[str], depths: Iterable[QueueDepth], now: datetime) -> None:
    """Show what waits; controllers with nothing due are shown as 0."""
    found = {depth.controller: depth for depth in depths}
    for controller in controllers:
        depth = found.get(controller)
        QUEUE_DEPTH.labels(controller).set(depth.due if depth else 0)
        oldest = (now - depth.oldest).total_seconds() if depth else 0.0
        QUEUE_OLDEST_SECONDS.labels(controller).set(oldest)
