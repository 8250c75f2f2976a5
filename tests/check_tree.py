"""What linters do not see: sizes of modules, links in docs, addresses in locks, the OpenAPI file.

Run by ``make check``; prints every fault and exits with 1 when there is one.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from conformance.assumptions import BY_HAND, CHECKED  # noqa: E402

MAX_LINES = 400
MAX_BYTES = 1 << 20
LINK = re.compile(r"\[[^\]]*\]\((?!https?://|mailto:)([^)#\s]+)")
ADDRESS = re.compile(r"https?://")


def tracked(*patterns: str) -> list[Path]:
    output = subprocess.run(
        ["git", "ls-files", "--", *patterns], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    return [ROOT / line for line in output.splitlines() if (ROOT / line).is_file()]


def long_modules() -> Iterator[str]:
    for path in tracked("src/**/*.py", "lab/**/*.py", "lab/**/*.go"):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > MAX_LINES and not path.name.endswith("_test.go"):
            yield f"{path.relative_to(ROOT)} has {lines} lines: split it (at most {MAX_LINES})"


def large_files() -> Iterator[str]:
    for path in tracked("*"):
        if (size := path.stat().st_size) > MAX_BYTES:
            yield f"{path.relative_to(ROOT)} has {size} bytes: what is built does not belong here"


def broken_links() -> Iterator[str]:
    for path in tracked("*.md", "docs/**/*.md"):
        for target in LINK.findall(path.read_text(encoding="utf-8")):
            if not (path.parent / target).exists():
                yield f"{path.relative_to(ROOT)} links to {target}, which is not there"


def addresses_in_locks() -> Iterator[str]:
    for path in tracked("requirements/*", "*.lock"):
        if ADDRESS.search(path.read_text(encoding="utf-8")):
            yield f"{path.relative_to(ROOT)} holds a download address"


def stale_openapi() -> Iterator[str]:
    code = subprocess.run(
        ["moorage-hub", "openapi"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    committed = (ROOT / "openapi" / "v1.json").read_text(encoding="utf-8")
    if json.loads(code) != json.loads(committed):
        yield "openapi/v1.json differs from the code: run `make openapi`"


def imports_of(path: Path, pattern: str) -> bool:
    return bool(re.search(pattern, path.read_text(encoding="utf-8"), re.MULTILINE))


def shared_code() -> Iterator[str]:
    for path in tracked("src/**/*.py"):
        if imports_of(path, r"^\s*(from|import) moorage_lab"):
            yield f"{path.relative_to(ROOT)} imports the lab"
    for path in tracked("lab/**/*.py"):
        if imports_of(path, r"^\s*(from|import) moorage(\.|\s)"):
            yield f"{path.relative_to(ROOT)} imports the product"


def unknown_assumptions() -> Iterator[str]:
    page = "docs/explanation/unproved.md"
    text = (ROOT / page).read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.*?) \|", text, re.MULTILINE)[1:]
    known = {one.id for one in CHECKED} | BY_HAND.keys()
    for row in rows:
        if row.strip("`") not in known:
            yield (
                f"{page}: a row begins with {row[:40]!r} and not with an id: give it one, and add "
                "the id to conformance/assumptions.py (BY_HAND, with the reason, will do)"
            )
    for one in sorted(known - {row.strip("`") for row in rows}):
        yield f"{page} has no row for {one}, which conformance/assumptions.py knows"


def main() -> int:
    checks = (
        long_modules,
        large_files,
        broken_links,
        addresses_in_locks,
        stale_openapi,
        shared_code,
        unknown_assumptions,
    )
    faults = [fault for check in checks for fault in check()]
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
