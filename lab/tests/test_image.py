"""The node image's cache, keys and checks: nothing half-built is ever taken for an image."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import NamedTuple

import pytest

from moorage_lab import image, image_binaries
from moorage_lab.errors import LabError
from moorage_lab.image_binaries import Group, check_go, groups
from moorage_lab.image_cache import Cache, ImageError, Stages, contents_key

LAB = Path(__file__).resolve().parent.parent


def silent(_line: str) -> None:
    pass


def a_source(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "go.mod").write_text("module x\n")
    (source / "sub" / "run").write_text("#!/bin/sh\n")
    return source


def stages() -> Stages:
    return Stages(total=1, progress=silent)


# -- keys


def test_key_does_not_depend_on_place_time_or_leftovers(tmp_path: Path) -> None:
    source = a_source(tmp_path)
    before = contents_key([source], "1.34.4")
    elsewhere = tmp_path / "elsewhere" / "source"
    shutil.copytree(source, elsewhere)
    os.utime(elsewhere / "go.mod", (1, 1))
    (elsewhere / "__pycache__").mkdir()
    (elsewhere / "__pycache__" / "x.pyc").write_bytes(b"1")
    (elsewhere / ".go.mod.swp").write_bytes(b"1")
    (elsewhere / "README.md").write_text("about")

    assert contents_key([elsewhere], "1.34.4") == before


@pytest.mark.parametrize("change", ["contents", "name", "mode", "new file", "fact", "moved byte"])
def test_key_changes_with_everything_that_counts(tmp_path: Path, change: str) -> None:
    source = a_source(tmp_path)
    before = contents_key([source], "1.34.4")
    fact = "1.34.4"
    match change:
        case "contents":
            (source / "go.mod").write_text("module y\n")
        case "name":
            (source / "go.mod").rename(source / "go.sum")
        case "mode":
            (source / "sub" / "run").chmod(0o755)
        case "new file":
            (source / "sub" / "empty").touch()
        case "fact":
            fact = "1.34.5"
        case "moved byte":
            (source / "go.mod").write_text("module x\n#")
            (source / "sub" / "run").write_text("!/bin/sh\n")

    assert contents_key([source], fact) != before


def test_a_group_of_programs_has_a_key_of_its_own(tmp_path: Path) -> None:
    copy = tmp_path / "image"
    shutil.copytree(LAB / "image", copy)
    before = {group.name: group.key() for group in groups(copy, "1.34.4")}
    (copy / "coredns" / "main.go").write_text("package main\n")
    (copy / "root" / "etc" / "hostname").write_text("x\n")
    after = {group.name: group.key() for group in groups(copy, "1.34.4")}

    assert {name for name in before if before[name] != after[name]} == {"coredns"}


def test_flags_and_version_variables_are_part_of_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = a_source(tmp_path)
    plain = Group("x", source, (("x", "."),)).key()

    assert Group("x", source, (("x", "."),), (("main.version", "v2"),)).key() != plain
    monkeypatch.setitem(image_binaries.GO_ENVIRONMENT, "GOFLAGS", "-p=1")
    assert Group("x", source, (("x", "."),)).key() != plain


def test_the_images_key_changes_with_a_file_of_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "image"
    shutil.copytree(LAB / "image", copy)
    monkeypatch.setattr(image, "image_dir", lambda: copy)
    before = image.image_key()
    tool = copy / "root" / "usr" / "bin" / "vmware-rpctool"
    tool.write_text(tool.read_text() + "\n")

    assert image.image_key() != before


def test_every_release_has_its_module() -> None:
    for version in image.RELEASES:
        module = LAB / "image" / "kubernetes" / version
        assert f"k8s.io/kubernetes v{version}\n" in (module / "go.mod").read_text()
        assert (module / "go.sum").stat().st_size > 0


# -- entries


def test_an_entry_is_built_once(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    built = []

    def build(target: Path) -> None:
        built.append(target)
        (target / "file").write_text("done")

    entry = cache.make("node-part-x", "k", build, stages(), "x")
    again = cache.make("node-part-x", "k", build, stages(), "x")

    assert entry == again == cache.find("node-part-x", "k")
    assert (entry / "file").read_text() == "done"
    assert len(built) == 1


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    cache = Cache(tmp_path)

    def build(target: Path) -> None:
        (target / "half").write_text("x")
        raise ImageError("no disk")

    with pytest.raises(ImageError, match="no disk"):
        cache.make("node-part-x", "k", build, stages(), "x")

    assert cache.find("node-part-x", "k") is None
    assert list((tmp_path / "node-part-x").iterdir()) == []


def test_a_killed_build_is_never_taken_and_is_cleaned_up(tmp_path: Path) -> None:
    program = f"""
        import time
        from pathlib import Path
        from moorage_lab.image_cache import Cache, Stages
        cache = Cache(Path({str(tmp_path)!r}))
        def build(target):
            (target / "half").write_text("x")
            print("building", flush=True)
            time.sleep(60)
        with cache.locked(print):
            cache.make("node-image", "k", build, Stages(1, lambda line: None), "x")
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "building\n"
        process.send_signal(signal.SIGKILL)
    cache = Cache(tmp_path)

    assert cache.find("node-image", "k") is None
    assert [path.name for path in (tmp_path / "node-image").iterdir()] == [".partial-k"]
    with cache.locked(silent):
        assert list((tmp_path / "node-image").iterdir()) == []
        entry = cache.make("node-image", "k", lambda target: None, stages(), "x")
    assert cache.find("node-image", "k") == entry


