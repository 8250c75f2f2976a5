"""What an administrator does to the simulated vCenter by hand, and what befalls its estate."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class Administration(ABC):
    """Verbs of the control socket. Things are named by inventory path or by moref."""

    @abstractmethod
    def _call(self, verb: str, path: str, **kwargs: Any) -> Any:
        """Ask, and return the answer; raises `LabError` when it is no."""

    def permissions(self) -> list[dict[str, Any]]:
        """Who has which role where."""
        answer: list[dict[str, Any]] = self._call("GET", "/permissions")
        return answer

    def grant(
        self, principal: str, role: str, on: str, *, group: bool = False, propagate: bool = True
    ) -> None:
        """Set a permission, as an administrator would; one of the principal there is replaced.

        Args:
            principal: User or group.
            role: `Administrator`, `ReadOnly`, `NoAccess` or a role of the inventory file.
            on: Inventory path (`/` for the root) or moref.
            group: The principal is a group.
            propagate: It holds for all that is below, too.
        """
        body = {"principal": principal, "role": role, "on": on}
        self._call("POST", "/permissions", json={**body, "group": group, "propagate": propagate})

    def withdraw(self, principal: str, on: str, *, group: bool = False) -> None:
        """Remove a permission."""
        body = {"principal": principal, "on": on, "group": group}
        self._call("DELETE", "/permissions", json=body)

    def set_host(self, host: str, state: str) -> None:
        """Make a host `connected`, `disconnected`, `notResponding`, or put it in `maintenance`."""
        self._call("POST", "/hosts/state", json={"host": host, "state": state})

    def remove_host(self, host: str) -> None:
        """Take a host out of the inventory, with all VMs on it; their nodes are ended."""
        self._call("POST", "/hosts/remove", json={"host": host})

    def set_datastore(
        self,
        datastore: str,
        *,
        free_gib: float | None = None,
        accessible: bool | None = None,
        maintenance: bool | None = None,
    ) -> None:
        """Set how much space is free, whether hosts reach it, and whether it is in maintenance."""
        body = {
            "datastore": datastore,
            "freeGib": free_gib,
            "accessible": accessible,
            "maintenance": maintenance,
        }
        self._call("POST", "/datastores/state", json=body)

    def set_policy(self, policy: str, datastores: Sequence[str]) -> None:
        """Say which datastores satisfy a storage policy from now on, by their names."""
        self._call("POST", "/policies", json={"policy": policy, "datastores": [*datastores]})

    def move_vm(self, vm: str, folder: str) -> None:
        self._call("POST", "/vms/move", json={"vm": vm, "folder": folder})

    def rename_vm(self, vm: str, name: str) -> None:
        self._call("POST", "/vms/rename", json={"vm": vm, "name": name})

    def destroy_vm(self, vm: str) -> None:
        """Power off and destroy."""
        self._call("POST", "/vms/destroy", json={"vm": vm})

    def clone_vm(self, vm: str, name: str, *, folder: str = "", instance_uuid: str = "") -> str:
        """Copy a VM or a template by hand, with all its options; returns the moref.

        Args:
            vm: What to copy.
            name: Of the copy.
            folder: Where the copy goes; by default beside the original.
            instance_uuid: Wished, as by the restore of a backup; a taken one gives another.
        """
        body = {"vm": vm, "name": name, "folder": folder, "instanceUuid": instance_uuid}
        return str(self._call("POST", "/vms/clone", json=body)["moref"])

    def set_password(self, user: str, password: str) -> None:
        """Change a password; sessions that are open stay open."""
        self._call("POST", "/users/password", json={"user": user, "password": password})

    def new_certificate(self, *, new_authority: bool = False, seconds: float = 0) -> Path:
        """Restart with another certificate; returns the file of the authority that signed it."""
        answer = self._call(
            "POST",
            "/certificate",
            params={"seconds": f"{seconds:g}"},
            json={"newAuthority": new_authority},
        )
        return Path(answer["ca"])

    def limits(self) -> dict[str, Any]:
        """Times of tasks, limits of tasks, sessions and guestinfo, as they are."""
        answer: dict[str, Any] = self._call("GET", "/limits")
        return answer

    def set_limits(self, **changed: Any) -> None:
        """Change some, by the names that `limits` gives them; 0 is no limit.

        `taskSeconds` is merged: a time by method, `*` for all that are not named.
        """
        self._call("PUT", "/limits", json=changed)
