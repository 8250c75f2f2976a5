"""Everything that is said to a vCenter is of the oldest release's API: newer ones speak it too.

Read from the source: types and their fields, methods, and paths of properties.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import pbm, vim, vmodl
from pyVmomi.SoapAdapter import SoapResponseDeserializer, SoapStubAdapter
from pyVmomi.VmomiSupport import IsChildVersion, parentMap

import moorage.vsphere
from moorage.vsphere.inventory import Inventory
from moorage.vsphere.places import PATHS
from moorage.vsphere.policies import WIRE_VERSION as POLICY_VERSION
from moorage.vsphere.tasks import PATHS as TASK_PATHS
from moorage.vsphere.types import OWNER_KEY
from moorage.vsphere.wire import WIRE_VERSION

SOURCES = sorted(Path(moorage.vsphere.__file__).parent.glob("*.py"))
ROOTS: dict[str, Any] = {"pbm": pbm, "vim": vim, "vmodl": vmodl}
ASKED = (  # the managed objects that methods are called on
    vim.AuthorizationManager,
    vim.ClusterComputeResource,
    vim.Datacenter,
    vim.Datastore,
    vim.Folder,
    vim.HostSystem,
    vim.HttpNfcLease,
    vim.OvfManager,
    vim.ResourcePool,
    vim.SearchIndex,
    vim.ServiceInstance,
    vim.SessionManager,
    vim.Task,
    vim.VirtualMachine,
    vim.view.ListView,
    vim.view.ViewManager,
    vmodl.query.PropertyCollector,
    pbm.ServiceInstance,
    pbm.placement.PlacementSolver,
    pbm.profile.ProfileManager,
)


def is_spoken(version: str) -> bool:
    return any(IsChildVersion(one, version) for one in (WIRE_VERSION, POLICY_VERSION))


def _root(node: ast.AST) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


class Source:
    """One module: what its names of pyVmomi's stand for."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self.tree = ast.parse(path.read_text(encoding="utf-8"))
        self.modules = {
            (alias.asname or alias.name).partition(".")[0]
            for node in ast.walk(self.tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        self.known = {**ROOTS, "Collector": vmodl.query.PropertyCollector}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Assign) and len(node.targets) == 1:
                target = node.targets[0]
                if isinstance(target, ast.Name) and (found := self.find(node.value)) is not None:
                    self.known[target.id] = found

    def find(self, node: ast.AST) -> Any:
        """Return what an expression such as ``vim.vm.CloneSpec`` means, if it is one of these."""
        if isinstance(node, ast.Name):
            return self.known.get(node.id)
        if isinstance(node, ast.Attribute):
            return getattr(self.find(node.value), node.attr, None)
        return None

    def types(self) -> Iterator[Any]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Attribute) and isinstance(found := self.find(node), type):
                yield found

    def fields(self) -> Iterator[tuple[Any, str]]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call) and isinstance(found := self.find(node.func), type):
                for keyword in node.keywords:
                    if keyword.arg:
                        yield found, keyword.arg

    def methods(self) -> Iterator[str]:
        """Yield what looks like a method of the API: only these begin with a capital letter."""
        for node in ast.walk(self.tree):
            if not isinstance(node, ast.Attribute) or not re.match("[A-Z][a-z]", node.attr):
                continue
            own = any(
                hasattr(one, node.attr) for one in (SoapStubAdapter, SoapResponseDeserializer)
            )
            is_ours = _root(node) in self.modules or own
            if self.find(node) is None and not is_ours:
                yield node.attr


@pytest.fixture(params=SOURCES, ids=lambda path: path.name)
def source(request: pytest.FixtureRequest) -> Source:
    return Source(request.param)


def test_the_oldest_release_is_the_one_spoken() -> None:
    assert WIRE_VERSION in parentMap
    assert is_spoken(vim.vm.CloneSpec._version)
    (newer,) = (
        one for one in vim.vm.CloneSpec._GetPropertyList() if one.name == "tpmProvisionPolicy"
    )
    assert not is_spoken(newer.version), "it came with 8.0: or else this test could not fail"


def test_the_gateways_process_has_the_types_of_what_it_speaks() -> None:
    """It leaves out those of other services: see ``moorage.gateway.service.load``."""
    program = (
        "from moorage.gateway.service import load; load();"
        "from pyVmomi.VmomiSupport import parentMap;"
        f"assert {WIRE_VERSION!r} in parentMap and {POLICY_VERSION!r} not in parentMap;"
        "from moorage.vsphere.policies import _types; pbm = _types();"
        f"assert {POLICY_VERSION!r} in parentMap;"
        "from pyVmomi import vim;"
        "from pyVmomi.SoapAdapter import Serialize, Deserialize;"
        "asked = pbm.profile.ResourceType(resourceType='STORAGE');"
        f"said = Serialize(asked, version={POLICY_VERSION!r});"
        "assert Deserialize(said, pbm.profile.ResourceType).resourceType == 'STORAGE';"
        f"said = Serialize(vim.vm.ConfigSpec(name='a'), version={WIRE_VERSION!r});"
        "assert Deserialize(said, vim.vm.ConfigSpec).name == 'a'"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_types_and_fields_are_known_to_the_oldest_release(source: Source) -> None:
    newer = [
        one.__name__
        for one in source.types()
        if not is_spoken(getattr(one, "_version", WIRE_VERSION))
    ]
    for kind, field in source.fields():
        if issubclass(kind, vmodl.DynamicData) and not is_spoken(
            kind._GetPropertyInfo(field).version
        ):
            newer.append(f"{kind.__name__}.{field}")

    assert newer == []


def test_methods_are_known_to_the_oldest_release(source: Source) -> None:
    known = dict(_methods())
    unknown = [name for name in source.methods() if not is_spoken(known.get(name, ""))]

    assert unknown == []


def _methods() -> Iterator[tuple[str, str]]:
    """Yield each method's name on the wire, and pyVmomi's where it differs, with its version."""
    for kind in ASKED:
        for one in kind.__mro__:
            for method in getattr(one, "_methodInfo", {}).values():
                yield method.wsdlName, method.version
                yield method.name[:1].upper() + method.name[1:], method.version


PROPERTIES: Mapping[Any, Any] = {
    vim.VirtualMachine: Inventory(OWNER_KEY).paths,
    vim.Task: TASK_PATHS,
    **{getattr(vim, kind): paths for kind, paths in PATHS.items()},
}


@pytest.mark.parametrize(
    ("kind", "path"), [(kind, path) for kind, paths in PROPERTIES.items() for path in paths]
)
def test_followed_properties_are_known_to_the_oldest_release(kind: Any, path: str) -> None:
    for name in path.split("[", maxsplit=1)[0].split("."):
        found = kind._GetPropertyInfo(name)
        assert is_spoken(found.version), f"{kind.__name__}.{name}"
        kind = getattr(found.type, "Item", found.type)
