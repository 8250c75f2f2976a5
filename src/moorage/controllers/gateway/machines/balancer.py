"""A load balancer that somebody else runs: does it answer, and does it lead to this cluster?"""

from collections.abc import Sequence
from typing import Literal

from moorage.controllers.gateway.env import Env
from moorage.kube import Answer, Probed, probe
from moorage.resources import Cluster, Machine
from moorage.resources.cluster import API_PORT, EndpointType

BALANCER_LEADS = "LoadBalancerLeads"
"""Condition of a cluster with an ``External`` endpoint. Nothing waits for it."""


async def look_at_balancer(cluster: Cluster, machines: Sequence[Machine], env: Env) -> None:
    """Say in a condition what answers at an ``External`` endpoint; of others nothing is said.

    Args:
        cluster: With its endpoint, and the certificate of its CA.
        machines: Of its control plane: what the load balancer has to lead to.
        env: As for steps.
    """
    asked, ca = cluster.spec.endpoint, cluster.status.ca_certificate
    if asked.type is not EndpointType.EXTERNAL or asked.host is None or ca is None:
        return
    found = await probe(str(asked.host), asked.port, ca)
    is_up = "APIReachable" in cluster.status.timeline
    status: Literal["True", "False", "Unknown"] = "False"
    if found.answer is Answer.EXPECTED:
        status = "True"
    elif not is_up and found.answer in (Answer.CLOSED, Answer.SILENT):
        status = "Unknown"  # many accept nothing as long as there is no server behind them
    cluster.status.set_condition(
        BALANCER_LEADS,
        status,
        found.answer.value,
        _explain(cluster, found, machines),
        now=env.clock.now(),
        generation=cluster.metadata.generation,
    )


def say_it_leads(cluster: Cluster, env: Env) -> None:
    """Note that the API has just answered through the load balancer, by the cluster's own CA."""
    if cluster.spec.endpoint.type is EndpointType.EXTERNAL:
        cluster.status.set_condition(
            BALANCER_LEADS,
            "True",
            Answer.EXPECTED.value,
            f"it leads to the cluster's API at {cluster.status.endpoint}",
            now=env.clock.now(),
            generation=cluster.metadata.generation,
        )


def to_forward(cluster: Cluster, machines: Sequence[Machine]) -> str:
    """Say what the load balancer has to do."""
    behind = sorted(one for machine in machines for one in machine.status.addresses)
    return (
        f"the load balancer has to forward port {cluster.spec.endpoint.port} to port {API_PORT} of "
        f"the control planes ({', '.join(behind) or 'their addresses are not known yet'})"
    )


def _explain(cluster: Cluster, found: Probed, machines: Sequence[Machine]) -> str:
    asked = cluster.spec.endpoint
    where = f"{asked.host} port {asked.port}"
    match found.answer:
        case Answer.EXPECTED:
            return f"it leads to an API server of the cluster at {where}"
        case Answer.NOT_RESOLVED:
            return (
                f"the name {asked.host} stands for nothing here ({found.detail}): enter it into DNS"
            )
        case Answer.STRANGER:
            return (
                f"who answers at {where} is no API server of this cluster ({found.detail}): "
                f"{to_forward(cluster, machines)}"
            )
        case Answer.CLOSED:
            said = f"nothing accepts connections at {where} ({found.detail})"
        case Answer.SILENT:
            said = f"nothing answers behind {where} ({found.detail})"
    return f"{said}; {to_forward(cluster, machines)}"
