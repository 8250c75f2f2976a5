"""The hub's REST API, as far as benchmarks need it."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

PAGE = 200


@dataclass
class Api:
    """A logged-in client."""

    http: httpx2.Client

    @classmethod
    def login(cls, url: str, data: Path) -> "Api":
        """Log in as ``admin``.

        Args:
            url: Of the hub.
            data: Its data directory, which has its CA and the first password.
        """
        tls = ssl.create_default_context(cafile=f"{data}/ca.crt")
        http = httpx2.Client(base_url=url, verify=tls, trust_env=False, timeout=600)
        password = (data / "initial-admin-password").read_text().strip()
        answer = http.post("/v1/login", json={"username": "admin", "password": password})
        http.headers["Authorization"] = f"Bearer {answer.raise_for_status().json()['token']}"
        return cls(http)

    def clusters(self) -> list[dict[str, Any]]:
        """Return all clusters."""
        found: list[dict[str, Any]] = []
        after: str | None = None
        while True:
            params = {"limit": str(PAGE)} | ({"continue": after} if after else {})
            page = self.http.get("/v1/projects/default/clusters", params=params)
            found += page.raise_for_status().json()["items"]
            after = page.json().get("continue")
            if not after:
                return found

    def delete(self, name: str) -> None:
        """Ask for a cluster's deletion."""
        self.http.delete(f"/v1/projects/default/clusters/{name}").raise_for_status()
