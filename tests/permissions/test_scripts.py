"""The roles as programs: one is run against the lab's vCenter, all are read."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest
from inline_snapshot import snapshot

from moorage.controllers.gateway.accounts.privileges import target_of
from moorage.permissions import (
    ROWS,
    Grant,
    On,
    by_hand,
    govc_script,
    grants_for,
    powercli_script,
    rows_for,
    terraform_module,
    wanted_features,
)
from moorage.resources.permission import CheckTarget
from moorage_lab import govc
from moorage_lab.api import VCenterProcess
from tests.permissions.conftest import connect
from tests.permissions.grants import USER, inventory
from tests.vsphere.harness import Site, a_request, clone_and_wait

PLAIN = CheckTarget(
    datacenter="dc1",
    folder="clusters",
    template="templates/ubuntu-2404-kube-v1.34.4",
    compute_cluster="cc1",
    datastore="ds1",
    network="nodes",
)
ODD = CheckTarget(
    datacenter="Zürich 'A'",
    folder='Über "all" [x] $HOME',
    template="tmpl `id`/ubuntu; exit 1",
    compute_cluster="cc $(id) 'x'",
    datastore="ds * ?",
    network="n \\ %{x} ${y}",
)


def grants(target: CheckTarget = PLAIN) -> list[Grant]:
    return grants_for([target, target], ROWS, ["dvs1"])


def test_relative_names_become_paths_and_absolute_ones_stay() -> None:
    target = PLAIN.model_copy(
        update={
            "datacenter": "/eu/dc1",
            "folder": "/eu/dc1/vm/a/b/",
            "resource_pool": "Resources/prod/k8s",
        }
    )

    paths = {grant.on: grant.path for grant in grants(target)}

    assert paths[On.FOLDER] == "/eu/dc1/vm/a/b"
    assert paths[On.RESOURCE_POOL] == "/eu/dc1/host/cc1/Resources/prod/k8s"
    assert paths[On.SWITCH] == "/eu/dc1/network/dvs1"
    assert paths[On.TEMPLATE] == "/eu/dc1/vm/templates/ubuntu-2404-kube-v1.34.4"
    whole = PLAIN.model_copy(update={"resource_pool": "/dc1/host/cc1/Resources/p"})
    assert {g.path for g in grants(whole) if g.on is On.RESOURCE_POOL} == {
        "/dc1/host/cc1/Resources/p"
    }


def test_a_permission_on_a_datastore_cluster_reaches_its_datastores() -> None:
    pod = PLAIN.model_copy(update={"datastore": "gold", "datastore_is_cluster": True})

    found = {grant.on: grant for grant in grants(pod)}
    module = terraform_module(grants(pod), USER)

    assert found[On.DATASTORE].path == "/dc1/datastore/gold"
    assert found[On.DATASTORE].propagate
    assert 'data "vsphere_datastore_cluster" "moorage_datastore_1"' in module
    assert 'entity_type = "StoragePod"' in module


def test_the_shell_passes_every_name_on_as_it_is(tmp_path: Path) -> None:
    said = tmp_path / "said"
    fake = tmp_path / "govc"
    fake.write_text(f"#!/bin/sh\nprintf '%s\\0' \"$@\" >> {said}\nprintf '\\n' >> {said}\n")
    fake.chmod(0o700)
    user = "o'hara $USER@vsphere.local"

    subprocess.run(
        ["sh"],
        input=govc_script(grants(ODD), user),
        text=True,
        check=True,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": "/nowhere"},
    )

    calls = [line.rstrip("\0").split("\0") for line in said.read_text().splitlines()]
    paths = [call[-1] for call in calls if call[0] == "permissions.set"]
    unescaped = [path.replace("\\\\", "\0").replace("\\", "").replace("\0", "\\") for path in paths]
    assert unescaped == [grant.path for grant in grants(ODD)]
    assert all(call[2] == user for call in calls if call[0] == "permissions.set")


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
def test_shellcheck_has_nothing_to_say() -> None:
    script = govc_script(grants(), USER)

    subprocess.run(["shellcheck", "-"], input=script, text=True, check=True)


@pytest.fixture(scope="module")
def odd() -> Iterator[VCenterProcess]:
    """A vCenter whose objects have names that a shell, a glob or a path would misread."""
    spec = inventory()
    (dc,) = spec["datacenters"]
    dc["name"] = ODD.datacenter
    dc["computeClusters"][0]["name"] = ODD.compute_cluster
    dc["datastores"][0]["name"] = ODD.datastore
    dc["switches"][0]["portGroups"][0]["name"] = ODD.network
    folder, _, template = ODD.template.partition("/")
    dc["folders"] = [{"name": folder}, {"name": ODD.folder}]
    dc["templates"][0] |= {"name": template, "folder": folder, "datastore": ODD.datastore}
    with VCenterProcess.start(spec) as process:
        yield process


async def test_govcs_script_gives_all_that_is_needed_and_may_be_run_again(
    odd: VCenterProcess, tmp_path: Path
) -> None:
    environment = {
        "PATH": f"{govc.find_or_build().parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "GOVC_URL": odd.address,
        "GOVC_USERNAME": odd.user,
        "GOVC_PASSWORD": odd.password,
        "GOVC_TLS_CA_CERTS": str(odd.ca_file),
        "GOVC_PERSIST_SESSION": "false",
    }
    for _ in range(2):
        script = govc_script(grants(ODD), USER).encode()
        await anyio.run_process(["sh"], input=script, env=environment)

    async with AsyncExitStack() as stack:
        vcenter = await connect(Site(odd, stack))
        target = target_of(ODD)
        result = await vcenter.access.check([target])
        assert result.findings == []
        await clone_and_wait(vcenter, a_request(await vcenter.resolve(target)))


def test_powershell_takes_more_than_one_character_for_a_quote() -> None:
    odd = PLAIN.model_copy(update={"network": "n\u2018\u2019\u201a\u201b'"})

    script = powercli_script(grants(odd), USER)

    assert "'dc1/network/n" + "".join(2 * one for one in odd.network[1:]) + "'\n" in script


def test_the_script_for_powercli() -> None:
    assert powercli_script(grants(ODD), USER) == snapshot("""\
