"""Storage policies: which there are, and which datastores satisfy one.

vCenter's policy service (SPBM) has an endpoint of its own beside the inventory's; it is asked in
the same session, on the same connections, when somebody names a policy, and what it says is kept
for a while. Who names none never asks it.
"""

import importlib
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from typing import Any

import anyio
from pyVmomi.SoapAdapter import SoapStubAdapter
from pyVmomi.VmomiSupport import LazyModule

from moorage.vsphere.places import Place, near, plain
from moorage.vsphere.resolve import Resolver
from moorage.vsphere.session import Session
from moorage.vsphere.wire import Stub

WIRE_VERSION = "pbm.version.version1"
"""All that is asked for is in the first version of this API."""
_COOKIE = "vmware_soap_session"
_AGAIN_S = 10.0
"""A policy that is not there is looked for again after so long: somebody may have made it."""
_HUB = "Datastore"
_VSAN = "VSAN"
_ENCRYPTION = "vmwarevmcrypt"
MIRRORS = 2.0
"""How often vSAN writes a byte by its default policy: one failure to tolerate, by a mirror."""
_ERASURE = {1: 4 / 3, 2: 1.5}
"""The same with erasure coding, by failures to tolerate (RAID-5 of 3 + 1, RAID-6 of 4 + 2)."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A storage policy, as the policy service has it."""

    profile: str
    """Its identifier, which clones name."""
    name: str
    datastores: frozenset[str]
    """Morefs of those that satisfy it, as far as the account sees them."""
    copies: float = MIRRORS
    """How often vSAN writes each byte by its rules."""
    unusable: str = ""
    """Why machines cannot follow it, such as ``encrypts``; empty when they can."""


