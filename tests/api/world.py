"""What API tests say: a hub, people who ask it, and documents with one line of difference."""

from datetime import timedelta
from typing import Any

import httpx2
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from moorage.hub.context import Hub
from moorage.kit.clock import FakeClock
from moorage.kit.identity import PrivateIdentity, sealing_key_statement
from moorage.kit.seal import PrivateSealingKey, seal

Json = dict[str, Any]
PASSWORD = "correct horse battery staple"


class World:
    """A hub and a client; ``token`` decides who asks."""

    def __init__(self, hub: Hub, http: httpx2.AsyncClient, clock: FakeClock) -> None:
        self.hub, self.http, self.clock = hub, http, clock
        self.tokens: dict[str, str] = {}
        self.user = "admin"
        self.sealing = PrivateSealingKey.generate()
        self.identity = PrivateIdentity.generate()

    def forward(self, **delta: float) -> None:
        """Let time pass."""
        self.clock.advance(timedelta(**delta))

    async def log_in(self, user: str, password: str) -> None:
        """Log a user in and ask as that user from now on."""
        response = await self.http.post("/v1/login", json={"username": user, "password": password})
        assert response.status_code == 200, response.text
        self.tokens[user] = response.json()["token"]
        self.user = user

    async def make_user(self, name: str, grants: list[Json]) -> None:
        """Make a user with a password, as the administrator, and log in."""
        await self.ok("POST", "/v1/users", {"metadata": {"name": name}, "spec": {"grants": grants}})
        await self.ok("PUT", f"/v1/users/{name}/password", {"password": PASSWORD})
        before = self.user
        await self.log_in(name, PASSWORD)
        self.user = before

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        user: str | None = None,
        headers: dict[str, str] | None = None,
        **params: Any,
    ) -> httpx2.Response:
        """Ask, and return whatever comes back."""
        token = self.tokens.get(user or self.user)
        sent = {"Authorization": f"Bearer {token}"} if token else {}
        return await self.http.request(
            method, path, json=body, params=params or None, headers=sent | (headers or {})
        )

    async def ok(self, method: str, path: str, body: Any = None, **kwargs: Any) -> Json:
        """Ask and insist on success."""
        response = await self.ask(method, path, body, **kwargs)
        assert response.is_success, f"{method} {path}: {response.status_code} {response.text}"
        return dict(response.json()) if response.content else {}

    async def refused(
        self, status: int, method: str, path: str, body: Any = None, **kwargs: Any
    ) -> Json:
        """Ask and insist on a problem of that status."""
        response = await self.ask(method, path, body, **kwargs)
        assert response.status_code == status, f"{response.status_code} {response.text}"
        assert response.headers["content-type"] == "application/problem+json"
        return dict(response.json())

    async def faults(
        self, method: str, path: str, body: Any = None, **kwargs: Any
    ) -> dict[str, str]:
        """Ask for what is invalid; return field -> message."""
        problem = await self.refused(422, method, path, body, **kwargs)
        told: dict[str, str] = {}
        for fault in problem.get("faults", []):
            told[fault["path"]] = f"{told.get(fault['path'], '')}{fault['message']}"
        return told

    async def enrol(self, gateway: str = "site-1") -> None:
        """Make a gateway and let it enrol."""
        await self.ok("POST", "/v1/gateways", {"metadata": {"name": gateway}})
        made = await self.ok("POST", f"/v1/gateways/{gateway}/token")
        await self.ok("POST", "/v1/enroll", self.enrolment(made["token"], gateway))

    def enrolment(self, token: str, gateway: str) -> Json:
        """Return what a gateway sends to enrol."""
        sealing = self.sealing.public()
        statement = sealing_key_statement(gateway, sealing.key_id)
        return {
            "token": token,
            "gateway": gateway,
            "identityKey": self.identity.public().pem,
            "sealingKey": sealing.pem,
            "sealingKeySignature": self.identity.sign(statement),
            "version": "0.1.0",
        }

    async def site(self, gateway: str = "site-1", **pool: Any) -> None:
        """Make all that a cluster needs: gateway, secret, account and an IP pool."""
        await self.enrol(gateway)
        await self.ok("POST", "/v1/secrets", self.secret(gateway=gateway))
        await self.ok("POST", "/v1/accounts", an_account(gateway=gateway))
        await self.ok("POST", "/v1/ippools", an_ip_pool(gateway=gateway, **pool))

    @staticmethod
    def certificate_request() -> str:
        """Return a PEM certificate request."""
        return _request()

    def secret(self, name: str = "vcenter", gateway: str = "site-1") -> Json:
        """Return a secret sealed to the gateway."""
        sealed = seal(b"password", [self.sealing.public()], {"account": name})
        return {
            "metadata": {"name": name},
            "spec": {"gateway": gateway, "sealed": sealed.model_dump(by_alias=True)},
        }


def _request() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "admin")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, SHA256())
    return request.public_bytes(Encoding.PEM).decode()


def an_account(name: str = "vcenter", gateway: str = "site-1", **spec: Any) -> Json:
    """Return a cloud account."""
    return {
        "metadata": {"name": name},
        "spec": {
            "gateway": gateway,
            "server": "vcenter.example.com",
            "username": "moorage@vsphere.local",
            "secret": "vcenter",
            **spec,
        },
    }


def an_ip_pool(name: str = "nodes", gateway: str = "site-1", **spec: Any) -> Json:
    """Return an IP pool of 40 addresses."""
    return {
        "metadata": {"name": name},
        "spec": {
            "gateway": gateway,
            "start": "10.0.0.10",
            "end": "10.0.0.49",
            "prefix": 24,
            "router": "10.0.0.1",
            "nameServers": ["10.0.0.2"],
            **spec,
        },
    }


def a_cluster(name: str = "one", pools: list[Json] | None = None, **spec: Any) -> Json:
    """Return a cluster document with static addresses and one pool of one worker."""
    return {
        "kind": "Cluster",
        "metadata": {"name": name},
        "spec": {
            "account": "vcenter",
            "kubernetesVersion": "v1.34.4",
            "placement": {
                "datacenter": "DC0",
                "folder": "moorage",
                "template": "ubuntu",
                "failureDomains": [
                    {
                        "name": "a",
                        "computeCluster": "C0",
                        "datastore": "LocalDS_0",
                        "network": "VM Network",
                        "ipPool": "nodes",
                    }
                ],
            },
            **spec,
        },
        "nodePools": [{"name": "workers", "replicas": 1}] if pools is None else pools,
    }


def spec_of(document: Json, **changes: Any) -> Json:
    """Return the spec of a document with some fields changed."""
    return {**document["spec"], **changes}