# Roles and permissions of Moorage's vCenter account, made by `moorage accounts roles`.
# Run it as an administrator, after Connect-VIServer. It uses the API's own objects,
# because New-VIPermission does not take every kind of them.
$ErrorActionPreference = 'Stop'
$user = 'VSPHERE.LOCAL\\least'
$manager = Get-View AuthorizationManager
$index = Get-View SearchIndex

function Set-MoorageRole([string] $Name, [string[]] $Privileges) {
  $role = $manager.RoleList | Where-Object { $_.Name -eq $Name }
  if ($role) { $manager.UpdateAuthorizationRole($role.RoleId, $Name, $Privileges) }
  else { [void] $manager.AddAuthorizationRole($Name, $Privileges) }
  $manager.UpdateViewData('RoleList')
}

function Set-MooragePermission([string] $Role, [bool] $Propagate, [string] $Path) {
  $entity = $index.FindByInventoryPath($Path)
  if (-not $Path) { $entity = (Get-View ServiceInstance).Content.RootFolder }
  if (-not $entity) { throw "There is no object $Path" }
  $permission = New-Object VMware.Vim.Permission
  $permission.Principal = $user
  $permission.Group = $false
  $permission.Propagate = $Propagate
  $permission.RoleId = ($manager.RoleList | Where-Object { $_.Name -eq $Role }).RoleId
  $manager.SetEntityPermissions($entity, @($permission))
}

Set-MoorageRole 'moorage-compute-cluster' @(
  'Host.Inventory.EditCluster'
)
Set-MoorageRole 'moorage-resource-pool' @(
  'Resource.AssignVMToPool'
)
Set-MoorageRole 'moorage-vm-folder' @(
  'VirtualMachine.Config.AddNewDisk',
  'VirtualMachine.Config.AddRemoveDevice',
  'VirtualMachine.Config.AdvancedConfig',
  'VirtualMachine.Config.CPUCount',
  'VirtualMachine.Config.DiskExtend',
  'VirtualMachine.Config.EditDevice',
  'VirtualMachine.Config.Memory',
  'VirtualMachine.Config.Resource',
  'VirtualMachine.Config.Settings',
  'VirtualMachine.Interact.PowerOff',
  'VirtualMachine.Interact.PowerOn',
  'VirtualMachine.Inventory.CreateFromExisting',
  'VirtualMachine.Inventory.Delete',
  'VirtualMachine.Provisioning.DeployTemplate',
  'VirtualMachine.Provisioning.MarkAsTemplate',
  'VirtualMachine.State.CreateSnapshot'
)
Set-MoorageRole 'moorage-template' @(
  'VirtualMachine.Provisioning.DeployTemplate'
)
Set-MoorageRole 'moorage-datastore' @(
  'Datastore.AllocateSpace'
)
Set-MoorageRole 'moorage-network' @(
  'Network.Assign'
)
Set-MoorageRole 'moorage-read' @()

