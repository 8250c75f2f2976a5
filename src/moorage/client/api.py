"""The hub's REST API as typed calls."""

import builtins
import json
import random
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Generic, NamedTuple, Self, TypeVar

import anyio
import httpx2
from pydantic import ValidationError

from moorage import __version__
from moorage.client.paths import creation_document, path_of, quoted
from moorage.client.problems import ChangedError, raise_for, untrusted
from moorage.client.waiting import is_ready, wait_gone, wait_until
from moorage.client.watch import WatchEvent, events
from moorage.kit.errors import MoorageError, UnavailableError
from moorage.resources import Cluster, Gateway, Operation, Plan, Resource
from moorage.resources.meta import Document

R = TypeVar("R", bound=Resource)

_PAGE = 200
_CHANGE_ATTEMPTS = 8
_READ_ATTEMPTS = 3
_PAUSE_S = (0.1, 0.5)


class Page(NamedTuple, Generic[R]):
    """Part of a list; ``next`` asks for the following part, ``None`` at the end."""

    items: list[R]
    next: str | None


class Api:
    """One hub, as one user. Use it as an asynchronous context manager."""

    def __init__(
        self, server: str, *, token: str | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self.server = server.rstrip("/")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx2.AsyncClient(
            base_url=self.server, headers=headers, verify=tls or True, timeout=30
        )
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._http)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def login(self, username: str, password: str, code: str | None = None) -> str:
        """Return a session token; raises ``SecondFactorError`` when a code is needed too."""
        body = {"username": username, "password": password, "code": code}
        answer = await self.call("POST", "/v1/login", body=body)
        return str(answer["token"])

    async def logout(self) -> None:
        """End the session of this client's token."""
        await self.call("POST", "/v1/logout")

    async def whoami(self) -> Document:
        """Return who this client is and may do."""
        return await self.call("GET", "/v1/whoami")

    async def installation(self) -> Document:
        """Return the hub's identity, version and recovery key."""
        return await self.call("GET", "/v1/installation")

    async def set_recovery_key(self, pem: str) -> None:
        """Store the public half of the offline recovery key; possible once."""
        await self.call("PUT", "/v1/installation/recovery-key", body={"publicKey": pem})

    async def enrolment_token(self, gateway: str, *, replace: bool = False) -> Document:
        """Return a one-time token and the command that uses it beside vCenter.

        ``replace`` lets a gateway that has enrolled already do so with new keys.
        """
        body = {"replace": replace}
        return await self.call("POST", f"{path_of(Gateway)}/{quoted(gateway)}/token", body=body)

    async def move(
        self, project: str, cluster: str, gateway: str, *, with_users: bool, dry_run: bool = False
    ) -> Document:
        """Move a cluster to another gateway; returns all that changes hands with it."""
        body = {
            "project": project,
            "cluster": cluster,
            "gateway": gateway,
            "withUsers": with_users,
        }
        return await self.call("POST", "/v1/moves", body=body, params=_dry(dry_run))

    async def cancel_move(self, project: str, cluster: str) -> None:
        """Let the gateway that has the cluster go on."""
        body = {"project": project, "cluster": cluster}
        await self.call("POST", "/v1/moves/cancel", body=body)

    async def declare_dead(
        self, gateway: str, successor: str, *, dry_run: bool = False
    ) -> Document:
        """Give all that a lost gateway had to another one; returns what that is."""
        body = {"gateway": gateway, "successor": successor}
        return await self.call("POST", "/v1/moves/declare-dead", body=body, params=_dry(dry_run))

    async def sealed(self, gateway: str) -> Document:
        """Return ``keys`` and ``secrets`` that are sealed to a gateway, whole envelopes."""
        return await self.call("GET", f"/v1/moves/sealed/{quoted(gateway)}")

    async def put_resealed(self, gateway: str, sealed: Document) -> None:
        """Hand over envelopes that the gateway can open too."""
        await self.call("POST", f"/v1/moves/resealed/{quoted(gateway)}", body=sealed)

    async def conflicts(self, gateway: str) -> builtins.list[Document]:
        """Return what a gateway holds otherwise than the hub, or alone."""
        answer = await self.call("GET", f"{path_of(Gateway)}/{quoted(gateway)}/conflicts")
        return list(answer["items"])

    async def decide(self, gateway: str, uid: str, keep: str) -> builtins.list[Document]:
        """Keep the ``gateway``'s or the ``hub``'s version of an intent; return what is left."""
        path = f"{path_of(Gateway)}/{quoted(gateway)}/conflicts/{quoted(uid)}/decision"
        answer = await self.call("POST", path, body={"keep": keep})
        return list(answer["items"])

    async def set_password(self, user: str, password: str) -> None:
        """Set somebody's password; their sessions end."""
        body = {"password": password}
        await self.call("PUT", f"/v1/users/{quoted(user)}/password", body=body)

    async def get(self, kind: type[R], name: str, *, project: str = "") -> R:
        """Return one resource; raises ``NotFoundError``."""
        answer = await self.call("GET", f"{path_of(kind, project)}/{quoted(name)}")
        return self._read(kind, answer)

    async def page(
        self,
        kind: type[R],
        *,
        project: str = "",
        selector: str | None = None,
        limit: int = _PAGE,
        after: str | None = None,
    ) -> Page[R]:
        """Return one page of a list."""
        params = {"limit": limit, "labelSelector": selector, "continue": after}
        answer = await self.call("GET", path_of(kind, project), params=params)
        items = [self._read(kind, item) for item in answer["items"]]
        return Page(items, answer.get("continue"))

    async def list(
        self, kind: type[R], *, project: str = "", selector: str | None = None
    ) -> list[R]:
        """Return a whole list, page by page."""
        items: list[R] = []
        after: str | None = None
        while True:
            page = await self.page(kind, project=project, selector=selector, after=after)
            items += page.items
            if page.next is None:
                return items
            after = page.next

    async def create(
        self, resource: R, *, dry_run: bool = False, idempotency_key: str | None = None
    ) -> R:
        """Create a resource; raises ``ConflictError`` when the name is taken.

        With a key of your own (a UUID for example) the same call may be repeated when its answer
        was lost: for 24 hours the hub gives the first answer again, and does nothing twice.
        """
        project = resource.metadata.project
        answer = await self.call(
            "POST",
            path_of(type(resource), project),
            body=creation_document(resource),
            params=_dry(dry_run),
            headers={"Idempotency-Key": idempotency_key} if idempotency_key else None,
        )
        return self._read(type(resource), answer)

    async def put_spec(self, resource: R, *, dry_run: bool = False) -> R:
        """Replace what is asked, unless somebody else changed it since it was read."""
        version = f'"{resource.metadata.resource_version}"'
        return await self._put_spec(resource, {"If-Match": version}, dry_run=dry_run)

    async def replace_spec(self, resource: R, *, dry_run: bool = False) -> R:
        """Replace what is asked, whatever was asked before."""
        return await self._put_spec(resource, {}, dry_run=dry_run)

    async def replace_labels(self, resource: R, *, dry_run: bool = False) -> R:
        """Replace the labels, whatever they were before; Moorage's own stay."""
        meta = resource.metadata
        path = f"{path_of(type(resource), meta.project)}/{quoted(meta.name)}/labels"
        answer = await self.call("PUT", path, body=meta.labels, params=_dry(dry_run))
        return self._read(type(resource), answer)

    async def change_spec(
        self, kind: type[R], name: str, change: Callable[[R], None], *, project: str = ""
    ) -> R:
        """Read, change and write back; begin again when somebody wrote in between.

        A gateway's status counts as such a write, so this is usual while much happens.
        """
        for attempt in range(_CHANGE_ATTEMPTS):
            found = await self.get(kind, name, project=project)
            change(found)
            try:
                return await self.put_spec(found)
            except ChangedError:
                if attempt == _CHANGE_ATTEMPTS - 1:
                    raise
        raise AssertionError(name)

    async def _put_spec(self, resource: R, headers: dict[str, str], *, dry_run: bool) -> R:
        meta = resource.metadata
        answer = await self.call(
            "PUT",
            f"{path_of(type(resource), meta.project)}/{quoted(meta.name)}/spec",
            body=resource.document()["spec"],
            params=_dry(dry_run),
            headers=headers,
        )
        return self._read(type(resource), answer)

    async def delete(self, kind: type[R], name: str, *, project: str = "") -> None:
        """Ask for deletion. Whatever has to be taken down first is."""
        await self.call("DELETE", f"{path_of(kind, project)}/{quoted(name)}")

    async def wait(
        self,
        kind: type[R],
        name: str,
        is_so: Callable[[R], bool] = is_ready,
        *,
        project: str = "",
        timeout_s: float = 600,
    ) -> R:
        """Stay until a resource is ready, or something else is so of it; return it then.

        Raises ``WaitedTooLongError`` after ``timeout_s``, and ``TerminalError`` when it cannot
        get ready without a change.
        """
        return await wait_until(self, kind, name, is_so, project=project, timeout_s=timeout_s)

    async def wait_gone(
        self, kind: type[R], name: str, *, project: str = "", timeout_s: float = 600
    ) -> None:
        """Stay until a resource is gone; raises ``WaitedTooLongError`` after ``timeout_s``."""
        await wait_gone(self, kind, name, project=project, timeout_s=timeout_s)

    async def apply_cluster(
        self, document: Document, *, project: str, dry_run: bool = False, new: bool = False
    ) -> Document:
        """Create or update a cluster and the node pools named in its document, at once.

        With ``new`` it raises ``ConflictError`` when there is a cluster of that name.
        """
        path = path_of(Cluster, project)
        if new:
            return await self.call("POST", path, body=document, params=_dry(dry_run))
        path = f"{path}/{quoted(str(document['metadata']['name']))}"
        return await self.call("PUT", path, body=document, params=_dry(dry_run))

    async def plan_cluster(
        self,
        document: Document,
        *,
        project: str,
        host_lost: str | None = None,
        how_many: bool = False,
    ) -> Plan:
        """Ask what a cluster's document would change; follow the answer with ``get``."""
        path = f"{path_of(Cluster, project)}/{quoted(str(document['metadata']['name']))}/plans"
        params = {"hostLost": host_lost, "howMany": "true" if how_many else None}
        return self._read(Plan, await self.call("POST", path, body=document, params=params))

    async def apply_plan(
        self, cluster: str, plan: str, *, project: str, dry_run: bool = False
    ) -> Document:
        """Apply a plan; raises ``ConflictError`` when it is outdated, refused or not ready."""
        path = f"{path_of(Cluster, project)}/{quoted(cluster)}/spec"
        return await self.call("PUT", path, params={"plan": plan, **_dry(dry_run)})

    async def operate(self, operation: Operation) -> Operation:
        """Ask a gateway for something with an end; follow the result with ``get``."""
        return await self.create(operation)

    async def watch(
        self, kind: type[R], *, project: str = "", selector: str | None = None, since: int = 0
    ) -> AsyncIterator[WatchEvent[R]]:
        """Yield the changes of a list as they happen."""
        params = {"labelSelector": selector, "resourceVersion": since or None}
        given = {key: value for key, value in params.items() if value is not None}
        async for event in events(self._http, path_of(kind, project), kind, given):
            yield event

    async def lines(
        self, path: str, *, params: dict[str, Any] | None = None
    ) -> AsyncIterator[Document]:
        """Yield the JSON lines of an answer as they come; raises ``UnavailableError``."""
        given = {key: value for key, value in (params or {}).items() if value is not None}
        try:
            async with self._http.stream("GET", path, params=given) as response:
                if not response.is_success:
                    await response.aread()
                    raise_for(response, f"GET {path} at {self.server}")
                async for line in response.aiter_lines():
                    yield json.loads(line)
        except httpx2.TransportError as error:
            raise UnavailableError(
                f"{self.server} broke off {path}: {error or type(error).__name__}"
            ) from error

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        params: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Document:
        """Make one call and return its JSON (empty for none). Reads are tried three times.

        Raises the error that the hub's problem stands for, ``UnavailableError`` when the hub
        cannot be reached.
        """
        attempts = _READ_ATTEMPTS if method == "GET" else 1
        given = {key: value for key, value in (params or {}).items() if value is not None}
        while True:
            attempts -= 1
            try:
                response = await self._http.request(
                    method, path, json=body, params=given, headers=headers
                )
                break
            except httpx2.TransportError as error:
                if fault := untrusted(error):
                    raise MoorageError(
                        f"the certificate of {self.server} is not trusted: "
                        f"{fault.verify_message}. `moorage login {self.server} --ca-file FILE` "
                        "names the hub's own CA (ca.crt in the hub's data directory)"
                    ) from error
                if attempts == 0:
                    raise UnavailableError(
                        f"{self.server} does not answer: {error or type(error).__name__}"
                    ) from error
            await anyio.sleep(random.uniform(*_PAUSE_S))  # noqa: S311 - only spreads the load
        tried = f"{method} {path} at {self.server}"
        raise_for(response, tried)
        if not response.content:
            return {}
        try:
            return dict(response.json())
        except ValueError as error:
            raise MoorageError(f"{tried} was not answered by a Moorage hub: no JSON") from error

    def _read(self, kind: type[R], document: Any) -> R:
        try:
            return kind.model_validate(document)
        except ValidationError as error:
            fault = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in fault["loc"])
            raise MoorageError(
                f"{self.server} sent a {kind.kind_name()} that moorage {__version__} does not "
                f"understand ({where}: {fault['msg']}): use a CLI of the hub's version"
            ) from error


def _dry(dry_run: bool) -> dict[str, Any]:
    return {"dryRun": "true"} if dry_run else {}
