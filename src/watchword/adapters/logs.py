"""Structured logs: one JSON object a line on stderr, control characters escaped, anything like a secret redacted."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

import structlog
from structlog.typing import Processor

from watchword.protocol.client_secret import redact

_ENCODER = json.JSONEncoder(default=repr)

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure_logs(level: str, *, style: str = "json") -> None:
    """Set up logging for the process: ``level`` debug, info, warning or error; ``style`` json or console."""
    renderer = structlog.dev.ConsoleRenderer(colors=False) if style == "console" else _render_json
    sink = _Sink(sys.stderr)
    stamps: tuple[Processor, ...] = (
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    )
    structlog.configure(
        processors=[*stamps, _redact, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=sink),  # type: ignore[arg-type]  # it needs no more of a file
        cache_logger_on_first_use=True,
    )
    # Libraries log through the standard module; only their warnings are let through, by the same renderer.
    foreign: list[Processor] = [structlog.stdlib.add_logger_name, *stamps, _name_exception, _redact]
    handler = logging.StreamHandler(sink)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=foreign))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


def _render_json(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
    return _ENCODER.encode(event)


class _Sink:
    """Writes what can be written. A log on a full disk, or whose reader has gone, must not become an answer: it is no record."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        """Write, or drop it."""
        with suppress(OSError, ValueError):  # ValueError: the file has been closed
            return self._file.write(text)
        return len(text)

    def flush(self) -> None:
        """Push it out, or drop it."""
        with suppress(OSError, ValueError):
            self._file.flush()


def _name_exception(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Keep the kind and the place of an exception: its words and its trace may hold what was sent."""
    error = event.pop("exc_info", None)
    if isinstance(error, tuple) and error[0] is not None:
        last = traceback.extract_tb(error[2])[-1:]
        event["kind"] = error[0].__name__
        event["place"] = "".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in last)
    return event


def _redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = redact(value)
    return event
