"""The short set: 25 lives that meet every kind of point in every step; ``make faults`` has more."""

import random
from itertools import zip_longest
from pathlib import Path

import pytest

from tests.faults.conftest import Place
from tests.faults.judge import Strangers, Verdict, Witness, judge, judge_sessions
from tests.faults.kills import Kill, Step, Victim, all_kills, into_lives
from tests.faults.lives import Chances, Killing, Plan, await_nothing, await_ready, live
from tests.faults.points import Board, Point
from tests.faults.site import Site

LIVES = 25
_FIRST = {Point.VCENTER_BEFORE: 3, Point.API_SERVER_BEFORE: 8, Point.COMMIT_BEFORE: 12}
"""A passage that each step comes to surely is at most this one."""


def _short_set() -> list[Plan]:
    """Return lives that kill each process, and both, at each kind of point in each step."""
    chance = random.Random(22)  # noqa: S311 - the same lives every time
    census = {
        step: {
            "gateway": {point: 1 for point in Point if not _has_none(step, point)},
            "hub": dict.fromkeys((Point.COMMIT_BEFORE, Point.COMMIT_AFTER), 1),
        }
        for step in Step
    }
    kinds = all_kills(census)
    by_step = [[kind for kind in kinds if kind.step is step] for step in Step]
    lives: list[Plan] = [
        Killing(tuple(_at_some_passage(kind, chance) for kind in dealt if kind), (0, 1, 0))
        for dealt in zip_longest(*by_step)
    ]
    return [*lives, *(Chances(seed) for seed in range(1, LIVES + 1 - len(lives)))]


def _has_none(step: Step, point: Point) -> bool:
    return step is Step.DELETE and point in (Point.API_SERVER_BEFORE, Point.API_SERVER_AFTER)


def _at_some_passage(kind: Kill, chance: random.Random) -> Kill:
    most = _FIRST[Point(kind.point - kind.point % 2)]
    return Kill(kind.step, kind.victim, kind.point, chance.randint(1, most))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("plan", _short_set(), ids=lambda plan: plan.name)
def test_nothing_is_doubled_lost_or_left_whatever_dies(place: Place, plan: Plan) -> None:
    told: list[str] = []

    found = live(place.get(), plan, told.append)

    if not found.is_clean:
        place.leave()
    assert found.is_clean, "\n".join([*told, f"again: python -m tests.faults {plan.replay}"])
    if isinstance(plan, Killing):
        assert found.kills, "nothing has died, so that nothing was shown"


def test_the_short_set_meets_every_kind_of_point() -> None:
    lives = _short_set()
    met = {(kill.step, kill.victim, kill.point)
           for life in lives if isinstance(life, Killing) for kill in life.kills}  # fmt: skip

    assert len(lives) == LIVES
    assert met == {
        (step, victim, point)
        for step in Step
        for victim in Victim
        for point in Point
        if not (_has_none(step, point) or (victim.first == "hub" and point < Point.COMMIT_BEFORE))
    }


def test_a_kill_can_be_told_and_read_again() -> None:
    kill = Kill(Step.UP, Victim.GATEWAY_FIRST, Point.COMMIT_AFTER, 17)

    assert str(kill) == "up:gateway+hub:COMMIT_AFTER:17"
    assert Kill.parse(str(kill)) == kill
    with pytest.raises(ValueError, match="is not STEP:VICTIM:POINT:PASSAGE"):
        Kill.parse("up:COMMIT_AFTER:17")


def test_lives_take_every_kill_once() -> None:
    census = {step: {"gateway": {Point.COMMIT_BEFORE: number}, "hub": {Point.COMMIT_AFTER: 1}}
              for number, step in enumerate(Step)}  # fmt: skip
    kills = all_kills(census)

    lives = into_lives(kills, random.Random(1))  # noqa: S311 - any order

    dealt = [kill for life in lives for kill in life]
    assert sorted(map(str, dealt)) == sorted(map(str, kills))
    assert len(set(dealt)) == len(kills) == 2 * (0 + 1 + 2 + 3) + 2 * 4
    assert all(len({kill.step for kill in life}) == len(life) for life in lives)


def test_a_board_tells_what_was_reached(tmp_path: Path) -> None:
    board, same = Board(tmp_path / "board"), Board(tmp_path / "board")
    board.pass_by(Point.COMMIT_BEFORE)
    board.arm(Point.COMMIT_BEFORE, 2)
    board.arm(Point.COMMIT_AFTER, 1)
    same.pass_by(Point.COMMIT_BEFORE)
    assert board.state() == (2, 0)

    board.arm(Point.VCENTER_AFTER, 0)
    assert board.state() == (2, 0), "the passage before this one is no death"
    board.disarm()
    assert board.state() == (0, 0)
    assert same.passed()[Point.COMMIT_BEFORE] == 2


@pytest.mark.timeout(900)
def test_the_judge_sees_what_is_left_lost_and_touched(tmp_path: Path) -> None:
    with Site.start(tmp_path) as site:
        control, before, strangers = site.vcenter.control, Witness.look(site), Strangers(site)
        site.apply("left", 0)
        await_ready(site, "left", 1)
        strangers.appear("left")
        foreign, copy, restored = strangers.seen
        control.clone_vm(min(site.nodes().values()), "left-behind")
        control.destroy_vm(foreign)
        control.rename_vm(copy, "touched")
        (site.gateway.data / "left.tmp").touch()
        site.ask("clusters", "delete", "left", "--yes")
        await_nothing(site, before)
        found, told = Verdict(), list[str]()

        judge(site, found, told, strangers, before)
        ended = Verdict()
        judge_sessions(site, ended, told)
        passed = {side.name: side.board.passed() for side in (site.hub, site.gateway)}

    assert all(passed["gateway"].values()), "a point that is never passed kills nobody"
    assert passed["hub"][Point.COMMIT_BEFORE] >= passed["hub"][Point.COMMIT_AFTER] > 0
    assert restored in strangers.seen
    assert ended.is_clean, told
    assert found.leaks == len(told)
    assert told[:4] == [
        "LEAK lost: left-workers-0123456789, which was not ours to touch",
        "LEAK changed: copy of a node of left, which was not ours to touch",
        "LEAK left: gateway file left.tmp",
        "LEAK left: vCenter file [ds1] left-behind/left-behind.vmdk",
    ]
    assert told[4:] == ["LEAK left: vCenter vms /dc1/vm/clusters/left-behind"]