def test_two_builds_do_not_run_at_once(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    order: list[str] = []
    said = threading.Event()

    def second() -> None:
        def progress(line: str) -> None:
            order.append(line)
            said.set()

        with cache.locked(progress):
            order.append("second")

    with cache.locked(silent):
        thread = threading.Thread(target=second)
        thread.start()
        assert said.wait(10)
        order.append("first")
    thread.join(10)

    assert order == [
        "another build of the node image is running; waiting for it to end",
        "first",
        "second",
    ]


def test_prune_keeps_what_was_used_last(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    for age, key in enumerate(["used-now", "used-before", "old"]):
        entry = cache.make("node-part-x", key, lambda target: None, stages(), "x")
        os.utime(entry, (1000 - age, 1000 - age))
    cache.make("node-part-x", "old", lambda target: None, stages(), "x")

    cache.prune("node-part-x", keep=2)

    left = {path.name for path in (tmp_path / "node-part-x").iterdir()}
    assert left == {"old", "used-now"}


def test_an_unbuilt_image_is_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOORAGE_CACHE", str(tmp_path))
    partial = tmp_path / "node-image" / f".partial-{image.image_key()}"
    partial.mkdir(parents=True)
    assert image.find_image() is None

    (tmp_path / "node-image" / image.image_key() / "root").mkdir(parents=True)
    found = image.find_image()
    assert found is not None
    assert found.root == tmp_path / "node-image" / found.key / "root"
    assert image.build_image(progress=silent) == found


# -- checks before a build


class Usage(NamedTuple):
    """What `shutil.disk_usage` answers."""

    total: int
    used: int
    free: int


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that has all that a build needs; the folder is its PATH."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("debootstrap", "gcc", "setpriv"):
        tool(tools / name, "exit 0")
    tool(tools / "go", "echo go version go1.26.8 linux/amd64")
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(2**40, 0, 2**40))
    return tools


def tool(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def test_a_machine_with_everything_passes(machine: Path, tmp_path: Path) -> None:
    image.check_machine(tmp_path / "cache")


def test_without_root_the_remedy_is_named(
    machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ImageError, match=r"needs root .* sudo"):
        image.check_machine(tmp_path / "cache")


def test_all_missing_packages_are_named_at_once(machine: Path, tmp_path: Path) -> None:
    (machine / "gcc").unlink()
    (machine / "debootstrap").unlink()
    with pytest.raises(ImageError, match="apt-get install debootstrap gcc"):
        image.check_machine(tmp_path / "cache")


def test_missing_go_is_named(machine: Path) -> None:
    (machine / "go").unlink()
    with pytest.raises(ImageError, match=r"no `go` in PATH. Install Go 1.25 or newer"):
        check_go()


def test_old_go_is_named_with_its_version(machine: Path) -> None:
    tool(machine / "go", "echo go version go1.19.8 linux/amd64")
    with pytest.raises(ImageError, match=r"needs Go 1\.25 or newer.*go1\.19\.8"):
        check_go()


def test_a_full_disk_is_named_before_the_build(
    machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(2**40, 2**40, 4 * 2**30))
    cache = tmp_path / "cache"
    with pytest.raises(ImageError, match=r"needs 12 GiB .* 4\.0 are free.*MOORAGE_CACHE"):
        image.check_machine(cache)

    (cache / "node-part-kubernetes" / "k").mkdir(parents=True)
    image.check_machine(cache)


def test_an_unknown_version_names_those_there_are() -> None:
    with pytest.raises(LabError, match=r"no node image for Kubernetes 1\.99\.0.*1\.34\.4"):
        image.build_image("1.99.0", silent)


def test_packages_are_printed_for_the_setup(capsys: pytest.CaptureFixture[str]) -> None:
    assert image.main(["--print-packages"]) == 0
    assert capsys.readouterr().out.split() == list(image.SYSTEM_PACKAGES)


def test_errors_of_the_command_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert image.main(["1.99.0"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: there is no node image for Kubernetes 1.99.0")
