"""Who reports which address: the small form is like the plain one."""

from hypothesis import given
from hypothesis import strategies as st

from moorage.vsphere.reported import Reported

ADDRESSES = ("10.0.0.1", "10.0.0.2", "0.0.0.9", "::9", "fd00::1")
REPORTS = st.tuples(st.sampled_from("abc"), st.lists(st.sampled_from(ADDRESSES), max_size=4))


@given(st.lists(REPORTS, max_size=30))
def test_it_says_what_was_reported_last(reports: list[tuple[str, list[str]]]) -> None:
    kept, plain = Reported(), dict[str, list[str]]()
    for vm, addresses in reports:
        kept.put(vm, addresses)
        plain[vm] = addresses

    for address in ADDRESSES:
        assert sorted(kept.at(address)) == sorted(vm for vm in plain if address in plain[vm])


def test_an_address_is_the_same_however_it_is_written() -> None:
    kept = Reported()
    kept.put("vm-1", ["FD00:0:0::1"])

    assert kept.at("fd00::1") == ("vm-1",)
