"""The boot script, run as it is with every program that it calls replaced by a stand-in.

Only the directories are moved under the test's own: they stand at the script's head.
"""

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from moorage.bootstrap import NodeInput, StaticAddress, parse_progress

from .builders import ADDRESS, CONTROL_PLANE, FOUNDER, WORKER, a_cluster, a_node, files_of

SCRIPT = (files("moorage.bootstrap") / "files" / "boot.sh").read_text()
SERIAL = "VMware-42 1e 0d 3c 11 22 33 44-aa bb cc dd ee ff 00 99"
UUID = "421e0d3c-1122-3344-aabb-ccddeeff0099"

PROGRAMS = {
    "vmware-rpctool": 'echo "$1" >> "$T/rpc"',
    "kubelet": 'echo "Kubernetes ${KUBELET_VERSION:-v1.34.4}"',
    "kubeadm": """
if [ "$1" = version ]; then echo "${KUBEADM_VERSION:-v1.34.4}"; exit; fi
echo "$*" >> "$T/kubeadm"
[ "$1" = reset ] && exit 0
cp "$3" "$T/kubeadm.yaml"
ran=$(grep -c -v reset "$T/kubeadm")
if [ "$ran" -le "${KUBEADM_FAILS:-0}" ]; then
    printf 'starting\\n[ERROR X]:\\t"etcd" said no \\\\ try %s\\nhint\\n' "$ran"; exit 1
fi
echo "all good" """,
    "systemctl": '[ "$1" = show ] || echo "systemctl $*" >> "$T/calls"',
    "containerd": 'echo "config_path = \\"${CERTS_D-/etc/containerd/certs.d}\\""',
    "update-ca-certificates": 'echo update-ca-certificates >> "$T/calls"',
    "dmidecode": '[ "$2" = "$DMI_KEY" ] && echo "$DMI_VALUE"',
    "ip": """
case "$*" in
    *"route show default") [ -z "${DEVICE-x}" ] || echo "default via 10.77.0.1 dev ens192 proto" ;;
    "-brief address") echo "lo UNKNOWN 127.0.0.1/8"; echo "ens192   UP   10.77.1.10/16" ;;
    "-4"*"address show"*) printf '%s\\n' "2: ens192 inet 10.77.1.5/32 scope global ens192" \
        "2: ens192    inet 10.77.1.10/16 brd 10.77.255.255 scope global ens192" ;;
    "-6"*"address show"*) printf '%s\\n' "2: ens192 inet6 fd77::9/64 scope global tentative" \
        "2: ens192 inet6 fd77::a/64 scope global temporary dynamic" \
        "2: ens192    inet6 fd77::10/64 scope global ${FLAGS-noprefixroute} \\\\  valid_lft 9sec" ;;
    *"link show dev eth0") exit ${NO_ETH0:-0} ;;
esac""",
    # Answers with the lines of $T/answers, one a call: "STATUS EXIT BODY".
    "curl": """
printf '%s\\n' "$*" >> "$T/curl"
while [ $# -gt 0 ]; do [ "$1" = --output ] && out=$2; shift; done
line=$(head -n 1 "$T/answers"); sed -i 1d "$T/answers"
read -r status code body <<< "$line"
printf '%s' "$body" > "$out"; printf '%s' "$status"; exit "${code:-0}" """,
    "sleep": "exit 0",
    "sync": "exit 0",
}
FINAL = 3
"""Exit code after which systemd does not try again."""

ALLOWED = '201 0 {"status":{"allowed": true}}'
DENIED = '201 0 {"status":{"allowed": false}}'


