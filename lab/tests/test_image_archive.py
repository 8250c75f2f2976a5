"""Docker archives of the node image: the same bytes each time, and whole."""

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from moorage_lab.image import RELEASES
from moorage_lab.image_archive import Contents, check_names, write_archive
from moorage_lab.image_cache import ImageError
from moorage_lab.image_step import run_step


def a_program(path: Path, text: str = "#!/bin/sh\n") -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


def an_archive(tmp_path: Path, name: str = "a.tar") -> Path:
    program = a_program(tmp_path / "program")
    image = Contents({"opt/bin/run": program}, {"bin/sh": "busybox"}, ("/opt/bin/run",))
    write_archive(tmp_path / name, "lab.local/x:1", image)
    return tmp_path / name


def test_an_archive_is_the_same_each_time(tmp_path: Path) -> None:
    first = an_archive(tmp_path, "a.tar")
    (tmp_path / "program").touch()
    second = an_archive(tmp_path, "b.tar")

    assert first.read_bytes() == second.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"program", "a.tar", "b.tar"}


def test_an_archive_is_what_a_runtime_checks(tmp_path: Path) -> None:
    with tarfile.open(an_archive(tmp_path)) as archive:
        files = {entry.name: archive.extractfile(entry) for entry in archive}
        contents = {name: data.read() for name, data in files.items() if data}
    (manifest,) = json.loads(contents["manifest.json"])
    config = json.loads(contents[manifest["Config"]])
    layer = gzip.decompress(contents[manifest["Layers"][0]])

    assert manifest["RepoTags"] == ["lab.local/x:1"]
    assert manifest["Config"] == f"{hashlib.sha256(contents[manifest['Config']]).hexdigest()}.json"
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    assert config["config"]["Entrypoint"] == ["/opt/bin/run"]
    with tarfile.open(fileobj=io.BytesIO(layer)) as tree:
        entries = {entry.name: entry for entry in tree}
    assert list(entries) == ["bin", "etc", "opt", "opt/bin", "run", "tmp", "opt/bin/run", "bin/sh"]
    assert entries["tmp"].mode == 0o1777
    assert entries["opt/bin/run"].mode == 0o755
    assert entries["bin/sh"].linkname == "busybox"


def test_an_image_that_kubeadm_asks_for_and_nobody_makes_stops_the_build(tmp_path: Path) -> None:
    release = RELEASES["1.34.4"]
    wanted = [name for name in release.names().values() if name.startswith("registry.k8s.io")]
    kubeadm = a_program(tmp_path / "kubeadm", f"#!/bin/sh\nprintf '%s\\n' {' '.join(wanted)}\n")
    check_names(release, kubeadm)

    a_program(kubeadm, "#!/bin/sh\necho registry.k8s.io/etcd:3.6.9-0\n")
    with pytest.raises(ImageError, match=r"registry\.k8s\.io/etcd:3\.6\.9-0.*RELEASES"):
        check_names(release, kubeadm)


def test_a_failed_step_tells_its_command_and_last_words() -> None:
    with pytest.raises(ImageError, match=r"`sh -c .*` ended with 3:\n(.*\n)*out of paper"):
        run_step(["sh", "-c", "echo out of paper >&2; exit 3"])
