"""When calls to an ailing vCenter are held back, and when they go on."""

from contextlib import suppress
from dataclasses import dataclass, field

import anyio
import pytest

from moorage.kit.errors import DeferredError
from moorage.vsphere import Limits, State
from moorage.vsphere.breaker import (
    FIRST_PAUSE_S,
    LONGEST_ASKED_S,
    LONGEST_PAUSE_S,
    STRIKES,
    Breaker,
)
from vsphere.harness import Site

pytestmark = pytest.mark.anyio


@dataclass
class Ward:
    """A breaker whose time the test sets."""

    now: float = 100.0
    changes: list[bool] = field(default_factory=list)
    breaker: Breaker = field(init=False)

    def __post_init__(self) -> None:
        self.breaker = Breaker("vc.test", Limits(slow_s=10), self._on_change, now=lambda: self.now)

    def _on_change(self) -> None:
        self.changes.append(self.breaker.is_open)

    def call(self, *, answered: bool, took: float = 0.1) -> None:
        call = self.breaker.begin("try")
        self.now += took
        self.breaker.end(call, answered=answered, why="503 Service Unavailable")

    def is_let_out(self) -> bool:
        try:
            self.breaker.end(self.breaker.begin("try"), answered=None)
        except DeferredError:
            return False
        return True


def opened() -> Ward:
    ward = Ward()
    for _ in range(STRIKES):
        ward.call(answered=False)
    assert ward.changes == [True]
    return ward


async def test_it_is_open_for_as_long_as_vcenter_asks_to_be_left_alone() -> None:
    ward = Ward()
    call = ward.breaker.begin("try")
    ward.breaker.leave_alone(60)
    ward.breaker.end(call, answered=False, why="503 Service Unavailable")

    assert ward.changes == [True]
    assert not ward.is_let_out()
    assert ward.breaker.asked_s == 60
    ward.now += 61
    ward.call(answered=False)
    assert 0 < ward.breaker.probe_in_s <= 2 * FIRST_PAUSE_S, "after that as ever"
    ward.now += 2 * FIRST_PAUSE_S
    ward.call(answered=True)
    assert ward.changes == [True, False]


async def test_nobody_is_left_alone_for_ever() -> None:
    ward = Ward()
    ward.breaker.leave_alone(1e6)

    assert ward.breaker.probe_in_s == LONGEST_ASKED_S


@pytest.mark.parametrize(("answered", "took"), [(False, 0.1), (True, 11.0)])
async def test_failures_and_slow_answers_in_a_row_open_it(*, answered: bool, took: float) -> None:
    ward = Ward()
    for _ in range(STRIKES - 1):
        ward.call(answered=answered, took=took)
    ward.call(answered=True)
    for _ in range(STRIKES - 1):
        ward.call(answered=answered, took=took)
    assert ward.changes == [], "an answer in between counts them anew"

    ward.call(answered=answered, took=took)

    assert ward.changes == [True]
    with pytest.raises(DeferredError, match=r"try: not tried: vCenter vc\.test ails") as caught:
        ward.breaker.check("try")
    assert caught.value.reason == "WaitingForVCenter"


async def test_calls_that_hang_open_it_before_their_deadline() -> None:
    ward = Ward()
    hanging = [ward.breaker.begin("hang") for _ in range(STRIKES)]
    assert ward.is_let_out()

    ward.now += 10

    assert not ward.is_let_out()
    assert "3 calls had no answer within 10 s" in ward.breaker.message
    for call in hanging:
        ward.breaker.end(call, answered=False, why="timeout")


async def test_one_call_at_a_time_probes_with_growing_pauses() -> None:
    ward = opened()
    pauses = []
    for _ in range(6):
        assert not ward.is_let_out()
        pauses.append(ward.breaker.probe_in_s)
        ward.now += ward.breaker.probe_in_s
        probe = ward.breaker.begin("probe")
        assert not ward.is_let_out(), "the probe is out"
        ward.breaker.end(probe, answered=False, why="still not")

    assert pauses == [FIRST_PAUSE_S, 4, 8, 16, LONGEST_PAUSE_S, LONGEST_PAUSE_S]
    ward.now += LONGEST_PAUSE_S
    ward.call(answered=True)
    assert ward.changes == [True, False]
    assert ward.breaker.message == ""
    assert ward.is_let_out()


async def test_a_late_answer_to_an_old_call_does_not_close_it() -> None:
    ward = Ward()
    old = ward.breaker.begin("old")
    for _ in range(STRIKES):
        ward.call(answered=False)

    ward.breaker.end(old, answered=True)

    assert ward.breaker.is_open


async def test_a_probe_that_says_nothing_lets_the_next_one_try() -> None:
    ward = opened()
    ward.now += FIRST_PAUSE_S

    ward.breaker.end(ward.breaker.begin("not sent"), answered=None)

    assert ward.is_let_out()


async def test_a_vcenter_that_hangs_is_left_alone_and_found_well_again(site: Site) -> None:
    """Waiting calls are sent away too, and the threads are those of the calls that are out."""
    limits = Limits(slow_s=1.0, read_s=6.0, effect_s=6.0)
    told: list[None] = []
    vcenter = await site.connect(limits=limits, on_state=lambda: told.append(None))
    told.clear()
    site.process.control.fault("FindByUuid", "delay", count=-1, seconds=3)
    reasons: list[str] = []

    async def look(number: int) -> None:
        try:
            await vcenter.prove_absent(f"00000000-0000-4000-8000-{number:012}")
        except DeferredError as error:
            reasons.append(error.reason)

    async with anyio.create_task_group() as group:
        for number in range(24):
            group.start_soon(look, number)
    assert set(reasons) == {"WaitingForVCenter"}
    assert len(reasons) == 24 - limits.calls, "only those that were out already are waited for"
    assert site.calls()["FindByUuid"] == limits.calls
    assert vcenter.state is State.AILING
    assert "ails" in vcenter.message
    vcenter.check()  # it is connected all the same

    site.process.control.clear_faults()
    with anyio.fail_after(60):
        while vcenter.state is State.AILING:
            with suppress(DeferredError):
                await vcenter.health.ensure_responsive()
            await anyio.sleep(0.2)

    await vcenter.prove_absent("00000000-0000-4000-8000-00000000abcd")
    assert len(told) == 2, "whoever listens was told of both"
