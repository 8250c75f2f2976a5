"""flannel: a pod network by VXLAN or plain routes. Upstream's manifest, with a few values."""

import hashlib
import json
import re
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import AfterValidator, Field, model_validator

from moorage.packs.model import Document, Pack
from moorage.resources.cluster import Cluster
from moorage.resources.meta import Model
from moorage.resources.spans import V4, V6

_UPSTREAM_REGISTRY = "ghcr.io"


_REGISTRY = re.compile(r"^[A-Za-z0-9.-]+(:\d+)?(/[a-z0-9._/-]+)?$")


def _check_registry(text: str) -> str:
    if not _REGISTRY.match(text):
        raise ValueError(f"{text!r}: give host, host:port or host:port/path, without https://")
    return text


class FlannelImages(Model):
    """Images to use instead of upstream's, in full, with tag."""

    flannel: str | None = Field(default=None, min_length=1)
    cni_plugin: str | None = Field(default=None, min_length=1)


class FlannelValues(Model):
    """What can be chosen. The pod network is the cluster's."""

    backend: Literal["vxlan", "host-gw"] = "vxlan"
    """``host-gw`` is faster, and needs all nodes on one layer-2 network."""
    mtu: int | None = Field(default=None, ge=1280, le=9000)
    """Of VXLAN's interface; by default that of the node's interface less 50."""
    vni: int | None = Field(default=None, ge=1, le=16_777_215)
    port: int | None = Field(default=None, ge=1, le=65_535)
    """UDP port of VXLAN. 8472 by default; NSX uses 4789 itself."""
    direct_routing: bool | None = None
    """VXLAN: plain routes between nodes of one subnet."""
    interface: str | None = Field(default=None, pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,14}$")
    """Interface for traffic between nodes; by default that of the default route."""
    nftables: bool = False
    registry: Annotated[str, AfterValidator(_check_registry)] | None = None
    """Takes the place of ``ghcr.io`` in the names of upstream's images."""
    images: FlannelImages = Field(default_factory=FlannelImages)

    @model_validator(mode="after")
    def _vxlan_values_only_with_vxlan(self) -> Self:
        given = {"mtu": self.mtu, "vni": self.vni, "port": self.port}
        given["directRouting"] = self.direct_routing
        wrong = [name for name, value in given.items() if value is not None]
        if self.backend != "vxlan" and wrong:
            raise ValueError(f"{', '.join(wrong)}: only for backend vxlan, not {self.backend}")
        return self


@cache
def _upstream(version: str) -> str:
    """Return upstream's manifest as JSON: a cluster's every pass renders, and YAML is slow."""
    text = (files("moorage.packs") / "data" / f"flannel-{version}.yaml").read_text("utf-8")
    return json.dumps([item for item in yaml.safe_load_all(text) if item is not None])


def _render(version: str, values: Any, cluster: Cluster) -> list[Document]:
    assert isinstance(values, FlannelValues)  # noqa: S101 - Pack.values
    objects: list[Document] = json.loads(_upstream(version))
    network = _network(values, cluster)
    for item in objects:
        if item["kind"] == "ConfigMap":
            item["data"]["net-conf.json"] = network
        elif item["kind"] == "DaemonSet":
            template = item["spec"]["template"]
            # flannel reads its configuration once: a changed one shall restart it.
            digest = hashlib.sha256(network.encode()).hexdigest()
            template["metadata"]["annotations"] = {"moorage.dev/configuration": digest[:16]}
            _adapt(template["spec"], values)
    return objects


def _network(values: FlannelValues, cluster: Cluster) -> str:
    backend: Document = {"Type": values.backend}
    chosen = {"VNI": values.vni, "Port": values.port, "MTU": values.mtu}
    backend |= {name: value for name, value in chosen.items() if value is not None}
    if values.direct_routing is not None:
        backend["DirectRouting"] = values.direct_routing
    pods = {one.version: str(one) for one in cluster.spec.network.pods}
    network: Document = {"Network": pods[V4]} if V4 in pods else {"EnableIPv4": False}
    if V6 in pods:
        network |= {"EnableIPv6": True, "IPv6Network": pods[V6]}
    network |= {
        "EnableNFTables": values.nftables,
        "Backend": backend,
    }
    return json.dumps(network, indent=2) + "\n"


def _adapt(pod: Document, values: FlannelValues) -> None:
    for container in (*pod["initContainers"], *pod["containers"]):
        container["image"] = _image(container["image"], values)
    if values.interface is not None:
        pod["containers"][0]["args"].append(f"--iface={values.interface}")


def _image(upstream: str, values: FlannelValues) -> str:
    is_plugin = "/flannel-cni-plugin:" in upstream
    chosen = values.images.cni_plugin if is_plugin else values.images.flannel
    if chosen is not None:
        return chosen
    if values.registry is not None:
        return upstream.replace(_UPSTREAM_REGISTRY, values.registry, 1)
    return upstream


FLANNEL = Pack(
    name="flannel",
    summary="Pod network by VXLAN or plain routes",
    versions=("v0.28.4",),
    values=FlannelValues,
    render=_render,
)
