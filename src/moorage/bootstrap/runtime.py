"""Files for the container runtime and the trust store: mirrors, proxy, extra CA certificates."""

from ipaddress import ip_interface
from urllib.parse import urlsplit

from moorage.bootstrap.cloudinit import File
from moorage.bootstrap.node import NodeInput
from moorage.resources.kubernetes import RegistryMirror

CERTS_D = "/etc/containerd/certs.d"


def runtime_files(node: NodeInput) -> list[File]:
    """Return the files that the cluster's node settings ask for."""
    settings = node.cluster.spec.node
    made = [
        File(f"{CERTS_D}/{mirror.registry}/hosts.toml", render_hosts(mirror))
        for mirror in settings.registry_mirrors
    ]
    made += [
        File(f"/etc/moorage/ca-certificates/moorage-{number}.crt", f"{pem.strip()}\n")
        for number, pem in enumerate(settings.ca_certificates)
    ]
    if settings.proxy is not None:
        drop_in = render_proxy(node)
        made += [
            File(f"/etc/systemd/system/{unit}.service.d/50-moorage-proxy.conf", drop_in, "0600")
            for unit in ("containerd", "kubelet")
        ]
    return made


def render_hosts(mirror: RegistryMirror) -> str:
    """Render containerd's ``hosts.toml`` for one registry.

    The registry itself stays the last resort, except for ``_default``, which has no address.
    """
    lines = []
    if mirror.registry != "_default":
        server = "registry-1.docker.io" if mirror.registry == "docker.io" else mirror.registry
        lines += [f'server = "https://{server}"', ""]
    for endpoint in mirror.endpoints:
        lines += [f'[host."{endpoint}"]', '  capabilities = ["pull", "resolve"]']
        if "v2" in urlsplit(endpoint).path.split("/"):
            # The path already is the API's root: containerd shall not put /v2 behind it.
            lines.append("  override_path = true")
    return "\n".join([*lines, ""])


def render_proxy(node: NodeInput) -> str:
    """Render a systemd drop-in with the proxy, and everything that must not go through it."""
    proxy, network = node.cluster.spec.node.proxy, node.cluster.spec.network
    assert proxy is not None  # noqa: S101 - asked for with a proxy only
    direct = [
        "localhost",
        "127.0.0.0/8",
        ".svc",
        f".{network.dns_domain}",
        *map(str, network.pods),
        *map(str, network.services),
        node.endpoint_host,
    ]
    direct += [str(ip_interface(f"{a.address}/{a.prefix}").network) for a in node.card.addresses]
    direct += [name for name in proxy.no_proxy if name not in direct]
    values = {
        "HTTP_PROXY": proxy.http_proxy,
        "HTTPS_PROXY": proxy.https_proxy,
        "NO_PROXY": ",".join(direct),
    }
    lines = ["[Service]"]
    for name, value in values.items():
        if value:
            # A percent sign begins a specifier in unit files.
            lines.append(f'Environment="{name}={value.replace("%", "%%")}"')
    return "\n".join([*lines, ""])
