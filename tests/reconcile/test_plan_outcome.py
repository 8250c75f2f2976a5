"""Over random inventories and documents, what a plan says is what comes."""

from pathlib import Path

import pytest

from tests.reconcile.plan_cases import live


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_the_outcome_is_the_plan(seed: int, tmp_path: Path) -> None:
    told = await live(seed, tmp_path)

    assert told.wrong == []
    assert told.plans == 3
