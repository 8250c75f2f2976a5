"""Do a template's hardware and Kubernetes suit a cluster? Judged by what is read anyway: pure."""

import re
from collections.abc import Iterator
from typing import Final

from moorage.resources.kubernetes import KubernetesVersion
from moorage.vsphere.template import Template

OLDEST_HARDWARE: Final = 15
"""The vSphere storage and cloud providers of Kubernetes ask for it ("Compatible vSphere Versions",
"Prerequisites" of vSphere Container Storage Plug-in); ESXi 6.7 Update 2 and later have it."""
_NEWEST_HARDWARE: Final = {(6, 7): 15, (7, 0): 19, (8, 0): 21}
"""What the hosts of a release run, with its last update (VMware KB 1003746, "Virtual machine
hardware versions")."""

_HARDWARE = re.compile(r"^vmx-(\d+)$")
_PLAIN = re.compile(r"(?<![\d.])v?(1\.\d{1,2}\.\d{1,3})(?![\d.])")
_DIGITS = re.compile(r"(?:^|[-_])k-(\d)(\d\d)(\d{1,2})(?:[-_]|$)")
"""``r_u-2204-0-k-1294-0``: as Palette names its templates, 1294 is 1.29.4."""


def kubernetes_version_of(template: Template) -> tuple[str, str] | None:
    """Return which Kubernetes a template holds (``v1.34.4``), and what says so.

    The property ``KUBERNETES_SEMVER``, which image-builder writes into an OVA, counts before the
    name. ``None``: neither speaks of one; the first node compares its own kubeadm before it acts.
    """
    if (said := _PLAIN.search(template.kubernetes_version or "")) is not None:
        return f"v{said[1]}", "its OVA property KUBERNETES_SEMVER"
    if (plain := _PLAIN.search(template.name)) is not None:
        return f"v{plain[1]}", "its name"
    if (digits := _DIGITS.search(template.name)) is not None:
        return f"v{digits[1]}.{int(digits[2])}.{int(digits[3])}", "its name"
    return None


def unfit(template: Template, wanted_version: str | None, api_version: str) -> list[str]:
    """Return why a template does not suit a cluster, and what to do; empty when it does.

    What no cluster can use stands in ``Template.unfit``.

    Args:
        template: As it was read.
        wanted_version: Of Kubernetes, as the cluster asks for it; ``None``: no cluster asks yet.
        api_version: Of the vCenter.
    """
    return [
        *_hardware(template, api_version),
        *(_version(template, wanted_version) if wanted_version is not None else ()),
    ]


def unfit_for_all(template: Template, api_version: str) -> list[str]:
    """Return why no cluster at all can use a template, and what to do; empty when some can."""
    ruled_out = [f"template {template.name} {template.unfit}"] if template.unfit else []
    return [*ruled_out, *_hardware(template, api_version)]


def _version(template: Template, wanted: str) -> Iterator[str]:
    found = kubernetes_version_of(template)
    if found is None:
        return
    holds, said_by = found
    if KubernetesVersion.parse(holds) != KubernetesVersion.parse(wanted):
        yield (
            f"template {template.name} holds Kubernetes {holds} by {said_by}, but {wanted} is "
            "asked: choose another template or another version"
        )


def _hardware(template: Template, api_version: str) -> Iterator[str]:
    match = _HARDWARE.match(template.hardware_version)
    if match is None:
        return
    version, newest = int(match[1]), _newest(api_version)
    if version < OLDEST_HARDWARE:
        yield (
            f"template {template.name} has hardware version {version}, and Kubernetes on vSphere "
            f"needs {OLDEST_HARDWARE} or later: convert it to a virtual machine, upgrade its "
            "compatibility, and convert it back"
        )
    if newest is not None and version > newest:
        yield (
            f"template {template.name} has hardware version {version}, and the hosts of vSphere "
            f"{api_version} run {newest} at most: choose a template that was made for them"
        )


def _newest(api_version: str) -> int | None:
    major, _, rest = api_version.partition(".")
    minor = rest.partition(".")[0]
    if not (major.isdigit() and minor.isdigit()):
        return None
    return _NEWEST_HARDWARE.get((int(major), int(minor)))
