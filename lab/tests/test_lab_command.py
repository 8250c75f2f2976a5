"""The command `moorage-lab`, where it needs neither root nor nodes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from moorage_lab import prerequisites
from moorage_lab.api import VCenterProcess
from moorage_lab.places import State

COMMAND = Path(sys.executable).with_name("moorage-lab")


def moorage_lab(*words: str, state: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "MOORAGE_LAB_DIR": str(state), **env},
    )


def test_help_shows_every_command() -> None:
    shown = moorage_lab("--help", state=Path("/nonexistent")).stdout

    for command in ("up", "down", "status", "reset", "exec", "shell", "logs", "forward", "build"):
        assert f" {command} " in shown


@pytest.mark.parametrize(
    "words", [("status",), ("vcenter", "counters"), ("node", "kill", "x"), ("logs", "x")]
)
def test_without_a_lab_the_command_fails_and_says_so(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    ran = moorage_lab(*words, state=tmp_path)

    assert ran.returncode == 1
    assert ran.stdout == ""
    assert "moorage-lab: " in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("words", [("bogus",), ("vcenter", "restart", "--seconds", "x")])
def test_wrong_usage_is_exit_code_2(words: tuple[str, ...], tmp_path: Path) -> None:
    assert moorage_lab(*words, state=tmp_path).returncode == 2


def test_wrong_name_of_a_lab_is_refused(tmp_path: Path) -> None:
    ran = moorage_lab("status", state=tmp_path, MOORAGE_LAB_NAME="moorage-lab-../x")

    assert ran.returncode == 1
    assert "MOORAGE_LAB_NAME" in ran.stderr


def test_vcenter_commands_speak_to_the_control_socket() -> None:
    with VCenterProcess.start() as vc:
        state = vc.ca_file.parent

        counters = json.loads(moorage_lab("vcenter", "counters", "--reset", state=state).stdout)
        inventory = json.loads(moorage_lab("vcenter", "inventory", state=state).stdout)
        faulty = moorage_lab("vcenter", "fault", "Login", "delay", "--seconds", "1", state=state)
        cleared = moorage_lab("vcenter", "fault", "--clear", state=state)
        expired = moorage_lab("vcenter", "expire-sessions", state=state)
        restarted = moorage_lab("vcenter", "restart", "--seconds", "0.1", state=state)

    assert "calls" in counters
    assert inventory["vms"]
    assert [ran.returncode for ran in (faulty, cleared, expired, restarted)] == [0] * 4


def test_lists_are_json_for_scripts(tmp_path: Path) -> None:
    forwards = moorage_lab("forward", "--list", "-o", "json", state=tmp_path)
    nodes = moorage_lab("node", "list", "-o", "json", state=tmp_path)

    assert (json.loads(forwards.stdout), json.loads(nodes.stdout)) == ([], [])


def test_everything_missing_is_said_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(prerequisites, "find_program", lambda _: None)
    state = State(tmp_path / ("long" * 20))

    with pytest.raises(prerequisites.MissingPrerequisitesError) as caught:
        prerequisites.check(state, nodes=True)

    text = str(caught.value)
    for words in ("root", "systemd-container", "dnsmasq-base", "MOORAGE_LAB_DIR", "make test"):
        assert words in text
    assert not state.root.exists()
