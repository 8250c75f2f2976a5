"""Rendering the chart as Helm does, and what a test says of the outcome."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from moorage_lab import deploy

Json = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy" / "helm" / "moorage"
NAMESPACE = "moorage"

HUB: Json = {
    "publicUrl": "https://moorage.example.com",
    "database": {"existingSecret": "database"},
    "tls": {"existingSecret": "certificate"},
    "admin": {"existingSecret": "administrator"},
}
MONITORED: Json = {
    "serviceMonitor": {"enabled": True, "hubTokenSecret": "metrics-token"},
    "rules": {"enabled": True, "labels": {"release": "prometheus"}},
    "dashboard": {"enabled": True},
}
CASES: Mapping[str, Json] = {
    "a hub": {"hub": HUB},
    "all of it": {
        "hub": {
            **HUB,
            "listenAddress": "::",
            "config": {"log-level": "debug", "trusted-proxy": ["10.0.0.0/8"]},
            "ingress": {"enabled": True, "className": "nginx"},
            "service": {"type": "LoadBalancer", "annotations": {"a/b": "c"}},
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "tolerations": [{"operator": "Exists"}],
            "affinity": {"podAntiAffinity": {}},
            "priorityClassName": "system-cluster-critical",
            "podAnnotations": {"example.com/team": "platform"},
        },
        "image": {
            "repository": "registry.example.com/moorage",
            "digest": f"sha256:{'0' * 64}",
            "pullSecrets": [{"name": "pull"}],
        },
        "gateway": {
            "enabled": True,
            "enrolment": {"tokenSecret": "token"},
            "hubCASecret": "ca",
            "config": {"deletionBrake": {"machinesPerHour": 10}},
            "volume": {"storageClassName": "fast"},
        },
        "networkPolicy": {
            "hub": {
                "from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
                "databaseTo": [{"podSelector": {"matchLabels": {"app": "postgres"}}}],
                "extraEgress": [{"ports": [{"port": 587}]}],
            },
            "gateway": {
                "to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
                "metricsFrom": [{"namespaceSelector": {}}],
            },
        },
        "metrics": MONITORED,
    },
    "replicas of a site's gateway": {
        "hub": {"enabled": False},
        "gateway": {
            "enabled": True,
            "replicas": 3,
            "hub": "https://hub.example.com",
            "keys": {"existingSecret": "keys"},
            "database": {"existingSecret": "database"},
        },
    },
}


def lab_deploy(*arguments: str, given: str) -> Any:
    """Run lab-deploy; raises ``AssertionError`` with what it says against it."""
    done = subprocess.run(
        [deploy.find_or_build(), *arguments],
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def files(values: Json, *, release: str = "prod") -> dict[str, str]:
    """Render the chart: text by file."""
    found: dict[str, str] = lab_deploy(
        "render", str(CHART), release, NAMESPACE, given=yaml.safe_dump(values)
    )
    return {name.partition("/templates/")[2]: text for name, text in found.items()}


def render(values: Json, *, release: str = "prod") -> list[Json]:
    """Render the chart: its objects."""
    return [
        document
        for name, text in sorted(files(values, release=release).items())
        if name.endswith(".yaml")
        for document in yaml.safe_load_all(text)
        if document
    ]


def one(documents: list[Json], kind: str, end: str = "") -> Json:
    """Return the one object of a kind whose name ends so."""
    (found,) = (d for d in documents if d["kind"] == kind and d["metadata"]["name"].endswith(end))
    return found


def pods(documents: list[Json]) -> list[Json]:
    """Return a pod of each workload, with a claim in place of a volume's template."""
    made = []
    for document in documents:
        if document["kind"] not in {"Deployment", "StatefulSet"}:
            continue
        template = document["spec"]["template"]
        claims = [
            {"name": claim["metadata"]["name"], "persistentVolumeClaim": {"claimName": "claim"}}
            for claim in document["spec"].get("volumeClaimTemplates", ())
        ]
        made.append(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    **template["metadata"],
                    "name": document["metadata"]["name"],
                    "namespace": NAMESPACE,
                },
                "spec": {
                    **template["spec"],
                    "volumes": [*template["spec"]["volumes"], *claims],
                },
            }
        )
    return made
