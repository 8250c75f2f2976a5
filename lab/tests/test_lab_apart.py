"""The witness shares no code with the accused."""

import ast
from pathlib import Path

LAB = Path(__file__).resolve().parent.parent


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def test_the_lab_imports_nothing_of_the_product() -> None:
    files = [*LAB.rglob("*.py")]

    assert len(files) > 30
    assert [str(path) for path in files if "moorage" in imported(path)] == []
