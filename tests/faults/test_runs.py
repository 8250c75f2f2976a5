"""A few seeded runs with every change; ``make faults`` does hundreds."""

import pytest

from tests.faults.runs import run_all

RUNS, SEED = 6, 3


@pytest.mark.timeout(240)
def test_nothing_is_doubled_lost_or_left_whatever_dies() -> None:
    told: list[str] = []

    total = run_all(RUNS, SEED, logs="", say=told.append)

    assert total.is_clean, "\n".join(told)
    assert total.runs == RUNS
    assert total.kills >= 3, "too little has died to prove anything"
