"""Assumptions about sessions, streams and privileges."""

import anyio
from pyVmomi import vim, vmodl

from conformance.outcome import RefutedError, SkippedError
from conformance.site import Site
from moorage.kit.errors import ForbiddenError, MoorageError
from moorage.vsphere import Endpoint, Limits
from moorage.vsphere.access import held_privileges
from moorage.vsphere.properties import Collector
from moorage.vsphere.rest import Rest
from moorage.vsphere.session import Session
from moorage.vsphere.wire import newest_api

_FOREIGN_PRIVILEGE = "Folder.Create"


class _Note:
    """What a killed process has written down."""

    def __init__(self, held: str = "") -> None:
        self.held = held

    def read(self) -> str:
        return self.held

    def write(self, session: str) -> None:
        self.held = session

    def close(self) -> None:
        pass


def _session(site: Site, note: _Note | None = None) -> Session:
    settings = site.settings
    endpoint = Endpoint(settings.server, settings.username, settings.trust)
    return Session(endpoint, settings.password, Limits(), note=note)


async def session_ended_by_cookie(site: Site) -> str:
    killed = _Note()
    first = _session(site, killed)
    next_one = None
    try:
        await first.call("log in", lambda: None)
        next_one = _session(site, _Note(killed.held))
        await next_one.call("log in, and end the one before", lambda: None)
        logins = first.logins
        root = first.content.rootFolder
        await first.call("look with the session that was ended", lambda: root.name)
        if first.logins == logins:
            raise RefutedError("the session still works after its cookie was used to log out")
        return "its cookie ended it from another connection"
    finally:
        for one in filter(None, (first, next_one)):
            await anyio.to_thread.run_sync(one.close)


async def rest_session(site: Site) -> str:
    note = _Note()
    rest = Rest(site.hand, note)

    def open_and_end() -> tuple[int, str]:
        with rest.open():
            path, _, token = note.held.partition(" ")
            other = _session(site)
            with other.stub.deadline.until(site.hand.stub.deadline.at or 0):
                headers = {"vmware-api-session-id": token}
                ended, _ = Rest(other).exchange(f"DELETE {path}", path, headers)
            again, _ = rest.exchange(f"GET {path}", path, headers)
            return again, f"{path}: DELETE with its token {ended}, GET after that {again}"

    try:
        status, said = await site.by_hand("open a session over REST", open_and_end)
    finally:
        await anyio.to_thread.run_sync(rest.close)
    if status // 100 == 2:  # noqa: PLR2004 - HTTP's class of success
        raise RefutedError(f"the session lives on: {said}")
    return said


async def version_token_lost(site: Site) -> str:
    collector = await site.by_hand(
        "make a collector", site.hand.content.propertyCollector.CreatePropertyCollector
    )
    spec = Collector.FilterSpec(
        propSet=[Collector.PropertySpec(type=vim.Folder, pathSet=["name"], all=False)],
        objectSet=[Collector.ObjectSpec(obj=site.folder, skip=False)],
    )
    options = Collector.WaitOptions(maxWaitSeconds=0)
    try:
        await site.by_hand("make a filter", lambda: collector.CreateFilter(spec, False))
        await site.by_hand("wait", lambda: collector.WaitForUpdatesEx("4711", options))
    except MoorageError as error:
        if not isinstance(error.__cause__, vmodl.query.InvalidCollectorVersion):
            raise RefutedError(f"not InvalidCollectorVersion: {error}") from error
        return "InvalidCollectorVersion"
    finally:
        await site.by_hand("destroy it", collector.DestroyPropertyCollector)
    raise RefutedError("a version that was never given is taken")


async def oldest_api(site: Site) -> str:
    newest = await site.by_hand("ask for versions", lambda: newest_api(site.hand.stub))
    return f"vim25/6.7.3 is spoken; the newest that it names is {newest}"


async def privileges_answered(site: Site) -> str:
    session = site.hand
    kinds = {site.target.folder: "Folder", site.target.datastore: "Datastore"}
    wanted = {moref: {"System.Read", "VirtualMachine.Inventory.Delete"} for moref in kinds}
    held = await site.by_hand("ask for privileges", lambda: held_privileges(session, kinds, wanted))
    lacking = [moref for moref in kinds if "System.Read" not in held.get(moref, ())]
    if lacking:
        raise RefutedError(f"System.Read is denied on {', '.join(lacking)}, which are read")
    return f"one question about {len(kinds)} objects is answered"


async def privileges_suffice(site: Site) -> str:
    result = await site.vcenter.access.check([site.settings.target])
    missing = [f"{one.privilege} on {one.object}" for one in result.needed()]
    if missing:
        raise RefutedError(f"everything worked, though these are said to be missing: {missing}")
    return f"{result.checked} were asked for, none is missing"


async def no_permission_names(site: Site) -> str:
    reader = site.settings.reader
    if reader is None:
        raise SkippedError("no user who may only read was given")
    endpoint = Endpoint(site.settings.server, reader[0], site.settings.trust)
    session = Session(endpoint, reader[1], Limits())
    folder = session.ref(vim.Folder, site.target.folder)
    try:
        made = await session.call("make a folder", lambda: folder.CreateFolder("not-allowed"))
    except ForbiddenError as error:
        if _FOREIGN_PRIVILEGE not in str(error) or site.target.folder not in str(error):
            raise RefutedError(f"object and privilege are not named: {error}") from error
        return str(error)
    finally:
        await anyio.to_thread.run_sync(session.close)
    raise RefutedError(f"{reader[0]} may make folders ({made._moId}): give one who may only read")
