"""vSphere's faults and the network's errors, made into ``kit.errors`` in this one place."""

import socket
import ssl
from http.client import HTTPException
from xml.parsers.expat import ExpatError

from pyVmomi import vim, vmodl

from moorage.kit.errors import (
    ConflictError,
    ForbiddenError,
    MoorageError,
    NotFoundError,
    TerminalError,
    UnavailableError,
)
from moorage.vsphere.endpoint import Endpoint

NETWORK_ERRORS = (OSError, HTTPException, ExpatError)
"""What pyVmomi lets through when it gets no SOAP answer."""

_RETRY = (
    vim.fault.HostConnectFault,
    vim.fault.InsufficientResourcesFault,
    vim.fault.NoDiskSpace,
    vim.fault.FileLocked,
    vim.fault.ResourceInUse,
    vim.fault.TaskInProgress,
    vim.fault.Timedout,
    vmodl.fault.HostCommunication,
    vmodl.fault.HostNotConnected,
    vmodl.fault.HostNotReachable,
    vmodl.fault.RequestCanceled,
    vmodl.fault.SystemError,
)
_CHANGED = (
    vim.fault.ConcurrentAccess,
    vim.fault.InvalidPowerState,
    vim.fault.InvalidState,
    vim.fault.AlreadyExists,
)


class PinMismatchError(ssl.SSLError):
    """The server's certificate is not the pinned one."""

    def __init__(self, expected: str, actual: str) -> None:
        super().__init__(f"expected {expected}, got {actual}")
        self.expected = expected
        self.actual = actual


class LoginError(UnavailableError):
    """VCenter lets nobody in now, without having refused the password."""


class DeadlineError(TimeoutError):
    """The deadline passed before anything was sent: nothing has happened."""


def fault_name(fault: BaseException) -> str:
    """Return vSphere's own name of a fault, such as ``DuplicateName``."""
    return type(fault).__name__.rpartition(".")[2]


def fault_text(fault: BaseException) -> str:
    """Return the localized message with the details that some faults keep beside it."""
    parts = [getattr(fault, "msg", "") or getattr(fault, "localizedMessage", "") or ""]
    parts += [
        part.message
        for part in getattr(fault, "faultMessage", None) or []
        if getattr(part, "message", None)
    ]
    cause = getattr(fault, "faultCause", None)
    if cause is not None and getattr(cause, "msg", None):
        parts.append(cause.msg)
    seen = dict.fromkeys(part.strip() for part in parts if part.strip())
    text = "; ".join(seen)
    return f"{fault_name(fault)}: {text}" if text else fault_name(fault)


def translate(fault: BaseException, what: str) -> MoorageError:  # noqa: PLR0911 - a table
    """Return the error that callers understand.

    Args:
        fault: What vSphere answered, to the call or as the end of a task.
        what: What was tried, on what, such as ``clone VM web-1``.
    """
    text = f"{what}: vCenter answered {fault_text(fault)}"
    match fault:
        case vim.fault.NotAuthenticated():
            return UnavailableError(f"{what}: vCenter ended the session: it is tried again")
        case vim.fault.NoPermission():
            privilege = fault.privilegeId or "an unnamed privilege"
            on = moref_of(fault.object)
            return ForbiddenError(
                f"{what}: the account lacks the privilege {privilege} on {on}: "
                "grant a role with it there"
            )
        case vmodl.fault.ManagedObjectNotFound():
            return NotFoundError(f"{what}: {moref_of(fault.obj)} is no longer in vCenter")
        case vim.fault.DuplicateName():
            return ConflictError(f"{what}: the name {fault.name} is taken by {fault.object}")
        case _ if isinstance(fault, _RETRY):
            return UnavailableError(f"{text}. It is tried again")
        case _ if isinstance(fault, _CHANGED):
            return ConflictError(f"{text}. It is looked at again")
        case vmodl.MethodFault():
            return TerminalError(fault_name(fault), text)
    return UnavailableError(f"{what}: {type(fault).__name__}: {fault}")


def moref_of(managed_object: object) -> str:
    """Return ``Type:moref`` of a managed object in a fault, or a word for none."""
    moref = getattr(managed_object, "_moId", None)
    if moref is None:
        return "an object that vCenter does not name"
    return f"{type(managed_object).__name__.rpartition('.')[2]} {moref}"


