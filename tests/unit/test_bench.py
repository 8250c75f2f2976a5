"""What the benchmarks make of their figures: kept, derived, shown."""

from pathlib import Path

from bench.derived import GROWTH, PEER, derive
from bench.page import PAGE, bars, files
from bench.result import Report, Result, merge, read, table, write

TIME = Result("1 x (1 + 3)", "time", 4.0, "s", 4.5)
CPU = "CPU of hub + gateway a machine"


def test_a_case_that_is_measured_again_replaces_all_its_figures(tmp_path: Path) -> None:
    file = tmp_path / "results" / "latest.json"
    write([TIME, Result("idle", "calls", 1.0, "a minute")], file)
    again = Result(TIME.case, "time of another kind", 5.0, "s", 4.5)
    write(merge([again], read(file)), file)
    assert read(file) == [again, Result("idle", "calls", 1.0, "a minute")]


def test_a_figure_beyond_its_budget_is_marked_and_one_at_it_is_not() -> None:
    report = Report()
    report.add("case", "at it", 5.0, "calls", 5.0)
    report.add("case", "beyond it", 5.04, "calls", 5.0)
    report.add("case", "without one", 99.0, "calls")
    lines = table(report.results).splitlines()
    assert ["EXCEEDED" in line for line in lines] == [False, True, False]
    assert [one.is_kept for one in report.results] == [True, False, True]


def test_growth_is_from_each_size_to_the_next_that_was_measured() -> None:
    found = derive(Result(f"{n} x (1 + 3)", CPU, n / 10, "s") for n in (1, 50))
    grown = [(one.metric, one.value) for one in found if one.case == GROWTH]
    assert grown == [(f"{CPU}, 1 to 50", 50.0)]


def test_an_idle_cluster_may_not_cost_more_where_there_are_more() -> None:
    metric = "API-server calls a cluster"
    found = derive(
        Result(f"idle, {n} clusters", metric, value, "a minute")
        for n, value in ((10, 4.0), (50, 4.1), (200, 6.0))
    )
    assert [one.is_kept for one in found if one.case == GROWTH] == [True, False]


def test_more_than_a_tenth_of_the_peers_figure_is_too_much() -> None:
    found = derive([TIME, Result("50 x (1 + 3)", "time", 91.0, "s")])
    compared = [(one.metric, one.is_kept) for one in found if one.case == PEER]
    assert compared == [("1 x (1 + 3): time", True), ("50 x (1 + 3): time", False)]


def test_the_page_names_what_is_exceeded_and_is_the_same_each_time() -> None:
    results = [TIME, Result("1 x (1 + 3)", CPU, 0.5, "s", 0.3)]
    made = files(results)
    assert made == files(results)
    assert "**0.5 s**" in made[PAGE]
    assert "| 4 s | 4.5 |" in made[PAGE]


def test_a_plot_escapes_its_labels_and_cuts_what_is_far_beyond() -> None:
    drawn = bars("title", [("a < b", 100.0, "much"), ("c", 0.5, "half")])
    assert "a &lt; b" in drawn
    assert 'width="330.0"' in drawn
    assert 'width="82.5"' in drawn
