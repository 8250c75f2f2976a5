"""A kubeconfig whose private key never leaves the user's machine."""

import base64
import time

import anyio
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from moorage.cli.context import Context
from moorage.client import Api
from moorage.kit.errors import InvalidError, MoorageError, UnavailableError
from moorage.kit.ids import random_word
from moorage.resources import Cluster, Metadata, Operation
from moorage.resources.operation import OperationSpec, Verb

_LOOK_S = 0.3


async def make_kubeconfig(
    api: Api, context: Context, name: str, *, server: str | None, ttl_s: int, timeout_s: float
) -> str:
    """Return a kubeconfig signed by the cluster's gateway.

    Raises ``UnavailableError`` when the gateway does not answer in time.
    """
    if server is not None and not server.startswith("https://"):
        raise InvalidError(f"--server {server!r}: give an address that begins with https://")
    cluster = await api.get(Cluster, name, project=context.project)
    if cluster.status.endpoint is None:
        raise UnavailableError(f"cluster {name} has no endpoint yet: wait until it is made")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, context.hub.username)])
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    operation = await operate(
        api,
        context.project,
        OperationSpec(
            verb=Verb.KUBECONFIG,
            subject_kind="Cluster",
            subject_name=name,
            arguments={
                "csr": csr.public_bytes(serialization.Encoding.PEM).decode(),
                "ttlSeconds": ttl_s,
            },
        ),
        timeout_s,
    )
    result = operation.status.result
    user = context.hub.username
    entry = {"certificate-authority-data": _b64(result["ca"]), "server": result["server"]}
    if server is not None:
        # The certificate names the endpoint, not the detour that leads to it.
        name_there = cluster.status.endpoint.rpartition(":")[0].strip("[]")
        entry |= {"server": server, "tls-server-name": name_there}
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "clusters": [{"name": name, "cluster": entry}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": f"{user}@{name}"}}],
            "users": [
                {
                    "name": f"{user}@{name}",
                    "user": {
                        "client-certificate-data": _b64(result["certificate"]),
                        "client-key-data": _b64(private),
                    },
                }
            ],
        },
        sort_keys=False,
    )


async def operate(api: Api, project: str, spec: OperationSpec, timeout_s: float) -> Operation:
    """Ask for an operation and wait for its end.

    Raises ``UnavailableError`` when it does not end in time, ``MoorageError`` when it failed.
    """
    name = f"{spec.verb.value}-{random_word(10)}"
    operation = await api.operate(
        Operation(metadata=Metadata(name=name, project=project), spec=spec)
    )
    deadline = time.monotonic() + timeout_s
    while operation.status.completed_at is None:
        if time.monotonic() > deadline:
            waiting = operation.status.condition("Ready")
            why = f": {waiting.message}" if waiting else ": is its gateway connected?"
            raise UnavailableError(
                f"{spec.verb.value} of {spec.subject_name} was not answered in {timeout_s:.0f} s"
                f"{why}"
            )
        await anyio.sleep(_LOOK_S)
        operation = await api.get(Operation, name, project=project)
    if operation.status.failed:
        raise MoorageError(
            f"{spec.verb.value} of {spec.subject_name} failed: {operation.status.message}"
        )
    return operation


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