def no_answer(  # noqa: PLR0911 - a table
    error: BaseException, endpoint: Endpoint, what: str
) -> MoorageError:
    """Return the error for a call that got no SOAP answer from the endpoint."""
    where = f"vCenter {endpoint.host}:{endpoint.port}"
    match error:
        case PinMismatchError():
            return TerminalError(
                "UntrustedCertificate",
                f"{what}: the certificate of {where} has SHA-256 {error.actual}, but the account "
                f"pins {error.expected}. If the certificate was renewed on purpose, compare the "
                "fingerprint beside vCenter and set trust.sha256; if not, somebody is in between",
            )
        case ssl.SSLCertVerificationError():
            return TerminalError(
                "UntrustedCertificate",
                f"{what}: the certificate of {where} is not trusted: {error.verify_message}. "
                "Give its CA as trust.caBundle, or its fingerprint as trust.sha256",
            )
        case ssl.SSLError():
            return UnavailableError(
                f"{what}: TLS with {where} failed: {error}. Is this the HTTPS port of a vCenter?"
            )
        case socket.gaierror():
            return UnavailableError(
                f"{what}: the name {endpoint.host} cannot be resolved ({error.strerror}): "
                "check server of the account, and the gateway's DNS"
            )
        case DeadlineError():
            return UnavailableError(f"{what}: not sent to {where}: {error}. It is tried again")
        case TimeoutError():
            return UnavailableError(
                f"{what}: {where} did not answer in time. Whether it acted is not known; "
                "it is looked at again"
            )
        case ConnectionRefusedError():
            return UnavailableError(
                f"{what}: {where} refuses connections: is vCenter (re)starting, is the port right?"
            )
        case HTTPException() if not isinstance(error, ConnectionError):
            return UnavailableError(f"{what}: {where} answered HTTP {error}: {_http_says(error)}")
        case ExpatError():
            return UnavailableError(
                f"{what}: {where} answered something that is not SOAP ({error}): "
                "is this address a vCenter?"
            )
    return UnavailableError(
        f"{what}: the connection to {where} failed: {type(error).__name__}: {error}. "
        "Check server of the account, and the network between gateway and vCenter"
    )


def _http_says(error: HTTPException) -> str:
    if not str(error).startswith("503 "):
        return "vCenter is not ready, or this is not one"
    return (
        "its services are starting or stopping, or its limit of sessions is reached, towards which "
        "those of other products count too (vpxd.log then says so: end what is not needed, or "
        "raise the limit)"
    )


def not_vcenter(endpoint: Endpoint, about: vim.AboutInfo) -> str:
    """Return what to say of another product, such as an ESXi host."""
    return (
        f"vCenter {endpoint.host}:{endpoint.port} is {about.fullName} (API type {about.apiType}), "
        "not a vCenter: give the address of the vCenter that manages this host"
    )


def too_old(endpoint: Endpoint, api_version: str) -> str:
    """Return what to say of a vCenter that is older than all that are supported."""
    return (
        f"vCenter {endpoint.host}:{endpoint.port} is too old (API {api_version}): the oldest that "
        "is supported is 6.7 Update 3 (API 6.7.3). Update it"
    )


def refused_login(fault: vmodl.MethodFault, endpoint: Endpoint) -> str:
    """Return what to say of a login that was refused for good."""
    where = f"vCenter {endpoint.host}:{endpoint.port}"
    if isinstance(fault, vim.fault.NoPermission):
        return (
            f"{where} knows {endpoint.username} but lets it do nothing: {fault_text(fault)}. Give "
            "the user a role, then give the password again"
        )
    return (
        f"{where} refused the login of {endpoint.username}: {fault_text(fault)}. It is not tried "
        "again, so that the account is not locked: give the right password (or user name)"
    )


def not_let_in(fault: vmodl.MethodFault, endpoint: Endpoint) -> LoginError:
    """Return the error of a login that failed for a reason which passes."""
    return LoginError(
        f"log in: vCenter {endpoint.host}:{endpoint.port} did not let {endpoint.username} in: "
        f"{fault_text(fault)}. The password was not refused, so it is tried again, with growing "
        "pauses. Look at vCenter's services, and at how many sessions are open"
    )


def changed_certificate(shown: str, before: str | None) -> str:
    """Return what to do about a certificate that is not trusted.

    Args:
        shown: Its fingerprint.
        before: That of the one which was accepted last, if it is known.
    """
    if before in (None, shown):
        return f"it now shows {shown}: compare it beside vCenter first"
    return (
        f"it now shows {shown}, and showed {before} when it was last accepted: if it was renewed "
        "on purpose, compare the new one beside vCenter first; if not, somebody is in between"
    )


def tells_of_health(error: MoorageError) -> bool | None:
    """Tell whether an error is an answer of vCenter's; ``None`` if it says nothing about that."""
    if isinstance(error, LoginError):
        return False
    cause = error.__cause__
    if isinstance(cause, vmodl.MethodFault):
        return True
    if isinstance(cause, (DeadlineError, ConnectionResetError, BrokenPipeError, ssl.SSLError)):
        return None
    return False if isinstance(cause, NETWORK_ERRORS) else None
