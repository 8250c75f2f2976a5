"""What a gateway does inside a new cluster: greet its API, let machines join, lay the layers."""

import hashlib
import json

from moorage.bootstrap import certs_access, cluster_admins_binding, kubeadm_certs_secret
from moorage.controllers.gateway.accounts.clock import any_waits_for_clock
from moorage.controllers.gateway.env import Env
from moorage.controllers.gateway.machines.balancer import (
    look_at_balancer,
    say_it_leads,
    to_forward,
)
from moorage.controllers.gateway.machines.records import role_of
from moorage.engine import DONE, Outcome, step, wait
from moorage.kit.errors import InvalidError, TerminalError, UnavailableError
from moorage.packs import render_layer
from moorage.resources import Cluster, Machine
from moorage.resources.cluster import EndpointType

FIELD_MANAGER = "moorage-gateway"
CERTS_SECRET = "kubeadm-certs"  # noqa: S105 - a name
LAYERS = "LayersApplied"
"""In a cluster's timeline: no node is ready before its network is laid."""
_FIRST_LOOK_S = 1.0
_LATER_LOOK_S = 5.0


@step("APIReachable")
async def ensure_api_reachable(cluster: Cluster, env: Env) -> Outcome:
    client = await env.access.client(cluster)
    try:
        cluster.status.kubernetes_version = await client.version()
    except UnavailableError as error:
        founders = await role_of(env, cluster, None)
        await look_at_balancer(cluster, founders, env)
        before = "APIReachable" in cluster.status.timeline
        if before:
            return wait(
                "APIUnreachable",
                f"{cluster.status.endpoint} does not answer: {error}",
                after=_LATER_LOOK_S,
            )
        return wait(
            "ClockSkewed" if any_waits_for_clock(founders) else "WaitingForFirstControlPlane",
            f"{cluster.status.endpoint} does not answer: {error}{_doing(founders)}"
            f"{_by_whom(cluster, founders)}",
            after=_FIRST_LOOK_S,
        )
    say_it_leads(cluster, env)
    if "APIReachable" not in cluster.status.timeline:
        env.index.milestones.add(cluster.metadata.uid)
        env.stamp(cluster.status.timeline, "APIReachable")
    return DONE


@step("JoinPrepared")
async def ensure_join_prepared(cluster: Cluster, env: Env) -> Outcome:
    """Let people in; offer the CA keys, encrypted, while control planes are about to join."""
    keys = await env.access.keys(cluster)
    if keys is None:
        return wait("KeysNotOpened", "the cluster's keys are opened on the next pass", after=1)
    machines = await role_of(env, cluster, None)
    wanted = any(machine.status.node_name is None for machine in machines)
    if cluster.status.join_offered is not wanted:
        client = await env.access.client(cluster)
        # The founder may have joined before this is first reached: people's rights come always.
        objects = [cluster_admins_binding()]
        if wanted:
            objects += [kubeadm_certs_secret(keys), *certs_access()]
        await client.apply(objects, FIELD_MANAGER)
        if not wanted:
            await client.delete_secret("kube-system", CERTS_SECRET)
        cluster.status.join_offered = wanted
    return DONE


@step("LayersApplied")
async def ensure_layers(cluster: Cluster, env: Env) -> Outcome:
    client = await env.access.client(cluster)
    for layer in cluster.spec.layers:
        try:
            rendered = render_layer(layer, cluster)
        except InvalidError as error:
            raise TerminalError("LayerInvalid", f"layer {layer.name}: {error}") from error
        text = json.dumps(rendered.objects, sort_keys=True)
        mark = f"{rendered.pack} {rendered.version} {hashlib.sha256(text.encode()).hexdigest()[:8]}"
        if cluster.status.layers.get(layer.name) == mark:
            continue
        await client.apply(rendered.objects, FIELD_MANAGER)
        cluster.status.layers[layer.name] = mark
    if LAYERS not in cluster.status.timeline:
        env.index.milestones.add(cluster.metadata.uid)
        env.stamp(cluster.status.timeline, LAYERS)
    return DONE


def _by_whom(cluster: Cluster, machines: list[Machine]) -> str:
    """Say what has to be so outside of Moorage before the endpoint answers."""
    endpoint = cluster.spec.endpoint
    if endpoint.type is EndpointType.EXTERNAL:
        return f"; {to_forward(cluster, machines)}"
    if endpoint.type is EndpointType.DDNS:
        return "; the DHCP server has to lease it an address and enter its name into DNS"
    return ""


def _doing(machines: list[Machine]) -> str:
    for machine in machines:
        if machine.spec.bootstrap == "init":
            ready = machine.status.condition("Ready")
            if ready is not None:
                return f" ({machine.metadata.name}: {ready.reason}: {ready.message})"
    return ""