Set-MooragePermission 'moorage-compute-cluster' $true 'Zürich ''A''/host/cc $(id) ''x'''
Set-MooragePermission 'moorage-resource-pool' $false 'Zürich ''A''/host/cc $(id) ''x''/Resources'
Set-MooragePermission 'moorage-vm-folder' $true 'Zürich ''A''/vm/Über "all" [x] $HOME'
Set-MooragePermission 'moorage-template' $false 'Zürich ''A''/vm/tmpl `id`/ubuntu; exit 1'
Set-MooragePermission 'moorage-datastore' $false 'Zürich ''A''/datastore/ds * ?'
Set-MooragePermission 'moorage-network' $false 'Zürich ''A''/network/n \\ %{x} ${y}'
Set-MooragePermission 'moorage-read' $false 'Zürich ''A''/network/dvs1'
""")


def test_the_module_for_terraform() -> None:
    assert terraform_module(grants(ODD), USER) == snapshot("""\
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

locals {
  moorage_user = "VSPHERE.LOCAL\\\\least"
}

resource "vsphere_role" "moorage_compute_cluster" {
  name = "moorage-compute-cluster"
  role_privileges = [
    "Host.Inventory.EditCluster",
  ]
}

resource "vsphere_role" "moorage_resource_pool" {
  name = "moorage-resource-pool"
  role_privileges = [
    "Resource.AssignVMToPool",
  ]
}

resource "vsphere_role" "moorage_vm_folder" {
  name = "moorage-vm-folder"
  role_privileges = [
    "VirtualMachine.Config.AddNewDisk",
    "VirtualMachine.Config.AddRemoveDevice",
    "VirtualMachine.Config.AdvancedConfig",
    "VirtualMachine.Config.CPUCount",
    "VirtualMachine.Config.DiskExtend",
    "VirtualMachine.Config.EditDevice",
    "VirtualMachine.Config.Memory",
    "VirtualMachine.Config.Resource",
    "VirtualMachine.Config.Settings",
    "VirtualMachine.Interact.PowerOff",
    "VirtualMachine.Interact.PowerOn",
    "VirtualMachine.Inventory.CreateFromExisting",
    "VirtualMachine.Inventory.Delete",
    "VirtualMachine.Provisioning.DeployTemplate",
    "VirtualMachine.Provisioning.MarkAsTemplate",
    "VirtualMachine.State.CreateSnapshot",
  ]
}

resource "vsphere_role" "moorage_template" {
  name = "moorage-template"
  role_privileges = [
    "VirtualMachine.Provisioning.DeployTemplate",
  ]
}

resource "vsphere_role" "moorage_datastore" {
  name = "moorage-datastore"
  role_privileges = [
    "Datastore.AllocateSpace",
  ]
}

resource "vsphere_role" "moorage_network" {
  name = "moorage-network"
  role_privileges = [
    "Network.Assign",
  ]
}

resource "vsphere_role" "moorage_read" {
  name            = "moorage-read"
  role_privileges = []
}

data "vsphere_compute_cluster" "moorage_compute_cluster_1" {
  name = "/Zürich 'A'/host/cc $(id) 'x'"
}

resource "vsphere_entity_permissions" "moorage_compute_cluster_1" {
  entity_id   = data.vsphere_compute_cluster.moorage_compute_cluster_1.id
  entity_type = "ClusterComputeResource"
  permissions {
    user_or_group = local.moorage_user
    propagate     = true
    is_group      = false
    role_id       = vsphere_role.moorage_compute_cluster.id
  }
}

data "vsphere_resource_pool" "moorage_resource_pool_1" {
  name = "/Zürich 'A'/host/cc $(id) 'x'/Resources"
}

resource "vsphere_entity_permissions" "moorage_resource_pool_1" {
  entity_id   = data.vsphere_resource_pool.moorage_resource_pool_1.id
  entity_type = "ResourcePool"
  permissions {
    user_or_group = local.moorage_user
    propagate     = false
    is_group      = false
    role_id       = vsphere_role.moorage_resource_pool.id
  }
}

data "vsphere_folder" "moorage_vm_folder_1" {
  path = "/Zürich 'A'/vm/Über \\"all\\" [x] $HOME"
}

