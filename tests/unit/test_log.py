"""Logging: one JSON object a line for machines, and never a secret."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from moorage.kit.log import set_up_logging


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_events_are_json_with_what_is_bound() -> None:
    stream = io.StringIO()
    set_up_logging(stream=stream)
    with structlog.contextvars.bound_contextvars(controller="machine"):
        structlog.get_logger("moorage.x").info("clone started", machine="m-1")

    (line,) = lines(stream)
    assert line["event"] == "clone started"
    assert (line["controller"], line["machine"], line["level"]) == ("machine", "m-1", "info")
    assert line["timestamp"].endswith("Z")


def test_logs_of_libraries_take_the_same_way() -> None:
    stream = io.StringIO()
    set_up_logging(stream=stream)
    logging.getLogger("library").warning("retry %s with token=%s", 1, "hunter2")

    (line,) = lines(stream)
    assert line["logger"] == "library"
    assert "hunter2" not in stream.getvalue()


def test_secrets_do_not_get_into_logs_by_any_way() -> None:
    stream = io.StringIO()
    set_up_logging(stream=stream)
    log = structlog.get_logger()
    log.info("password=hunter2", password="hunter2", nested={"token": "hunter2"})
    try:
        int("login with password=hunter2 failed")
    except ValueError:
        log.exception("failed")

    assert "hunter2" not in stream.getvalue()
    assert "ValueError" in lines(stream)[1]["exception"]


def test_the_level_is_respected() -> None:
    stream = io.StringIO()
    set_up_logging(level="warning", stream=stream)
    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("loud")

    assert [line["event"] for line in lines(stream)] == ["loud"]


def test_people_get_no_json() -> None:
    stream = io.StringIO()
    set_up_logging(log_format="console", stream=stream)
    structlog.get_logger().info("clone started", machine="m-1")

    assert "clone started" in stream.getvalue()
    assert not stream.getvalue().startswith("{")
