"""Messages: what is read, what is refused, and what a newer or older peer may say."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from moorage.kit.errors import InvalidError
from moorage.link.frames import Ack, Ping, Put, decode, encode, read_resource
from moorage.link.replicate import reject
from moorage.resources import KINDS, Machine
from moorage.resources.meta import Document

from .world import a_machine, a_pool


def test_a_message_is_read_as_it_was_written() -> None:
    frames = [Put(sequence=7, resource=a_pool().document()), Ack(sequence=3), Ping()]

    assert decode(encode(frames)) == frames


def test_fields_of_a_newer_peer_are_ignored_in_frames() -> None:
    assert decode('[{"type": "ack", "sequence": 4, "urgent": true}]') == [Ack(sequence=4)]


@pytest.mark.parametrize("text", ["", "null", "[1]", '[{"type": "dance"}]', '[{"type": "ack"}]'])
def test_what_is_not_of_the_protocol_is_refused(text: str) -> None:
    with pytest.raises(InvalidError, match="not of this protocol"):
        decode(text)


def test_a_message_beyond_the_limit_is_not_even_read() -> None:
    with pytest.raises(InvalidError, match="are allowed"):
        decode("[" * 1000, limit=999)


def test_nothing_of_a_document_is_lost_by_encoding() -> None:
    document = {"kind": "X", "spec": {"values": {"empty": None, "deep": [None, {"a": None}]}}}

    (frame,) = decode(encode([Put(sequence=1, resource=document)]))

    assert isinstance(frame, Put)
    assert frame.resource == document


def _newer(machine: Machine) -> Document:
    document = machine.document()
    document["spec"]["colour"] = "blue"
    document["spec"]["failureDomain"]["floor"] = 3
    document["metadata"]["annotations"] = {"a": "b"}
    document["status"]["conditions"] = [
        {
            "type": "Ready",
            "status": "True",
            "reason": "Done",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
            "severity": "info",
        }
    ]
    return document


def test_fields_of_a_newer_peer_are_left_out_of_resources() -> None:
    document = _newer(a_machine())

    found = read_resource(document)

    assert isinstance(found, Machine)
    assert found.spec == a_machine().spec
    assert found.status.is_true("Ready")
    assert document["spec"]["colour"] == "blue", "the caller's document is not touched"


def test_an_invalid_resource_is_refused_with_its_fields() -> None:
    document = _newer(a_machine())
    document["spec"]["cpus"] = "many"

    with pytest.raises(InvalidError, match=r"Machine is not valid here: spec\.cpus"):
        read_resource(document)


@pytest.mark.parametrize("kind", [None, "", "Dragon", 7])
def test_an_unknown_kind_is_refused(kind: object) -> None:
    with pytest.raises(InvalidError, match="not known here"):
        read_resource({"kind": kind})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["type", "kind", "metadata", "sequence", "resource", "spec", "name"])
            | st.text(max_size=5),
            inner,
            max_size=5,
        )
    ),
)


@given(JSON)
def test_no_json_gets_past_as_something_else(value: object) -> None:
    for text in (json.dumps(value), json.dumps([value])):
        with suppress(InvalidError):
            assert all(isinstance(frame, BaseModel) for frame in decode(text))


@given(st.sampled_from(sorted(KINDS)), st.dictionaries(st.text(max_size=8), JSON, max_size=5))
def test_no_document_breaks_the_reader(kind: str, document: dict[str, object]) -> None:
    frame = Put(sequence=1, resource={**document, "kind": kind})
    with pytest.raises(InvalidError) as caught:
        read_resource(frame.resource)
    assert reject(frame, caught.value).sequence == 1


def test_a_bottomless_message_is_refused() -> None:
    with pytest.raises(InvalidError):
        decode("[" * 100_000 + "]" * 100_000)
