"""The command as a process: a terminal, a pipe, Ctrl-C, completion, and how soon help comes."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from cyclopts import App

from moorage.cli.main import app, run
from tests.cli.world import World, a_document

MOORAGE = [sys.executable, "-c", "from moorage.cli.main import main; main()"]
TIMEOUT_S = 60


def a_process(world: World, *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*MOORAGE, *words],
        env=world.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )


def on_a_terminal(world: World, *words: str, columns: int = 120, until: str = "") -> str:
    """Run the CLI on a terminal and return all that it drew."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {k: v for k, v in world.environment().items() if k not in ("COLUMNS", "LINES", "CI")}
    process = subprocess.Popen(
        [*MOORAGE, *words], env={**env, "TERM": "xterm"}, stdin=slave, stdout=slave, stderr=slave
    )
    os.close(slave)
    drawn = b""
    end = time.monotonic() + TIMEOUT_S
    while time.monotonic() < end:
        if select.select([master], [], [], 0.1)[0]:
            try:
                drawn += os.read(master, 65536)
            except OSError:
                break
        if until and until in drawn.decode(errors="replace"):
            process.send_signal(signal.SIGINT)
            until = ""
        if process.poll() is not None and not select.select([master], [], [], 0.1)[0]:
            break
    os.close(master)
    process.wait(TIMEOUT_S)
    return drawn.decode()


def test_ctrl_c_says_that_the_hub_goes_on(site: World) -> None:
    file = site.file("demo.yaml", a_document())
    process = a_process(site, "clusters", "apply", "-f", file, "--wait")
    assert process.stderr is not None
    while "nodes Ready" not in process.stderr.readline():
        assert process.poll() is None

    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=TIMEOUT_S)

    assert process.returncode == 130
    assert "interrupted: what was asked for goes on at the hub" in err
    assert "Traceback" not in out + err


def test_a_terminal_gets_a_table_and_a_live_view(site: World) -> None:
    file = site.file("demo.yaml", a_document())
    site.ok("clusters apply -f", file)
    machine = site.machine()
    site.condition(machine, "False", "Cloning", "vCenter task task-7")

    table = on_a_terminal(site, "clusters", "list")
    live = on_a_terminal(
        site, "clusters", "apply", "-f", file, "--wait", until="vCenter task task-7"
    )

    assert "\x1b[1m" in table
    table, live = (re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn) for drawn in (table, live))
    assert re.search(r"NAME +STATE +VERSION", table)
    assert re.search(r"cluster demo +\d+ s +Pending, 0 of 2 nodes Ready", live)
    assert re.search(rf"{machine.metadata.name} +Cloning +\d+ s +vCenter task task-7", live)
    assert "interrupted" in live


def test_errors_and_progress_stay_out_of_stdout(world: World) -> None:
    world.log_in()
    world.hub.stop()
    process = a_process(world, "clusters", "list")
    out, err = process.communicate(timeout=TIMEOUT_S)

    assert process.returncode == 1
    assert out == ""
    assert err.startswith(f"error: {world.hub.url} does not answer")


def test_a_reader_that_leaves_is_no_error(world: World) -> None:
    world.log_in()
    shell = " ".join(f"'{word}'" for word in MOORAGE)

    done = subprocess.run(
        ["bash", "-c", f"{shell} audit list | true; {shell} audit list | head -c 1"],
        env=world.environment(), capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip

    assert done.stdout == "["
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


def test_help_and_version_load_nothing_that_they_do_not_need() -> None:
    code = (
        "import sys; from moorage.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "finally:\n"
        "  heavy = {'pydantic', 'httpx2', 'cryptography', 'yaml', 'anyio', 'pygments'}\n"
        "  assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    for words in (["--version"], ["clusters", "--help"], ["clusters", "create", "--help"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *words],
            capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


def test_completion_is_installed_for_each_shell(tmp_path: Path) -> None:
    for shell, place in (("bash", "bash-completion"), ("zsh", ".zsh"), ("fish", "fish")):
        home = tmp_path / shell
        home.mkdir()
        done = subprocess.run(
            [*MOORAGE, "--install-completion", "--shell", shell],
            env={"HOME": str(home), "PATH": os.environ["PATH"], "SHELL": f"/bin/{shell}"},
            capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        files = [path for path in home.rglob("*moorage*") if path.is_file()]
        assert files, f"{shell}: nothing in {place}"
        text = "".join(path.read_text() for path in files)
        assert "kubeconfig" in text
        assert "support-bundle" in text


def test_every_command_has_help_with_an_example() -> None:
    for name, command in _commands():
        assert command.help, name
        if command.default_command is None:
            continue
        epilogue = command.help_epilogue or ""
        assert epilogue.startswith("Examples:\n"), name
        assert f"moorage {name}" in epilogue, name


def _commands() -> list[tuple[str, App]]:
    found = []
    for name in app:
        if name.startswith("-"):
            continue
        group = app[name]
        found.append((name, group))
        found += [(f"{name} {word}", group[word]) for word in group if not word.startswith("-")]
    assert len(found) > 40
    return found


@pytest.mark.parametrize("words", [[], ["clusters"], ["clusters", "apply", "--help"]])
def test_help_is_shown_where_no_command_is_given(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 0
    assert capsys.readouterr().out.startswith("Usage: moorage")
