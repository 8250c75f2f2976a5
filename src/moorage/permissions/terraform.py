"""Roles and permissions as a Terraform module for the provider ``vmware/vsphere``."""

import re
from collections.abc import Sequence

from moorage.permissions.roles import Grant
from moorage.permissions.row import On
from moorage.permissions.scripts import by_hand, domain_and_user, roles_of

_SOURCES = {
    On.DATACENTER: ("vsphere_datacenter", "name", "id", "Datacenter"),
    On.COMPUTE_CLUSTER: ("vsphere_compute_cluster", "name", "id", "ClusterComputeResource"),
    On.RESOURCE_POOL: ("vsphere_resource_pool", "name", "id", "ResourcePool"),
    On.FOLDER: ("vsphere_folder", "path", "id", "Folder"),
    On.TEMPLATE: ("vsphere_virtual_machine", "name", "moid", "VirtualMachine"),
    On.DATASTORE: ("vsphere_datastore", "name", "id", "Datastore"),
    On.NETWORK: ("vsphere_network", "name", "id", ""),
    On.ROOT: ("vsphere_folder", "path", "id", "Folder"),
}
"""Data source, its argument for a path, its attribute with the moref, and the entity's type; a
network's type stands in its data source. The one of switches has no moref."""
_HOLDERS = {
    "cluster": ("vsphere_datastore_cluster", "name", "id", "StoragePod"),
    "folder": _SOURCES[On.FOLDER],
}
"""The same of what holds datastores."""
_SWITCH_TYPE = "VmwareDistributedVirtualSwitch"

_HEADER = """\
# Roles and permissions of Moorage's vCenter account, made by `moorage accounts roles`.
# vsphere_entity_permissions owns all permissions that are set on its object: add those of others
# there, or use the script for govc, which leaves them alone.
terraform {
  required_providers {
    vsphere = {
      source = "vmware/vsphere"
    }
  }
}
"""


def terraform_module(grants: Sequence[Grant], user: str) -> str:
    """Return one file of HCL; the provider's address and administrator are the caller's.

    Args:
        grants: What is to be set.
        user: Who gets it, as he logs in.
    """
    parts = [_HEADER, f"locals {{\n  moorage_user = {_hcl(domain_and_user(user))}\n}}\n"]
    parts += [_role(name, privileges) for name, privileges in roles_of(grants).items()]
    numbers: dict[On, int] = {}
    for grant in grants:
        if grant.is_global:
            continue
        numbers[grant.on] = number = numbers.get(grant.on, 0) + 1
        parts += _permission(grant, f"moorage_{_label(grant.on.value)}_{number}")
    told = by_hand(grants, domain_and_user(user))
    return "\n".join([*parts, *(["".join(f"# {line}\n" for line in told)] if told else [])])


def _role(name: str, privileges: Sequence[str]) -> str:
    listed = "".join(f"    {_hcl(one)},\n" for one in privileges)
    fields = (  # as `terraform fmt` sets them
        f"  name = {_hcl(name)}\n  role_privileges = [\n{listed}  ]\n"
        if privileges
        else f"  name            = {_hcl(name)}\n  role_privileges = []\n"
    )
    return f'resource "vsphere_role" "{_label(name)}" {{\n{fields}}}\n'


def _permission(grant: Grant, label: str) -> list[str]:
    if grant.on is On.SWITCH:
        said = f"Moref of switch {grant.path}, from govc ls -i"
        source = (
            f'variable "{label}" {{\n  description = {_hcl(said)}\n  type        = string\n}}\n'
        )
        moref, kind = f"var.{label}", f'"{_SWITCH_TYPE}"'
    else:
        data, argument, attribute, type_ = (
            _HOLDERS[grant.holder] if grant.holder else _SOURCES[grant.on]
        )
        source = f'data "{data}" "{label}" {{\n  {argument} = {_hcl(grant.path)}\n}}\n'
        moref = f"data.{data}.{label}.{attribute}"
        kind = f'"{type_}"' if type_ else f"data.{data}.{label}.type"
    permission = (
        f'resource "vsphere_entity_permissions" "{label}" {{\n'
        f"  entity_id   = {moref}\n"
        f"  entity_type = {kind}\n"
        "  permissions {\n"
        "    user_or_group = local.moorage_user\n"
        f"    propagate     = {'true' if grant.propagate else 'false'}\n"
        "    is_group      = false\n"
        f"    role_id       = vsphere_role.{_label(grant.role)}.id\n"
        "  }\n}\n"
    )
    return [source, permission]


def _label(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower())


def _hcl(text: str) -> str:
    """Quote a string: nothing in it is a template, and it stays in one line."""
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    quoted = re.sub(r"[\x00-\x1f]", lambda match: f"\\u{ord(match[0]):04x}", quoted)
    return '"' + quoted.replace("${", "$${").replace("%{", "%%{") + '"'