class Policies:
    """Asks the policy service of one vCenter."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._stub: _PolicyStub | None = None
        self._turn = anyio.Lock()
        self._read: dict[str, tuple[float, list[Policy]]] = {}
        """By name; when it was read stands first."""
        self._names: list[str] = []

    async def called(self, name: str) -> list[Policy]:
        """Return the policies of that name, or with that identifier; ``[]`` when there is none.

        Raises ``ForbiddenError`` for an account that may not see policies.
        """
        wanted = plain(name)
        async with self._turn:
            known = self._read.get(wanted)
            keeps_s = self._session.limits.template_ttl_s if known and known[1] else _AGAIN_S
            if known is not None and time.monotonic() - known[0] < keeps_s:
                return known[1]
            asked_at = time.monotonic()
            found, self._names = await self._session.call(
                f"look for storage policy {name}", partial(self._look_for, wanted)
            )
            self._read[wanted] = asked_at, found
            return found

    @property
    def names(self) -> list[str]:
        """Names of all policies, when one was last looked for."""
        return self._names

    def forget(self) -> None:
        """Read everything again next time: vCenter has just refused what it let expect."""
        self._read.clear()

    def _look_for(self, wanted: str) -> tuple[list[Policy], list[str]]:
        pbm = _types()
        stub = self._stub = self._stub or _PolicyStub(self._session.stub)
        stub.speak_in(self._session.stub.cookie)
        content = pbm.ServiceInstance("ServiceInstance", stub).RetrieveContent()
        manager = pbm.profile.ProfileManager(content.profileManager._moId, stub)  # noqa: SLF001
        solver = pbm.placement.PlacementSolver(content.placementSolver._moId, stub)  # noqa: SLF001
        storage = pbm.profile.ResourceType(resourceType="STORAGE")
        ids = manager.QueryProfile(resourceType=storage, profileCategory="REQUIREMENT")
        profiles = manager.RetrieveContent(profileIds=ids) if ids else []
        found = [one for one in profiles if wanted in (plain(one.name), one.profileId.uniqueId)]
        policies = []
        for one in found:
            hubs = solver.QueryMatchingHub([], one.profileId) or ()
            fitting = frozenset(str(hub.hubId) for hub in hubs if hub.hubType == _HUB)
            policies.append(_policy(one, fitting))
        return policies, [str(one.name) for one in profiles]


def _types() -> Any:
    """Return pyVmomi's types of the policy service: 3 MiB, which nobody pays who names no policy.

    The gateway's process has not loaded them: see ``moorage.gateway.service.load``.
    """
    importlib.import_module("pyVmomi._typeinfo_pbm")
    return LazyModule("pbm")


def settle(
    found: Sequence[Policy], names: Collection[str], resolver: Resolver, datastore: Place | None
) -> Policy | None:
    """Return the policy that a target asks for; ``None``, and a fault noted, when it cannot be.

    Args:
        found: Those of its name.
        names: Of all policies, to say which was perhaps meant.
        resolver: Of the target.
        datastore: What the target names, if it is there.
    """
    target = resolver.target
    asked = target.storage_policy or ""
    if not found:
        resolver.fault("storage_policy", f"no storage policy {asked!r}: {near(asked, names)}")
        return None
    if len(found) > 1:
        ids = ", ".join(sorted(one.profile for one in found))
        resolver.fault(
            "storage_policy", f"storage policy {asked!r} is not unique: give one of {ids}"
        )
        return None
    policy = found[0]
    if policy.unusable:
        resolver.fault("storage_policy", f"storage policy {policy.name} {policy.unusable}")
        return None
    places = [resolver.places.get(one) for one in policy.datastores]
    fitting = sorted(place.name for place in places if place is not None)
    others = f"it is satisfied by {', '.join(fitting)}" if fitting else "nothing satisfies it"
    if datastore is not None and datastore.moref not in policy.datastores:
        resolver.fault(
            "datastore",
            f"datastore {datastore.name} does not satisfy storage policy {policy.name}: {others}",
        )
        return None
    if datastore is None and not target.datastore:
        resolver.fault(
            "storage_policy",
            f"no datastore that hosts of {target.compute_cluster} reach satisfies storage policy "
            f"{policy.name}: {others}",
        )
        return None
    return policy


class _AsItIs:
    """Has answers read as they are.

    This API throws faults of the inventory's, which are in none of its own versions, and which
    pyVmomi would make unreadable ones of the nearest that it knows.
    """

    version = None


class _PolicyStub(SoapStubAdapter):
    """Speaks to the policy service on the connections, and with the deadlines, of another stub."""

    def __init__(self, beside: Stub) -> None:
        self._beside = beside
        super().__init__(  # type: ignore[no-untyped-call]
            host=beside.endpoint.host,
            port=beside.endpoint.port,
            path="/pbm/sdk",
            version=WIRE_VERSION,
            sslContext=beside.context,
        )

    def speak_in(self, cookie: str) -> None:
        """Name the session that all calls are made in: a header of SOAP says which."""
        session = _session_key(cookie)
        if self.requestContext != {"vcSessionCookie": session}:
            self.requestContext = {"vcSessionCookie": session}
            self.cookie = ""  # what the service gave us was for the session before

    def InvokeMethod(  # noqa: N802 - pyVmomi's name
        self,
        mo: Any,
        info: Any,
        args: Any,
        outerStub: Any = None,  # noqa: N803
    ) -> Any:
        self._beside.count(info.wsdlName)
        reader = outerStub or _AsItIs()
        status, said = super().InvokeMethod(mo, info, args, reader)  # type: ignore[no-untyped-call]
        if status != HTTPStatus.OK:
            raise said
        return said

    def GetConnection(self) -> Any:  # noqa: N802
        return self._beside.GetConnection()

    def ReturnConnection(self, conn: Any) -> None:  # noqa: N802
        self._beside.ReturnConnection(conn)


def _session_key(cookie: str) -> str:
    """Return the session in a cookie as vCenter sets it."""
    try:
        found = SimpleCookie(cookie).get(_COOKIE)
    except CookieError:
        found = None
    return found.value if found is not None else cookie


def _policy(profile: Any, datastores: frozenset[str]) -> Policy:
    rules = dict(_rules(profile))
    tolerated = rules.get((_VSAN, "hostFailuresToTolerate"))
    copies = MIRRORS
    if isinstance(tolerated, int):
        erasure = "Erasure Coding" in str(rules.get((_VSAN, "replicaPreference"), ""))
        copies = _ERASURE.get(tolerated, 1.0) if erasure else tolerated + 1.0
        inside = rules.get((_VSAN, "subFailuresToTolerate"))
        if isinstance(inside, int):  # of a stretched cluster: in each of its sites
            copies = (tolerated + 1.0) * (_ERASURE.get(inside, 1.0) if erasure else inside + 1.0)
    return Policy(
        profile=str(profile.profileId.uniqueId),
        name=str(profile.name),
        datastores=datastores,
        copies=copies,
        unusable=_unusable(rules),
    )


def _rules(profile: Any) -> Iterable[tuple[tuple[str, str], Any]]:
    """Yield namespace and name of each capability that a policy asks for, with its value."""
    for part in getattr(profile.constraints, "subProfiles", None) or ():
        for capability in part.capability or ():
            values = [
                one.value for each in capability.constraint for one in each.propertyInstance or ()
            ]
            yield (capability.id.namespace, capability.id.id), values[0] if values else None


def _unusable(rules: dict[tuple[str, str], Any]) -> str:
    if any(namespace == _ENCRYPTION for namespace, _ in rules):
        return (
            "encrypts: machines would need a key provider and cryptographic privileges, which "
            "Moorage does not use. Give one that does not"
        )
    locality = rules.get((_VSAN, "locality"))
    if locality is not None and str(locality).lower() != "none":
        return (
            f"keeps data on one site of a stretched vSAN ({locality}), and nothing keeps machines "
            "on the hosts of that site. Give one whose data is on both sites"
        )
    return ""