@dataclass
class Computer:
    """One machine: a directory for its files, and the programs it would have."""

    root: Path

    @classmethod
    def of(cls, root: Path, node: NodeInput) -> "Computer":
        (root / "bin").mkdir()
        for name, body in PROGRAMS.items():
            (root / "bin" / name).write_text(f"#!/bin/bash\n{body}\n")
            (root / "bin" / name).chmod(0o755)
        computer = cls(root)
        for path, entry in files_of(node).items():
            file = computer.file(path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(entry["content"])
            file.chmod(int(entry["permissions"], 8))
        script = re.sub(r"^([A-Z]+)=(/\S+)$", rf"\1={root}\2", SCRIPT, flags=re.MULTILINE)
        script = script.replace("/usr/local/share", f"{root}/usr/local/share")
        (root / "boot").write_text(script)
        (root / "usr/local/share/ca-certificates").mkdir(parents=True)
        cloud = computer.file("/var/lib/cloud/instances/i")
        cloud.mkdir(parents=True)
        (cloud / "user-data.txt").write_text("secret")
        return computer

    def file(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def boot(self, *answers: str, **environment: str) -> int:
        (self.root / "answers").write_text("".join(f"{line}\n" for line in answers))
        variables = {
            "PATH": f"{self.root}/bin:{os.environ['PATH']}",
            "T": str(self.root),
            "DMI_KEY": "system-serial-number",
            "DMI_VALUE": SERIAL,
            **environment,
        }
        ran = subprocess.run(
            ["bash", str(self.root / "boot")],
            env=variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "line " not in ran.stderr, ran.stderr
        return ran.returncode

    def lines(self, name: str) -> list[str]:
        path = self.root / name
        return path.read_text().splitlines() if path.exists() else []

    def progress(self) -> list[tuple[str, str]]:
        """Return (phase, detail) of each report, as the gateway reads them."""
        said = []
        for line in self.lines("rpc"):
            progress = parse_progress(line.removeprefix("info-set guestinfo.moorage.progress "))
            assert progress is not None, line
            assert json.loads(line.split(" ", 2)[2])["failed"] is progress.failed
            said.append((f"{'!' if progress.failed else ''}{progress.phase}", progress.detail))
        return said

    def phases(self) -> list[str]:
        return [phase for phase, _ in self.progress()]


def a_computer(tmp_path: Path, role: tuple[str, str], **given: Any) -> Computer:
    return Computer.of(tmp_path, a_node(*role, **given))


def test_it_is_sound_bash() -> None:
    subprocess.run(["bash", "-n"], input=SCRIPT, text=True, check=True)


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_finds_nothing() -> None:
    ran = subprocess.run(
        ["shellcheck", "-"], input=SCRIPT, text=True, capture_output=True, check=False
    )
    assert ran.stdout == ""


def test_founder_runs_init_once_and_forgets_its_secrets(tmp_path: Path) -> None:
    computer = a_computer(tmp_path, FOUNDER)

    assert computer.boot() == 0

    assert computer.phases() == ["PreparingNode", "RunningKubeadm", "Joined"]
    assert computer.lines("kubeadm") == [
        f"init --config {tmp_path}/run/moorage/kubeadm.yaml --skip-token-print"
    ]
    assert f"vsphere://{UUID}" in (tmp_path / "kubeadm.yaml").read_text()
    assert "@MOORAGE" not in (tmp_path / "kubeadm.yaml").read_text()
    for gone in (
        "/etc/moorage/kubeadm.yaml.in",
        "/run/moorage/kubeadm.yaml",
        "/var/lib/cloud/instances/i/user-data.txt",
    ):
        assert not computer.file(gone).exists()
    assert computer.file("/etc/kubernetes/pki/ca.key").exists()


def test_reboot_after_success_does_nothing(tmp_path: Path) -> None:
    computer = a_computer(tmp_path, FOUNDER)
    computer.boot()

    assert computer.boot() == 0

    assert len(computer.lines("kubeadm")) == 1
    assert computer.phases()[-1] == "Joined"
    assert len(computer.progress()) == 3


def test_worker_waits_for_configuration_and_for_the_right_to_join(tmp_path: Path) -> None:
    computer = a_computer(tmp_path, WORKER)

    code = computer.boot(
        "000 7", "000 7", "000 28", "401 0", "403 0", "200 0", DENIED, DENIED, ALLOWED
    )

    assert code == 0
    server = "https://10.77.1.5:6443"
    configuration, right = f"{server}: kubeadm's configuration", f"{server}: right to join"
    assert computer.progress()[1:-2] == [
        ("WaitingForEndpoint", server),
        ("WaitingForEndpoint", f"{configuration}: no answer"),
        (
            "WaitingForEndpoint",
            f"{configuration}: the API does not know this machine's token yet",
        ),
        ("WaitingForEndpoint", f"{configuration}: the founding of the cluster is not complete yet"),
        ("WaitingForEndpoint", f"{right}: the founding of the cluster is not complete yet"),
    ]
    assert computer.lines("kubeadm") == [f"join --config {tmp_path}/run/moorage/kubeadm.yaml"]
    asked = [call.split()[-1].removeprefix(server) for call in computer.lines("curl")]
    assert asked[0] == "/api/v1/namespaces/kube-system/configmaps/kubeadm-config"
    assert asked[-1] == "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


def test_token_is_on_no_command_line(tmp_path: Path) -> None:
    computer = a_computer(tmp_path, WORKER)
    authorization = computer.file("/etc/moorage/authorization").read_text()
    token = authorization.split()[-1]

    computer.boot("200 0", ALLOWED)

    assert token not in "".join(computer.lines("curl") + computer.lines("kubeadm"))
    assert not computer.file("/etc/moorage/authorization").exists()


def test_later_control_plane_waits_for_the_certificates_too(tmp_path: Path) -> None:
    computer = a_computer(tmp_path, CONTROL_PLANE)

    assert computer.boot("200 0", ALLOWED, "404 0", "200 0") == 0

    assert "WaitingForCertificates" in computer.phases()
    assert computer.lines("curl")[-1].endswith("/secrets/kubeadm-certs")


def test_foreign_certificate_is_named(tmp_path: Path) -> None:
    computer = a_computer(tmp_path, WORKER)

    computer.boot("000 60", "200 0", ALLOWED)

    assert any("not of this cluster's authority" in detail for _, detail in computer.progress())


def test_waiting_ends(tmp_path: Path) -> None:
    computer = a_computer(tmp_path, WORKER)
    environment = computer.file("/etc/moorage/boot.env")
    environment.write_text(environment.read_text().replace("DEADLINE_S=1200", "DEADLINE_S=0"))

    assert computer.boot("000 7") == 1

    phase, detail = computer.progress()[-1]
    assert phase == "!JoinTimedOut"
    assert "no answer, for 0 s" in detail


@pytest.mark.parametrize("program", ["KUBEADM_VERSION", "KUBELET_VERSION"])
def test_other_version_is_refused_before_anything_is_done(tmp_path: Path, program: str) -> None:
    computer = a_computer(tmp_path, FOUNDER)

    assert computer.boot(**{program: "v1.33.13"}) == FINAL

    phase, detail = computer.progress()[-1]
    assert phase == "!VersionMismatch"
    assert "v1.33.13" in detail
    assert "wants v1.34.4" in detail
    assert computer.lines("kubeadm") == []


def test_failed_init_tells_the_last_errors_and_is_not_repeated(tmp_path: Path) -> None:
    computer = a_computer(tmp_path, FOUNDER)

    assert computer.boot(KUBEADM_FAILS="9") == FINAL
    first = computer.progress()[-1]
    assert computer.boot() == FINAL

    assert first[0] == "!KubeadmFailed"
    assert first[1] == "kubeadm init ended with 1: [ERROR X]: 'etcd' said no / try 1"
    assert computer.progress()[-1] == first
    assert len(computer.lines("kubeadm")) == 1


def test_kubelet_that_cannot_start_is_told_while_kubeadm_waits(tmp_path: Path) -> None:
    computer = a_computer(tmp_path, FOUNDER)
    slow = 'if [ "$1" != version ]; then until grep -q "ended 3" "$T/rpc"; do :; done; fi'
    for name, body in {
        "systemctl": '[ "$1" != show ] || echo 3',
        "journalctl": "echo 'E1122 run.go:72] err=\"no such cgroup driver\"'",
        "kubeadm": f"{slow}\n{PROGRAMS['kubeadm']}",
    }.items():
        (computer.root / "bin" / name).write_text(f"#!/bin/bash\n{body}\n")
        (computer.root / "bin" / name).chmod(0o755)

    assert computer.boot() == 0

    told = [detail for _, detail in computer.progress() if "kubelet has ended 3 times" in detail]
    assert len(told) == 1
    assert "no such cgroup driver" in told[0]


def test_worker_tries_again_after_a_reset(tmp_path: Path) -> None:
    computer = a_computer(tmp_path, WORKER)

    assert computer.boot("200 0", ALLOWED, KUBEADM_FAILS="1") == 1
    assert computer.phases()[-1] == "!KubeadmFailed"
    assert computer.boot("200 0", ALLOWED, KUBEADM_FAILS="1") == 0

    verbs = [line.split()[0] for line in computer.lines("kubeadm")]
    assert verbs == ["join", "reset", "join"]


def test_failed_join_of_a_control_plane_is_final(tmp_path: Path) -> None:
    computer = a_computer(tmp_path, CONTROL_PLANE)

    assert computer.boot("200 0", ALLOWED, "200 0", KUBEADM_FAILS="9") == FINAL
    assert computer.boot() == FINAL

    assert len(computer.lines("kubeadm")) == 1


def test_control_plane_that_went_down_in_kubeadm_is_not_begun_again(tmp_path: Path) -> None:
    computer = a_computer(tmp_path, FOUNDER)
    computer.file("/var/lib/moorage").mkdir(parents=True)
    computer.file("/var/lib/moorage/started").touch()

    assert computer.boot() == FINAL

    assert computer.phases()[-1] == "!Interrupted"
    assert computer.lines("kubeadm") == []


def test_worker_that_went_down_in_kubeadm_resets_and_joins(tmp_path: Path) -> None:
    computer = a_computer(tmp_path, WORKER)
    computer.file("/var/lib/moorage").mkdir(parents=True)
    computer.file("/var/lib/moorage/started").touch()

    assert computer.boot("200 0", ALLOWED) == 0

    assert [line.split()[0] for line in computer.lines("kubeadm")] == ["reset", "join"]


def test_control_plane_that_went_down_after_kubeadm_finishes(tmp_path: Path) -> None:
    computer = a_computer(tmp_path, FOUNDER)
    computer.file("/var/lib/moorage").mkdir(parents=True)
    for mark in ("started", "kubeadm-done"):
        computer.file(f"/var/lib/moorage/{mark}").touch()

    assert computer.boot() == 0

    assert computer.phases() == ["Joined"]
    assert not computer.file("/etc/moorage/kubeadm.yaml.in").exists()


SIX = StaticAddress("fd77::10", 64, "fe80::1")
DUAL = a_cluster(
    network={
        "pods": ["10.244.0.0/16", "fd00:10:244::/56"],
        "services": ["10.96.0.0/16", "fd00:10:96::/112"],
    }
)


@pytest.mark.parametrize("address", [(ADDRESS, SIX), None])
def test_a_node_of_both_families_has_an_address_of_each(
    tmp_path: Path, address: tuple[StaticAddress, ...] | None
) -> None:
    computer = a_computer(tmp_path, FOUNDER, cluster=DUAL, address=address)

    assert computer.boot() == 0

    text = (tmp_path / "kubeadm.yaml").read_text().replace("'", "")
    assert "advertiseAddress: 10.77.1.10\n" in text
    assert "value: 10.77.1.10,fd77::10\n" in text, "neither a tentative nor a temporary one"


def test_an_address_of_ipv6_is_waited_for_until_it_can_be_used(tmp_path: Path) -> None:
    computer = a_computer(tmp_path, FOUNDER, cluster=DUAL, address=(ADDRESS, SIX))
    env = computer.file("/etc/moorage/boot.env")
    env.write_text(re.sub("DEADLINE_S=.*", "DEADLINE_S=1", env.read_text()))

    assert computer.boot(FLAGS="tentative") != 0

    phase, detail = computer.progress()[-1]
    assert phase == "!NoAddress"
    assert "no address 10.77.1.10 fd77::10 on eth0" in detail


def test_dhcp_address_is_found_and_is_never_the_virtual_one(tmp_path: Path) -> None:
    computer = a_computer(tmp_path, FOUNDER, address=None)

    assert computer.boot() == 0

    text = (tmp_path / "kubeadm.yaml").read_text()
    assert "advertiseAddress: 10.77.1.10\n" in text.replace("'", "")
    assert "@MOORAGE" not in text


def test_missing_address_is_told_early_and_fails_late(tmp_path: Path) -> None:
    computer = a_computer(tmp_path, FOUNDER, address=None)
    environment = computer.file("/etc/moorage/boot.env")
    environment.write_text(environment.read_text().replace("DEADLINE_S=1200", "DEADLINE_S=0"))
    script = computer.root / "boot"
    script.write_text(script.read_text().replace("PATIENCE_S=30", "PATIENCE_S=0"))

    assert computer.boot(DEVICE="") == 1

    (waiting, detail), (failed, _) = computer.progress()[-2:]
    assert (waiting, failed) == ("WaitingForAddress", "!NoAddress")
    assert detail.startswith("no address from DHCP on eth0; this node has ens192 UP 10.77.1.10/16;")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("system-serial-number", SERIAL),
        ("system-uuid", UUID.upper()),
    ],
)
def test_provider_id_is_the_uuid_that_vcenter_knows(tmp_path: Path, key: str, value: str) -> None:
    computer = a_computer(tmp_path, FOUNDER)

    computer.boot(DMI_KEY=key, DMI_VALUE=value)

    assert f"value: vsphere://{UUID}\n" in (tmp_path / "kubeadm.yaml").read_text().replace("'", "")


def test_no_uuid_is_named(tmp_path: Path) -> None:
    computer = a_computer(tmp_path, FOUNDER)

    assert computer.boot(DMI_VALUE="none") == 1

    assert computer.phases()[-1] == "!NoBiosUuid"


def test_virtual_address_goes_to_the_interface_that_is_there(tmp_path: Path) -> None:
    computer = a_computer(tmp_path, FOUNDER)

    assert computer.boot(NO_ETH0="1") == 0

    manifest = computer.file("/etc/kubernetes/manifests/kube-vip.yaml").read_text()
    assert "name: vip_interface\n      value: ens192\n" in manifest
    assert any("no interface eth0" in detail for _, detail in computer.progress())


def test_commands_run_around_kubeadm(tmp_path: Path) -> None:
    cluster = a_cluster(
        node={
            "preKubeadmCommands": ['echo before >> "$T/kubeadm"'],
            "postKubeadmCommands": ['echo after >> "$T/kubeadm"'],
        }
    )
    computer = a_computer(tmp_path, FOUNDER, cluster=cluster)

    assert computer.boot() == 0

    assert [line.split()[0] for line in computer.lines("kubeadm")] == ["before", "init", "after"]


def test_failing_command_is_named_and_kubeadm_not_run(tmp_path: Path) -> None:
    cluster = a_cluster(node={"preKubeadmCommands": ["echo no disk", "false", "echo late"]})
    computer = a_computer(tmp_path, FOUNDER, cluster=cluster)

    assert computer.boot() == 1

    phase, detail = computer.progress()[-1]
    assert phase == "!PreKubeadmFailed"
    assert detail.endswith("last line: no disk")
    assert computer.lines("kubeadm") == []


def test_runtime_is_restarted_for_certificates_and_proxy(tmp_path: Path) -> None:
    pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"
    computer = a_computer(tmp_path, FOUNDER, cluster=a_cluster(node={"caCertificates": [pem]}))

    assert computer.boot() == 0

    assert computer.lines("calls") == ["update-ca-certificates", "systemctl restart containerd"]
    installed = tmp_path / "usr/local/share/ca-certificates/moorage-0.crt"
    assert installed.read_text() == f"{pem}\n"


def test_mirrors_need_a_containerd_that_reads_them(tmp_path: Path) -> None:
    mirror = {"registry": "_default", "endpoints": ["https://mirror.local"]}
    computer = a_computer(tmp_path, FOUNDER, cluster=a_cluster(node={"registryMirrors": [mirror]}))

    assert computer.boot(CERTS_D="") == FINAL
    assert computer.phases()[-1] == "!RegistryMirrorsUnsupported"

    assert computer.boot() == 0


def test_guest_tools_without_rpctool_serve_too(tmp_path: Path) -> None:
    computer = a_computer(tmp_path, FOUNDER)
    (tmp_path / "bin/vmware-rpctool").unlink()
    tools = tmp_path / "bin/vmtoolsd"
    tools.write_text('#!/bin/bash\n[ "$1" = --cmd ] && echo "$2" >> "$T/rpc"\n')
    tools.chmod(0o755)

    assert computer.boot() == 0

    assert computer.phases()[-1] == "Joined"
