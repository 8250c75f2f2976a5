# ruff: noqa: INP001 - a script in a folder of Go files
"""Write methods.tsv and fields.tsv: what each call needs, as others than us have written it down.

    .venv/bin/python lab/vcenter/internal/authz/generate.py GOVMOMI

methods.tsv comes from pyVmomi's own tables, which carry the privilege ids of VMware's API
definitions: of methods, of their parameters that are managed objects, and of properties.
fields.tsv comes from the field comments of VirtualMachineConfigSpec in govmomi's
vim25/types/types.go ("Reconfigure privilege: …"), which are those of the API reference. GOVMOMI
is the folder of that module's sources. What neither says stands by hand in table.go.
"""

import re
import sys
from pathlib import Path

from pyVmomi import VmomiSupport

HERE = Path(__file__).parent
PACKAGES = ("vim", "vmodl")
APART = ("vim.vsan", "vim.cluster.Vsan", "vim.Vsan", "vim.host.Vsan", "vim.cns")
"""Services beside vCenter's own endpoint, which the lab does not have."""


_SPEC = re.compile(r"^type VirtualMachineConfigSpec struct \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)


def types() -> list[type]:
    names = sorted(VmomiSupport._managedDefMap)  # noqa: SLF001 - the table has no public door
    wanted = [name for name in names if name.split(".")[0] in PACKAGES]
    return [VmomiSupport.GetVmodlType(name) for name in wanted if not name.startswith(APART)]


def method_lines() -> list[str]:
    lines = set()
    for kind in types():
        for method in kind._methodInfo.values():  # noqa: SLF001
            needs = [f"{one.name}={one.privId}" for one in method.params if one.privId]
            lines.add("\t".join(["method", method.wsdlName, method.privId or "-", *needs]))
        for name, prop in kind._propInfo.items():  # noqa: SLF001
            if prop.privId:
                lines.add("\t".join(["property", f"{kind._wsdlName}.{name}", prop.privId]))  # noqa: SLF001
    return sorted(lines)


def field_lines(govmomi: Path) -> list[str]:
    text = (govmomi / "vim25/types/types.go").read_text()
    body = _SPEC.search(text)
    if body is None:
        sys.exit(f"{govmomi}: no VirtualMachineConfigSpec in vim25/types/types.go")
    lines, said = [], None
    for line in body[1].splitlines():
        comment = line.strip()
        if found := re.match(r"// Reconfigure privilege: ([\w.]+)", comment):
            said = found[1].rstrip(".").replace("CpuCount", "CPUCount")
        elif found := re.match(r"(\w+)\s+\S+\s+`", comment):
            if said is not None:
                lines.append(f"{found[1]}\t{said}")
            said = None
    return lines


def main() -> None:
    methods = "".join(line + "\n" for line in method_lines())
    fields = "".join(line + "\n" for line in field_lines(Path(sys.argv[1])))
    (HERE / "methods.tsv").write_text(methods)
    (HERE / "fields.tsv").write_text(fields)


if __name__ == "__main__":
    main()
