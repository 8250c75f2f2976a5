"""What is missing on a machine is said at once, all of it, with a remedy."""

from pathlib import Path

from moorage_lab import cgroup
from moorage_lab.prerequisites import (
    Missing,
    MissingPrerequisitesError,
    missing_cgroups,
    missing_filesystem,
    missing_programs,
    overlay_below,
)

V1 = ["cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids"]


def a_mountinfo(path: Path, v1: list[str], *, v2: str | None = None) -> Path:
    lines = ["27 1 254:0 / / rw - ext4 /dev/vda rw"]
    lines += [f"3 2 0:1 / /sys/fs/cgroup/{name} rw - cgroup cgroup rw,{name}" for name in v1]
    lines += [f"4 2 0:2 / {v2} rw - cgroup2 cgroup2 rw"] if v2 else []
    path.write_text("\n".join(lines) + "\n")
    return path


def test_hybrid_hierarchies_are_enough(tmp_path: Path) -> None:
    file = a_mountinfo(tmp_path / "m", [*V1, "systemd"], v2="/sys/fs/cgroup/unified")

    assert missing_cgroups(file, check_writable=False) == []
    assert [h.version for h in cgroup.hierarchies(file)] == [1] * 9 + [2]


def test_joined_controllers_count_as_both(tmp_path: Path) -> None:
    v1 = ["cpu,cpuacct", *(name for name in V1 if not name.startswith("cpua") and name != "cpu")]

    assert (
        missing_cgroups(a_mountinfo(tmp_path / "m", [*v1, "systemd"]), check_writable=False) == []
    )


def test_version_2_alone_is_refused_with_a_remedy(tmp_path: Path) -> None:
    (missing,) = missing_cgroups(a_mountinfo(tmp_path / "m", [], v2="/sys/fs/cgroup"))

    assert "only control groups of version 2" in missing.what
    assert "systemd.unified_cgroup_hierarchy=0" in missing.remedy


def test_each_missing_controller_is_named(tmp_path: Path) -> None:
    file = a_mountinfo(tmp_path / "m", [name for name in V1 if name != "memory"])

    whats = [missing.what for missing in missing_cgroups(file, check_writable=False)]

    assert len(whats) == 2
    assert "memory" in whats[0]
    assert "systemd" in whats[1]


def test_missing_programs_name_their_package() -> None:
    missing = missing_programs(
        {"systemd-nspawn": "systemd-container", "ip": "iproute2"}, lambda _: None
    )

    assert [one.remedy for one in missing] == [
        "apt-get install systemd-container",
        "apt-get install iproute2",
    ]


def test_kernel_without_overlayfs(tmp_path: Path) -> None:
    (tmp_path / "fs").write_text("nodev\ttmpfs\n\text4\n")

    assert "overlayfs" in missing_filesystem(tmp_path / "fs")[0].what


def test_state_directory_on_an_overlay_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "m"
    file.write_text(
        "1 0 0:1 / / rw - overlay overlay rw\n2 1 0:2 / /var/lib/big rw - ext4 /dev/vdb rw\n"
    )

    assert "MOORAGE_LAB_DIR" in overlay_below(Path("/var/lib/moorage-lab"), file)[0].remedy
    assert overlay_below(Path("/var/lib/big/lab"), file) == []


def test_message_lists_all_and_says_what_works_without_nodes() -> None:
    error = MissingPrerequisitesError(
        [Missing("no a", "get a"), Missing("no b", "get b")], nodes=True
    )

    text = str(error)

    assert text.index("1. no a") < text.index("Remedy: get a") < text.index("2. no b")
    assert "make test" in text