resource "vsphere_entity_permissions" "moorage_vm_folder_1" {
  entity_id   = data.vsphere_folder.moorage_vm_folder_1.id
  entity_type = "Folder"
  permissions {
    user_or_group = local.moorage_user
    propagate     = true
    is_group      = false
    role_id       = vsphere_role.moorage_vm_folder.id
  }
}

data "vsphere_virtual_machine" "moorage_template_1" {
  name = "/Zürich 'A'/vm/tmpl `id`/ubuntu; exit 1"
}

resource "vsphere_entity_permissions" "moorage_template_1" {
  entity_id   = data.vsphere_virtual_machine.moorage_template_1.moid
  entity_type = "VirtualMachine"
  permissions {
    user_or_group = local.moorage_user
    propagate     = false
    is_group      = false
    role_id       = vsphere_role.moorage_template.id
  }
}

data "vsphere_datastore" "moorage_datastore_1" {
  name = "/Zürich 'A'/datastore/ds * ?"
}

resource "vsphere_entity_permissions" "moorage_datastore_1" {
  entity_id   = data.vsphere_datastore.moorage_datastore_1.id
  entity_type = "Datastore"
  permissions {
    user_or_group = local.moorage_user
    propagate     = false
    is_group      = false
    role_id       = vsphere_role.moorage_datastore.id
  }
}

data "vsphere_network" "moorage_network_1" {
  name = "/Zürich 'A'/network/n \\\\ %%{x} $${y}"
}

resource "vsphere_entity_permissions" "moorage_network_1" {
  entity_id   = data.vsphere_network.moorage_network_1.id
  entity_type = data.vsphere_network.moorage_network_1.type
  permissions {
    user_or_group = local.moorage_user
    propagate     = false
    is_group      = false
    role_id       = vsphere_role.moorage_network.id
  }
}

variable "moorage_distributed_switch_1" {
  description = "Moref of switch /Zürich 'A'/network/dvs1, from govc ls -i"
  type        = string
}

resource "vsphere_entity_permissions" "moorage_distributed_switch_1" {
  entity_id   = var.moorage_distributed_switch_1
  entity_type = "VmwareDistributedVirtualSwitch"
  permissions {
    user_or_group = local.moorage_user
    propagate     = false
    is_group      = false
    role_id       = vsphere_role.moorage_read.id
  }
}
""")


def test_what_no_script_can_set_is_a_role_and_a_click() -> None:
    features = wanted_features([PLAIN], zone_tags=True, template_imports=True)
    rows = rows_for(features=features)

    found = grants_for([PLAIN], rows)
    scripts = [write(found, USER) for write in (govc_script, powercli_script, terraform_module)]

    (everywhere,) = [grant for grant in found if grant.is_global]
    assert "InventoryService.Tagging.CreateTag" in everywhere.privileges
    assert "ContentLibrary.AddLibraryItem" in everywhere.privileges
    (datacenter,) = [grant for grant in found if grant.on is On.DATACENTER]
    assert datacenter.privileges == ("InventoryService.Tagging.ObjectAttachable",)
    assert datacenter.path == "/dc1"
    assert not [grant for grant in found if grant.on is On.ROOT and not grant.is_global]
    for script in scripts:
        assert "moorage-global" in script
        assert "# To be done by hand, in the vSphere Client: Administration, Access" in script
    govc_, powercli, terraform = scripts
    assert "allow moorage-global" not in govc_
    assert "Set-MooragePermission 'moorage-global'" not in powercli
    assert 'data "vsphere_datacenter" "moorage_datacenter_1"' in terraform
    assert "vsphere_role.moorage_global.id" not in terraform


def test_a_name_of_two_lines_stays_in_its_comment() -> None:
    rows = rows_for(features=wanted_features([PLAIN], zone_tags=True))
    user = "eve\u2028touch /tmp/a\ntouch /tmp/b@vsphere.local"

    told = by_hand(grants_for([PLAIN], rows), user)

    assert all(len(line.splitlines()) == 1 for line in told)
    assert "user eve touch /tmp/a touch /tmp/b@vsphere.local, role moorage-global" in told[1]


def test_a_storage_policys_privilege_is_no_global_one() -> None:
    place = PLAIN.model_copy(update={"storage_policy": "gold"})
    rows = rows_for(features=wanted_features([place], zone_tags=True))

    roots = {g.is_global: g.privileges for g in grants_for([place], rows) if g.on is On.ROOT}

    assert roots[False] == ("StorageProfile.View",)
    assert "StorageProfile.View" not in roots[True]
