"""A few seeded runs with every change; ``make faults`` does hundreds."""

from pathlib import Path

import pytest

from tests.faults.runs import Verdict, await_nothing, await_ready, judge, run_all
from tests.faults.site import Site

RUNS, SEED = 6, 3


@pytest.mark.timeout(240)
def test_nothing_is_doubled_lost_or_left_whatever_dies() -> None:
    told: list[str] = []

    total = run_all(RUNS, SEED, logs="", say=told.append)

    assert total.is_clean, "\n".join(told)
    assert total.runs == RUNS
    assert total.kills >= 3, "too little has died to prove anything"


@pytest.mark.timeout(120)
def test_the_judge_sees_what_is_left_and_what_is_lost(tmp_path: Path) -> None:
    with Site.start(tmp_path) as site:
        site.apply("left", 0)
        await_ready(site, "left", 1)
        site.vcenter.control.clone_vm(next(iter(site.morefs().values())), "left-behind")
        site.ask("clusters", "delete", "left", "--yes")
        await_nothing(site, "left")
        found, told = Verdict(), []

        judge(site, found, told, strangers={"no-such-uuid": "somebody's own"})

    assert found.leaks == 2
    assert [one for one in told if one.startswith("LEFT")] == [
        "LEFT VM left-behind",
        "LEFT lost: somebody's own, which was not ours to touch",
    ]
