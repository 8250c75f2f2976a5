"""What needs more than one resource to judge. Pure; answers every fault with its field path."""

from moorage.hub.admission.clusters import cluster_faults, pool_faults
from moorage.hub.admission.estate import Estate, cluster_key
from moorage.hub.admission.hubwide import (
    account_faults,
    gateway_users,
    ip_pool_faults,
    sealing_key_id,
    secret_faults,
    template_faults,
)
from moorage.hub.admission.networks import fill_search_domains
from moorage.hub.admission.people import (
    grant_faults,
    is_last_administrator,
    role_faults,
    team_faults,
    user_faults,
)

__all__ = [
    "Estate",
    "account_faults",
    "cluster_faults",
    "cluster_key",
    "fill_search_domains",
    "gateway_users",
    "grant_faults",
    "ip_pool_faults",
    "is_last_administrator",
    "pool_faults",
    "role_faults",
    "sealing_key_id",
    "secret_faults",
    "team_faults",
    "template_faults",
    "user_faults",
]
