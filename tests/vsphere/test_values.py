"""What can be told without a vCenter: marks, names, faults, pace."""

import itertools
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyVmomi import vim, vmodl

from moorage.kit.errors import (
    ConflictError,
    ForbiddenError,
    MoorageError,
    NotFoundError,
    TerminalError,
    UnavailableError,
)
from moorage.vsphere import Endpoint, OwnerMark, Target
from moorage.vsphere.faults import no_answer, translate
from moorage.vsphere.inventory import card_addresses
from moorage.vsphere.places import decode, encode, near, split_path
from moorage.vsphere.stream import Pace

ENDPOINT = Endpoint("vcenter.example.com", "user")


def test_what_guests_report_is_kept_in_the_one_form_of_an_address() -> None:
    def nic(card: int, *addresses: str) -> Any:
        return vim.vm.GuestInfo.NicInfo(deviceConfigId=card, ipAddress=[*addresses])

    seen = card_addresses(
        [nic(4000, "FD00:0077::0010", "fe80::1", "10.0.0.9", "nonsense"), nic(-1, "10.244.0.1")]
    )

    assert seen == ("fd00:77::10", "10.0.0.9")


@pytest.mark.parametrize(
    ("server", "host", "port"),
    [
        ("vc.example.com", "vc.example.com", 443),
        ("10.0.0.1:8443", "10.0.0.1", 8443),
        ("[fd00::1]", "fd00::1", 443),
        ("[fd00::1]:8443", "fd00::1", 8443),
    ],
)
def test_an_endpoint_has_host_and_port(server: str, host: str, port: int) -> None:
    endpoint = Endpoint(server, "user")

    assert (endpoint.host, endpoint.port) == (host, port)


def test_a_mark_survives_its_text() -> None:
    mark = OwnerMark("inst", "Machine", "uid-1", epoch=3)

    read = OwnerMark.parse(mark.to_json())

    assert read == OwnerMark("inst", "Machine", "uid-1", epoch=3, instance_uuid="uid-1")


@given(st.one_of(st.none(), st.text(), st.integers(), st.just('{"uid": 1}'), st.just("[]")))
def test_whatever_is_no_mark_is_none(text: object) -> None:
    assert OwnerMark.parse(text) is None


@given(st.text(min_size=1))
def test_a_name_survives_as_a_path_component(name: str) -> None:
    written = encode(decode(name))

    assert "/" not in written
    assert decode(written) == decode(name)


def test_paths_are_split_and_unescaped() -> None:
    assert split_path("/dc1/vm/a%2Fb/c%25d") == ("dc1", "vm", "a/b", "c%d")
    assert split_path("x%41") == ("x%41",), "vSphere escapes only slash, backslash and percent"


def test_near_names_few_of_many() -> None:
    assert near("ubunto", ["ubuntu", "rhel"]) == "did you mean ubuntu?"
    assert near("x", [f"template-{n:02}" for n in range(20)]).endswith("and 12 more")
    assert near("x", []) == "there is none that the account can see"


def test_faults_stand_at_the_callers_fields() -> None:
    fields = {"datacenter": "", "folder": "", "template": ""}
    places = {"compute_cluster": "", "datastore": "", "network": ""}
    target = Target(**fields, **places, path="spec.placement.failureDomains[2]")

    assert target.field_path("folder") == "spec.placement.folder"
    assert target.field_path("compute_cluster") == "spec.placement.failureDomains[2].computeCluster"


@pytest.mark.parametrize(
    ("fault", "error", "says"),
    [
        (
            vim.fault.NoPermission(
                object=vim.Datastore("datastore-7"), privilegeId="Datastore.AllocateSpace"
            ),
            ForbiddenError,
            "lacks the privilege Datastore.AllocateSpace on Datastore datastore-7",
        ),
        (
            vmodl.fault.ManagedObjectNotFound(obj=vim.VirtualMachine("vm-1")),
            NotFoundError,
            "VirtualMachine vm-1 is no longer in vCenter",
        ),
        (
            vim.fault.DuplicateName(name="m-1", object=vim.VirtualMachine("vm-2")),
            ConflictError,
            "the name m-1 is taken",
        ),
        (vim.fault.InvalidPowerState(msg="wrong state"), ConflictError, "wrong state"),
        (vim.fault.ConcurrentAccess(), ConflictError, "ConcurrentAccess"),
        (vim.fault.NotAuthenticated(), UnavailableError, "ended the session"),
        (vim.fault.TaskInProgress(), UnavailableError, "TaskInProgress"),
        (
            vim.fault.InsufficientMemoryResourcesFault(msg="not enough memory"),
            UnavailableError,
            "not enough memory",
        ),
        (vim.fault.NoDiskSpace(datastore="ds1"), UnavailableError, "NoDiskSpace"),
        (vmodl.fault.InvalidArgument(invalidProperty="x"), TerminalError, "InvalidArgument"),
        (vim.fault.InvalidDeviceSpec(deviceIndex=0), TerminalError, "InvalidDeviceSpec"),
    ],
    ids=lambda value: getattr(type(value), "__name__", None),
)
def test_each_fault_becomes_what_callers_treat_alike(
    fault: Any, error: type[MoorageError], says: str
) -> None:
    made = translate(fault, "clone VM m-1")

    assert type(made) is error
    assert says in str(made)
    assert str(made).startswith("clone VM m-1")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (socket.gaierror(-2, "Name or service not known"), "cannot be resolved"),
        (ConnectionRefusedError(), "refuses connections"),
        (TimeoutError(), "did not answer in time"),
        (ConnectionResetError("reset"), "ConnectionResetError"),
    ],
)
def test_each_silence_is_explained(error: Exception, says: str) -> None:
    made = no_answer(error, ENDPOINT, "log in")

    assert isinstance(made, UnavailableError)
    assert says in str(made)
    assert "vcenter.example.com" in str(made)


def test_a_burst_is_let_through_and_then_slowed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = itertools.repeat(100.0)
    monkeypatch.setattr("moorage.vsphere.stream.time.monotonic", lambda: next(now))
    pace = Pace(rate=2.0, burst=3)

    assert [pace.delay() for _ in range(5)] == [0.0, 0.0, 0.0, 0.5, 1.0]
