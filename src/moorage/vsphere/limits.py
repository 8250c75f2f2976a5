"""How gentle we are with a vCenter."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What one account may ask of its vCenter at a time."""

    calls: int = 4
    """Calls in flight, which is also connections: HTTP/1.1 carries one call each."""
    clones: int = 32
    """Clone tasks in flight."""
    clones_per_host: int = 16
    """Of these, on one host: twice the provisioning that vCenter itself does there at a time
    ("vCenter Server Limits on Simultaneous Migrations" in the vSphere documentation: 8). The rest
    wait in its queue, so that the host does not idle till we hear that one has ended."""
    clones_per_datastore: int = 16
    """Of these, to one datastore: likewise twice what vCenter allows of migrations of storage."""
    read_s: float = 30.0
    """Default deadline of a call that changes nothing."""
    effect_s: float = 30.0
    """Default deadline of a call that starts something."""
    slow_s: float = 10.0
    """A call that is not answered by then speaks for a vCenter that ails."""
    stream_wait_s: int = 45
    """How long vCenter holds a quiet ``WaitForUpdatesEx``."""
    stream_fresh_s: int = 2
    """The same while effects rest on what the inventory says. What is known is as old as the last
    request that was answered, which is up to two waits: together less than the fence's 5 s."""
    stream_rate: float = 1.6
    """Returns of the stream a second, on average, when much happens."""
    stream_burst: int = 2
    """Returns that may come faster than that after a quiet time: with the rate these are two a
    second over any five seconds, and still a change after quiet, and its answer, come at once."""
    page: int = 500
    """Objects in one return of the stream."""
    zone_ttl_s: float = 300.0
    """How long the tags of compute clusters and what is above them are taken as still true."""
    template_ttl_s: float = 60.0
    """How long a template's details and a port group's switch are taken as still true."""
