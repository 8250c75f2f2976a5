"""systemd units and the container image's definition: as far as they can be judged unbuilt."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.deploy.chart import CASES, ROOT, pods, render

UNITS = ROOT / "deploy" / "systemd"
CONTAINERFILE = (ROOT / "deploy" / "image" / "Containerfile").read_text()
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="no systemd-analyze"
)


@pytest.fixture(params=["moorage-hub", "moorage-gateway"])
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Write the unit as it would be installed where these tests run."""
    name = f"{request.param}.service"
    text = (UNITS / name).read_text()
    file = tmp_path / name
    file.write_text(text.replace("/opt/moorage/bin", str(Path(sys.executable).parent)))
    return file


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, check=False
    )


@needs_systemd
def test_systemd_understands_the_unit(unit: Path) -> None:
    done = analyze("verify", "--man=no", "--recursive-errors=no", str(unit))

    ours = [line for line in done.stderr.splitlines() if unit.name in line]
    assert (done.returncode, ours) == (0, [])


@needs_systemd
def test_systemd_finds_little_exposed(unit: Path) -> None:
    done = analyze("security", "--offline=true", "--threshold=20", "--no-pager", str(unit))

    assert done.returncode == 0, done.stdout + done.stderr


def test_a_damaged_database_is_not_started_again_and_again(unit: Path) -> None:
    from moorage.kit.process import DAMAGED_STORE  # noqa: PLC0415 - beside its use

    assert f"RestartPreventExitStatus={DAMAGED_STORE}\n" in unit.read_text()


_REFUSE = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
# PR_SET_MDWE: memory never becomes executable; stays so over exec, as MemoryDenyWriteExecute= does.
if libc.prctl(65, 1, 0, 0, 0):
    sys.exit(77)
os.execv(sys.executable, [sys.executable, "-c", sys.argv[1]])
"""
_HUB = """
from moorage.hub.service import load
load()
from moorage.auth import hash_password
import psycopg
hash_password("as the hub hashes it")
print("works")
"""
_GATEWAY = "from moorage.gateway.service import load; load(); print('works')"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("code", [_HUB, _GATEWAY], ids=["hub", "gateway"])
def test_the_libraries_need_no_writable_code(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _REFUSE, code], capture_output=True, text=True, check=False
    )
    if done.returncode == 77:
        pytest.skip("this kernel does not know PR_SET_MDWE")

    assert done.stdout == "works\n", done.stderr


def test_the_image_has_what_the_chart_runs() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    users = re.findall(r"^USER (\d+):(\d+)$", CONTAINERFILE, re.MULTILINE)
    for case in CASES.values():
        for pod in pods(render(case)):
            security = pod["spec"]["securityContext"]
            assert users == [(str(security["runAsUser"]), str(security["runAsGroup"]))]
            for container in pod["spec"]["containers"]:
                assert container["command"][0] in scripts


def test_the_image_copies_what_is_there() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", CONTAINERFILE, re.MULTILINE)

    assert copied
    for sources in copied:
        for source in sources.split():
            assert (ROOT / source).exists(), source


def test_versions_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    chart = yaml.safe_load((ROOT / "deploy" / "helm" / "moorage" / "Chart.yaml").read_text())

    assert chart["appVersion"] == project["version"]
    assert f"moorage:{project['version']}" in CONTAINERFILE


def test_the_image_installs_what_the_tests_ran_with() -> None:
    def pins(name: str) -> dict[str, str]:
        text = (ROOT / "requirements" / name).read_text()
        return dict(re.findall(r"^([a-z0-9._-]+)==([^ ;\\]+)", text, re.MULTILINE))

    tested, installed = pins("dev.lock"), pins("run.lock")
    assert {name: tested.get(name) for name in installed} == installed
