"""Dashboard and alert rules ask for what hub and gateway really expose, by names and labels."""

import json
import re
import subprocess
import sys
from typing import Any

import pytest
import yaml

from tests.deploy.chart import CASES, CHART, lab_deploy, one, render

_SHOW = """
import json
from prometheus_client import REGISTRY
from moorage.{process}.service import load
load()
found = {{}}
for collector, names in REGISTRY._collector_to_names.items():
    for name in names:
        found[name] = list(getattr(collector, "_labelnames", ()))
print(json.dumps(found))
"""
OF_PROMETHEUS = {"job", "instance", "le"}
"""Labels that are not the processes' own."""


def exposed(process: str) -> dict[str, list[str]]:
    """Return the labels of each series that a process of ours may show."""
    done = subprocess.run(
        [sys.executable, "-c", _SHOW.format(process=process)],
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((CHART / "files" / "dashboard.json").read_text())
    return found


def of_dashboard() -> list[str]:
    """Return every expression, Grafana's variables filled in."""
    return [
        target["expr"].replace("$__rate_interval", "5m").replace("$job", ".+")
        for panel in dashboard()["panels"]
        for target in panel.get("targets", ())
    ]


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def faults(expressions: list[str], series: dict[str, list[str]]) -> list[str]:
    """Return what the expressions ask for in vain."""
    said = []
    read = lab_deploy("promql", given=json.dumps(expressions))
    for expression, reading in zip(expressions, read, strict=True):
        known: set[str] = set(OF_PROMETHEUS)
        for selector in reading["selectors"]:
            labels = series.get(selector["name"])
            if labels is None:
                said.append(f"nothing exposes {selector['name']}: {expression}")
                continue
            known |= set(labels)
            odd = set(selector["labels"]) - set(labels) - OF_PROMETHEUS
            said += [f"{selector['name']} has no label {label}: {expression}" for label in odd]
        odd = set(reading["grouping"]) - known
        said += [f"no series has a label {label}: {expression}" for label in odd]
    return said


# One test, so that each process's modules are loaded once: 5 s, on a busy machine minutes.
@pytest.mark.timeout(600)
def test_panels_and_alerts_ask_for_what_is_exposed_and_show_all_of_it() -> None:
    series = exposed("hub") | exposed("gateway")
    assert faults(of_dashboard(), series) == []
    assert faults([rule["expr"] for rule in rules()], series) == []

    # A new metric belongs on the dashboard, or nobody looks at it.
    text = " ".join(of_dashboard())
    families = {
        re.sub(r"_(bucket|count|sum|total|created)$", "", name)
        for name in series
        if name.startswith("moorage_")
    }
    assert {name for name in families if name not in text} == set()

    # And what is misspelt would be found.
    wrong = [
        "moorage_queue_dept",
        'moorage_queue_depth{controler="x"}',
        "sum by (servr) (moorage_vcenter_calls_total)",
    ]
    assert len(faults(wrong, series)) == len(wrong)


def test_alerts_say_what_to_do() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert {"summary", "description"} == rule["annotations"].keys()
        for label in re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])):
            assert re.search(rf"by \([^)]*\b{label}\b", rule["expr"]), (rule["alert"], label)


def test_panels_do_not_overlap_and_have_numbers_of_their_own() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_the_chart_carries_both_as_they_are() -> None:
    documents = render(CASES["all of it"])

    assert one(documents, "PrometheusRule")["spec"]["groups"][0]["rules"] == rules()
    shown = one(documents, "ConfigMap", "-dashboard")["data"]["moorage.json"]
    assert json.loads(shown) == dashboard()
