"""The committed table of privileges is what pyVmomi says, and the tables know what clients call."""

import importlib.util
from pathlib import Path
from types import ModuleType

from moorage_lab.places import lab_dir

FOLDER = Path(lab_dir()) / "vcenter/internal/authz"


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", FOLDER / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_is_that_of_pyvmomi() -> None:
    committed = (FOLDER / "methods.tsv").read_text().splitlines()

    assert generator().method_lines() == committed, "run generate.py again, and read what changed"
