"""The documentation: its commands exist, the tutorial's work, the generated pages are current."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from cyclopts import App

from moorage.cli.main import app as cli
from moorage.gateway.main import app as gateway
from moorage.hub.main import app as hub
from moorage.resources import Cluster, NodePool
from tests.cli.world import RECOVERY, VCENTER_PASSWORD, World, a_document, signing

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [ROOT / "README.md", *ROOT.glob("docs/tutorial/*.md"), *ROOT.glob("docs/howto/*.md")]
)
APPS = {"moorage": cli, "moorage-hub": hub, "moorage-gateway": gateway}
TUTORIAL = ROOT / "docs" / "tutorial" / "first-cluster.md"


def blocks(page: Path, language: str) -> list[str]:
    """Return the code blocks of a page, those in lists too."""
    found = re.findall(
        rf"^( *)```{language}\n(.*?)^ *```$", page.read_text(), re.MULTILINE | re.DOTALL
    )
    return [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, text in found]


def commands(page: Path) -> list[str]:
    """Return the shell commands of a page, one a line."""
    text = "".join(blocks(page, "sh")).replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


def ours(line: str) -> tuple[App, list[str]] | None:
    """Return our command in a line, without pipes, redirections and comments."""
    for part in line.split("|"):
        words = shlex.split(part, comments=True)
        if words and words[0] in APPS:
            end = next((i for i, word in enumerate(words) if word.startswith(">")), len(words))
            return APPS[words[0]], words[1:end]
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_page_exists(page: Path) -> None:
    found = [command for line in commands(page) if (command := ours(line))]
    for app, words in found:
        inner = words
        if app is cli:  # options that stand before every command are the outer app's
            _, bound, _ = cli.meta.parse_args(words, exit_on_error=False, print_error=False)
            inner = [str(token) for token in bound.args]
        app.parse_args(inner, exit_on_error=False, print_error=False)
    assert found or not commands(page)  # a page about the browser has none


def test_the_documents_of_the_pages_are_valid(site: World) -> None:
    for page in PAGES:
        for text in blocks(page, "yaml"):
            document = yaml.safe_load(text)
            if document.get("kind") == "Cluster":
                site.ok("clusters apply --dry-run -f", site.file("page.yaml", text))
            if document.get("kind") == "IPPool":
                site.ok("ippools apply -f -", stdin=text.replace("10.0.4.", "10.77.9.").replace(
                    "name: nodes", "name: other"))  # fmt: skip


def test_the_commands_of_the_tutorial_work(
    site: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Run them in order; what waits for real nodes is left to the end-to-end tests."""
    monkeypatch.chdir(tmp_path)
    (second,) = blocks(TUTORIAL, "yaml")
    Path("second.yaml").write_text(second)
    site.ok("clusters apply -f", site.file("demo.yaml", a_document()))
    ran = 0
    for line in commands(TUTORIAL):
        if "moorage " not in line or (command := ours(line)) is None:
            continue
        words = [word for word in command[1] if word != "--wait"]
        ran += 1
        if line.startswith("sed"):
            told = site.refused("", *words, code=2, stdin=second.replace(": lab", ": nobody"))
            assert "spec.account: there is no account nobody" in told
        elif "kubeconfig" in words:
            site.condition(site.get(Cluster, "second", "default"), "True", "Done",
                           endpoint="10.77.1.11:6443")  # fmt: skip
            with site.answering(signing()):
                site.ok("", *words)
        else:
            site.ok("", *words, stdin="second\n", tty=True)
    assert ran >= 12
    assert site.get(Cluster, "second", "default").is_deleting
    assert site.get(NodePool, "demo-workers", "default").spec.replicas == 2


def test_the_recovery_key_opens_what_the_page_says(site: World) -> None:
    (script,) = blocks(ROOT / "docs" / "howto" / "recovery-key.md", "python")
    path = site.file("open_secrets.py", script)
    recovery = str(site.folder / RECOVERY)

    done = subprocess.run(
        [sys.executable, path, str(site.hub.data / "hub.db"), recovery],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert done.stdout == f"== Secret lab\n{VCENTER_PASSWORD}\n"


def test_the_program_of_the_python_page_runs(site: World) -> None:
    site.ok("clusters apply -f", site.file("demo.yaml", a_document()))
    site.ready(site.get(Cluster, "demo", "default"), endpoint="10.77.1.10:6443")
    site.ready(site.get(NodePool, "demo-workers", "default"), ready=1)
    key = site.ok("apikeys create program").out.strip()
    program = "".join(blocks(ROOT / "docs" / "howto" / "python-client.md", "python"))
    environment = {"HUB": site.hub.url, "HUB_CA": str(site.ca), "HUB_KEY": key}

    done = subprocess.run(
        [sys.executable, site.file("program.py", program)],
        env={**os.environ, **environment},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    for line in (
        "v1.34.4 10.77.1.10:6443",
        "demo-workers 1",
        "ready at 10.77.1.10:6443",
        "ADDED demo",
        "409 /problems/conflict",
        "somebody else was faster",
        "spec.failureDomains[0]: ",
    ):
        assert line in done.stdout, line
    assert site.get(NodePool, "demo-workers", "default").spec.replicas == 2
