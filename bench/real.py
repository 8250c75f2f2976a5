"""A cluster of 3 + 3 real nodes against a hand-written kubeadm script, in interleaved pairs.

Needs root, as all real nodes do. `make bench-real` gives it a lab of its own (MOORAGE_LAB_NAME,
MOORAGE_LAB_DIR), which it takes down again.
"""

import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import bare
from bench.api import Api
from bench.fleet import is_ready
from bench.result import Report, say
from bench.system import BIN, environment, free_ports, until
from moorage_lab.api import Lab, cluster_document, on_containers
from moorage_lab.places import State

CONTROL_PLANE, WORKERS = 3, 3
PAIRS = 3
RATIO = 1.15
CASE = f"real nodes, {CONTROL_PLANE} + {WORKERS}"
PATIENCE_S = 900.0
_ROOT = Path(__file__).resolve().parent.parent


def real(report: Report) -> None:
    """Measure both, one after the other, each first in turn."""
    if os.geteuid() != 0:
        say(f"{CASE} is left out: real nodes need root")
        return
    times: dict[str, list[float]] = {"Moorage": [], "bare kubeadm": []}
    with _stack() as (lab, folder, url):
        api = Api.login(url, folder / "hub")
        runs = {
            "Moorage": lambda: _moorage(api),
            "bare kubeadm": lambda: _bare(lab),
        }
        report.add_machine(CASE)
        for pair in range(PAIRS):
            for name in sorted(runs, reverse=bool(pair % 2)):
                times[name].append(runs[name]())
                say(f"{CASE}, pair {pair + 1}, {name}: {times[name][-1]:.1f} s")
    for name, measured in times.items():
        report.add(CASE, f"{name}, median of {PAIRS}", statistics.median(measured), "s")
        report.add(CASE, f"{name}, quickest", min(measured), "s")
    ratios = [ours / theirs for ours, theirs in zip(*times.values(), strict=True)]
    report.add(
        CASE, "Moorage / bare kubeadm, median of pairs", statistics.median(ratios), "", RATIO
    )


@contextmanager
def _stack() -> Iterator[tuple[Lab, Path, str]]:
    """Start lab, hub and gateway as the demo does; take all of it down."""
    if State.in_use() is not None:
        raise SystemExit("a lab is up, and would be taken down at the end: use `make bench-real`")
    folder = Path(tempfile.mkdtemp(prefix="moorage-bench-real-"))
    (port,) = free_ports(1)
    os.environ.update(
        MOORAGE_DEMO_HUB_PORT=str(port),
        MOORAGE_CONFIG=str(folder / "cli.yaml"),
        PATH=f"{BIN}:{os.environ['PATH']}",
    )
    gateway = folder / "gateway"
    gateway.mkdir(mode=0o700)
    brake = {"deletionBrake": {"clustersPerHour": 1000, "machinesPerHour": 10000}}
    (gateway / "config.yaml").write_text(json.dumps(brake))
    try:
        _demo_stack("up", folder)
        yield Lab.attach(), folder, f"https://127.0.0.1:{port}"
    finally:
        _demo_stack("down", folder)


def _demo_stack(verb: str, folder: Path) -> None:
    command = [str(_ROOT / "demo" / "stack"), verb, str(folder)]
    done = subprocess.run(
        command, cwd=_ROOT, env=environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"demo/stack {verb} ended with {done.returncode}: {done.stderr[-2000:]}")


def _moorage(api: Api) -> float:
    name = "real"
    document = on_containers(cluster_document(name, control_plane=CONTROL_PLANE, workers=WORKERS))
    begun = time.monotonic()
    api.http.put(f"/v1/projects/default/clusters/{name}", json=document).raise_for_status()
    until(
        lambda: all(is_ready(one, CONTROL_PLANE + WORKERS) for one in api.clusters()),
        "the cluster is Ready", patience_s=PATIENCE_S,
    )  # fmt: skip
    seconds = time.monotonic() - begun
    api.delete(name)
    until(lambda: not api.clusters(), "the cluster is gone", patience_s=PATIENCE_S)
    return seconds


def _bare(lab: Lab) -> float:
    wanted = bare.nodes(CONTROL_PLANE, WORKERS)
    begun = time.monotonic()
    try:
        bare.make(lab, wanted)
        return time.monotonic() - begun
    finally:
        bare.destroy(lab, wanted)
