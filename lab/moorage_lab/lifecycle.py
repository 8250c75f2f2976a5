"""`up`, `down`, `reset`: the lab as a whole."""

import fcntl
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from moorage_lab import cgroup, host, network, vcenter
from moorage_lab.config import Config
from moorage_lab.container import forget_all_nspawn
from moorage_lab.control import Control, unix_client
from moorage_lab.errors import LabError, NotRunningError
from moorage_lab.image import build_image
from moorage_lab.inventory import images_of
from moorage_lab.namespace import EXEC
from moorage_lab.places import LOCK, POINTER, State
from moorage_lab.prerequisites import check
from moorage_lab.process import Identity
from moorage_lab.run import run
from moorage_lab.service import Service

Progress = Callable[[str], None]

_START_TIMEOUT_S = 60
_LOCK_TIMEOUT_S = 120


@contextmanager
def locked(*, timeout_s: float = _LOCK_TIMEOUT_S) -> Iterator[int]:
    """Let one `up`, `down` or `reset` work at a time; the file itself does not stay.

    A child that is given the descriptor holds the lock too.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        descriptor = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), LOCK.stat()):
                break
        except (BlockingIOError, FileNotFoundError):
            pass
        os.close(descriptor)
        if time.monotonic() > deadline:
            raise LabError(
                f"another moorage-lab command has held {LOCK} for {timeout_s:g} s: "
                "wait for it, or end it"
            )
        time.sleep(0.1)
    try:
        yield descriptor
    finally:
        LOCK.unlink(missing_ok=True)
        os.close(descriptor)


def up(
    state: State,
    inventory: Path,
    *,
    nodes: bool,
    progress: Progress,
) -> Config:
    """Build what is missing and start what does not run; may be repeated.

    Raises:
        MissingPrerequisitesError: The machine cannot run the lab.
        LabError: Another lab is up, or a part does not start; the text has its last words.
    """
    check(state, nodes=nodes)
    wanted = images_of(inventory) if nodes else set()
    with locked() as lock:
        _refuse_strangers(state)
        config = _running_config(state)
        if config is not None:
            _check_same(config, inventory, nodes=nodes)
        else:
            config = Config(
                inventory=str(inventory.resolve()),
                images={name: node_image(name, progress) for name in sorted(wanted)},
                vcenter=str(vcenter.find_or_build(progress)),
                nodes=nodes,
            )
            state.make()
            config.save(state)
        state.use()
        host.change(state)
        network.make_lab_network()
        _start_daemon(state, progress, lock, nodes=nodes)
    return config


def node_image(name: str, progress: Progress) -> str:
    """Directory of the node image that templates call by its Kubernetes version, or by a path.

    $MOORAGE_LAB_IMAGE names a finished one for all of them: nothing is built then.
    """
    if own := os.environ.get("MOORAGE_LAB_IMAGE"):
        return own
    if name.startswith("/"):
        return name
    return str(build_image(name, progress).root.parent)


def _running_config(state: State) -> Config | None:
    try:
        return Config.load(state)
    except NotRunningError:
        return None


def _check_same(config: Config, inventory: Path, *, nodes: bool) -> None:
    if config.inventory != str(inventory.resolve()) or config.nodes != nodes:
        kind = "with" if config.nodes else "without"
        raise LabError(
            f"a lab with inventory {config.inventory} and {kind} nodes is up: "
            "`moorage-lab down` first"
        )


def _refuse_strangers(state: State) -> None:
    """Nobody takes down, or builds on, a lab whose state is elsewhere.

    Raises:
        LabError: The lab that is up has another state directory.
    """
    other = State.in_use()
    if other is not None and other != state and other.config.exists():
        raise LabError(
            f"the lab that is up keeps its state in {other.root}, not in {state.root}: "
            f"`MOORAGE_LAB_DIR={other.root} moorage-lab down` takes it down"
        )


def _start_daemon(state: State, progress: Progress, lock: int, *, nodes: bool) -> None:
    daemon, control = Service("daemon", state), Control(state.control_socket)
    if daemon.running() is None:
        progress("starting hypervisor and vCenter")
    command = [sys.executable, "-m", "moorage_lab.daemon", "--state", str(state.root)]
    daemon.start(cgroup.launched_in(cgroup.SERVICES, command), stdin=lock)
    deadline = time.monotonic() + _START_TIMEOUT_S
    with control:
        while not (control.is_healthy() and (not nodes or _answers(state.hypervisor_socket))):
            if daemon.running() is None:
                raise LabError(f"the daemon ended: {daemon.tail()}")
            if time.monotonic() > deadline:
                words = f"{Service('vcenter', state).tail()} / {daemon.tail()}"
                raise LabError(f"the lab is not healthy after {_START_TIMEOUT_S} s: {words}")
            time.sleep(0.1)


def _answers(hypervisor: Path) -> bool:
    with unix_client(hypervisor, timeout_s=5) as client:
        try:
            return client.get("/healthz").is_success
        except httpx2.HTTPError:
            return False


def reset(state: State) -> None:
    """Begin again from the inventory file: nodes and all changes in vCenter are gone.

    vCenter is ended; the daemon removes its VMs before it starts a new one.
    """
    with locked():
        Config.load(state)
        old = Service("vcenter", state).running()
        if Service("daemon", state).running() is None:
            raise NotRunningError("the lab's daemon does not run: `moorage-lab up` starts it")
        if old is not None and not old.stop(grace_s=5):
            raise LabError(f"vCenter (process {old.pid}) survives SIGKILL")
        _wait_for_new(state, old)


def _wait_for_new(state: State, old: Identity | None) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    with Control(state.control_socket) as control:
        while Service("vcenter", state).running() in (None, old) or not control.is_healthy():
            if time.monotonic() > deadline:
                words = Service("daemon", state).tail()
                raise LabError(f"no new vCenter after {_START_TIMEOUT_S} s: {words}")
            time.sleep(0.1)


def down(state: State) -> None:
    """Leave no process, mount, namespace, control group or file; may be repeated.

    It asks nobody and trusts no record: what is in the lab's control groups is ended, what is
    mounted below the state directory is unmounted. So it is the same after any crash.
    """
    if os.geteuid() != 0:
        raise LabError("only root can take the lab down")
    if os.getpid() in cgroup.pids():
        raise LabError("this shell was started by `moorage-lab exec`: leave it, then `down`")
    with locked():
        _refuse_strangers(state)
        cgroup.kill(cgroup.SERVICES)
        cgroup.terminate(EXEC)
        for group in sorted(cgroup.names()):
            cgroup.kill(group)
        cgroup.remove()
        forget_all_nspawn(state.vms.glob("*/root"))
        _unmount_below(state.root)
        network.remove_lab_network()
        host.restore(state)
        if state.root.exists():
            shutil.rmtree(state.root)
        POINTER.unlink(missing_ok=True)


def _unmount_below(root: Path) -> None:
    """Unmount the newest first, also what was mounted twice."""
    below = [mount for mount in network.mounts() if Path(mount).is_relative_to(root)]
    for mount in reversed(below):
        run("umount", mount)
