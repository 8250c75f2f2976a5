"""Logging: JSON lines for machines, colours for a person at a terminal, secrets for nobody."""

import logging
import sys
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from moorage.kit.redact import redact, redact_text

LogFormat = Literal["auto", "json", "console"]


def _redact_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    kept: dict[str, Any] = {key: event.pop(key) for key in ("exc_info", "_record") if key in event}
    cleaned: dict[str, Any] = redact(event)
    return {**cleaned, **kept}


def _redact_traceback(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    if isinstance(event.get("exception"), str):
        event["exception"] = redact_text(event["exception"])
    return event


def set_up_logging(
    *, level: str = "info", log_format: LogFormat = "auto", stream: TextIO | None = None
) -> None:
    """Send all logging, that of libraries too, to ``stream`` (standard error).

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``.
        log_format: ``auto`` writes for people when the stream is a terminal, else JSON.
        stream: Where to write.
    """
    out = stream or sys.stderr
    as_json = log_format == "json" or (log_format == "auto" and not out.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _redact_event,
        structlog.processors.format_exc_info,
        _redact_traceback,
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(colors=out.isatty())
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("alembic", "asyncio", "httpcore2", "httpx2", "websockets"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
