"""What VMs are called: any pattern that is taken gives names that vSphere takes, no two alike."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from moorage.resources import Cluster
from moorage.resources.vmname import vm_name
from tests.builders import a_cluster


def cluster_document(pattern: Any) -> dict[str, Any]:
    document = a_cluster().document()
    document["spec"]["placement"]["vmName"] = pattern
    return document


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("k8s-{cluster}", "must end in {uid}"),
        ("{uid}-{cluster}", "must end in {uid}"),
        ("{uid}{uid}", "have it once"),
        ("{project}-{uid}", "{project} is not known"),
        ("{cluster}/{uid}", "cannot have '/'"),
        ("100% {uid}", "cannot have '%'"),
        ("{{cluster}}-{uid}", "cannot have"),
        ("a\n{uid}", "cannot have '\\n'"),
        (" {uid}", "begin with a space"),
        ("a" * 19 + "{cluster}{pool}-{uid}x{uid}", "have it once"),
        ("a" * 21 + "{cluster}{pool}{uid}", "gives 81 characters"),
        ("", "at least 1 character"),
    ],
)
def test_a_pattern_that_gives_no_name_is_refused_at_its_field(pattern: str, message: str) -> None:
    with pytest.raises(ValidationError) as error:
        Cluster.model_validate(cluster_document(pattern))

    (fault,) = error.value.errors()
    assert ".".join(map(str, fault["loc"])) == "spec.placement.vmName"
    assert message in fault["msg"]


def test_all_faults_of_a_pattern_are_told_at_once() -> None:
    said = r"\{zone\} is not known.*end in.*cannot have '/'"
    with pytest.raises(ValidationError, match=said):
        Cluster.model_validate(cluster_document("{zone}/{cluster}"))


words = st.sampled_from(["{cluster}", "{pool}", "K8S ", "_", "-", "Knoten ä", "."])
names = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,17}[a-z0-9])?", fullmatch=True)


@given(st.lists(words, max_size=6), names, names, st.from_regex(r"[0-9a-f]{10}", fullmatch=True))
def test_names_are_short_enough_and_end_in_the_uid(
    parts: list[str], cluster: str, pool: str, uid: str
) -> None:
    pattern = "".join(parts) + "{uid}"
    try:
        Cluster.model_validate(cluster_document(pattern))
    except ValidationError:
        return  # refused patterns give no names

    name = vm_name(pattern, cluster=cluster, pool=pool, uid=uid)

    assert name.endswith(uid)
    assert len(name) <= 80
    assert not set(name) & set("{}/\\%")
