"""The connection to an ESXi host that takes a file in: never to one that was not verified.

The account's password and session are of vCenter and never go there: who knows the URL of a lease
may send to it.
"""

import hashlib
import http.client
import re
import ssl
from typing import Final
from urllib.parse import urlsplit

from moorage.engine import lease
from moorage.kit.errors import MoorageError, TerminalError, UnavailableError
from moorage.vsphere.endpoint import Endpoint
from moorage.vsphere.wire import fingerprint, tls_context

_CUT: Final = (OSError, http.client.HTTPException)
_DISK_TYPE: Final = "application/x-vnd.vmware-streamVmdk"
_HASHES: Final = {20: "sha1", 32: "sha256"}
"""What a thumbprint was made by, by its length in bytes. VCenter's are SHA-1."""


class HostUpload:
    """One file on its way to a host, in pieces."""

    def __init__(
        self,
        url: str,
        thumbprint: str,
        endpoint: Endpoint,
        *,
        size: int,
        is_disk: bool,
        timeout_s: float,
    ) -> None:
        """Connect, verify the host, and announce the file.

        Args:
            url: Of the lease; the host ``*`` stands for the vCenter.
            thumbprint: Of the host's certificate, as the lease names it; empty: the host is
                verified as the account says of vCenter.
            endpoint: The vCenter.
            size: In bytes.
            is_disk: Whether it is a disk, and no other file such as an image of a CD.
            timeout_s: For each step.

        Raises:
            TerminalError: The host is not the one that vCenter named, or cannot be verified.
            UnavailableError: It does not answer.
        """
        parts = urlsplit(url)
        host = endpoint.host if parts.hostname == "*" else str(parts.hostname)
        port = parts.port or 443
        self.where = f"host {host}:{port}"
        if parts.scheme != "https":
            raise TerminalError(
                "HostUntrusted", f"the lease names {parts.scheme} on {self.where}: only https is"
            )
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        pin, trust = thumbprint.strip(), endpoint.trust
        if not pin and (trust.insecure or trust.sha256):
            pin = trust.sha256 or ""
            if not pin or (host, port) != (endpoint.host, endpoint.port):
                raise TerminalError(
                    "HostUntrusted",
                    f"{self.where} takes the disks, and cannot be verified: the lease names no "
                    "thumbprint, and the account's trust is for vCenter alone. Give it a caBundle "
                    "that the hosts' certificates chain to, or import by content library",
                )
        if pin:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE  # the thumbprint is compared below
        else:
            context = tls_context(trust)
        self._connection = http.client.HTTPSConnection(
            host, port, timeout=timeout_s, context=context
        )
        try:
            self._connection.connect()
            if pin:
                self._compare(pin)
            self._announce(path, size, is_disk=is_disk)
        except ssl.SSLCertVerificationError as error:
            self.close()
            raise TerminalError(
                "HostUntrusted",
                f"the certificate of {self.where}, which takes the disks, is not trusted: "
                f"{error.verify_message}. Give its CA's certificate in the account's caBundle",
            ) from error
        except _CUT as error:
            raise self._cut(error) from error
        except BaseException:
            self.close()
            raise

    def _compare(self, pin: str) -> None:
        der = self._connection.sock.getpeercert(binary_form=True) or b""
        wanted = re.sub("[^0-9a-f]", "", pin.lower())
        algorithm = _HASHES.get(len(wanted) // 2)
        found = hashlib.new(algorithm, der, usedforsecurity=False).hexdigest() if algorithm else ""
        if not found or found != wanted:
            raise TerminalError(
                "HostUntrusted",
                f"{self.where} shows a certificate with SHA-256 {fingerprint(der)}, and vCenter "
                f"says that its thumbprint is {pin}: nothing was sent. If the host's certificate "
                "was renewed, reconnect the host in vCenter; if not, somebody is in between",
            )

    def _announce(self, path: str, size: int, *, is_disk: bool) -> None:
        request = self._connection
        request.putrequest("POST" if is_disk else "PUT", path, skip_accept_encoding=True)
        if is_disk:
            request.putheader("Content-Type", _DISK_TYPE)
        else:
            request.putheader("Overwrite", "t")
        request.putheader("Content-Length", str(size))
        lease.ensure_held()
        request.endheaders()

    def send(self, data: bytes | memoryview) -> None:
        """Send the next piece, while the running pass's lease is held."""
        try:
            lease.ensure_held()
            self._connection.send(data)
        except _CUT as error:
            raise self._cut(error) from error

    def finish(self, timeout_s: float) -> None:
        """Wait until the host has the file; raises ``UnavailableError`` where it says no."""
        try:
            self._connection.sock.settimeout(timeout_s)
            answer = self._connection.getresponse()
            said = answer.read(1024).decode(errors="replace").strip()
        except _CUT as error:
            raise self._cut(error) from error
        self.close()
        if answer.status // 100 != 2:  # noqa: PLR2004 - HTTP's class of success
            raise UnavailableError(
                f"{self.where} did not take the file: HTTP {answer.status} {answer.reason} {said}"
            )

    def close(self) -> None:
        """Hang up. May be repeated."""
        self._connection.close()

    def _cut(self, error: Exception) -> MoorageError:
        self.close()
        return UnavailableError(
            f"sending a file to {self.where} failed: {type(error).__name__}: {error}. The gateway "
            "has to reach port 443 of the hosts for imports through nfc"
        )
