"""Logs: one JSON object a line, nothing like a secret, nothing that breaks out of its line."""

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest
import structlog

from tests import rule
from watchword.adapters.logs import configure_logs
from watchword.protocol.client_secret import SecretKind, generate_secret


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def test_an_event_is_one_json_object_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info", style="json")
    structlog.get_logger("test").info("issued", request_id="r1")
    captured = capsys.readouterr()
    assert captured.out == ""
    event = json.loads(captured.err)
    assert (event["event"], event["request_id"], event["level"]) == ("issued", "r1", "info")
    assert event["timestamp"].endswith("Z")


@rule("C13", "TRAP-24", "KF-107")
def test_a_secret_is_redacted_at_every_level_and_from_every_library(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("debug", style="json")
    secret = generate_secret(SecretKind.CLIENT)
    for level in ("debug", "info", "warning", "error"):
        getattr(structlog.get_logger("test"), level)(f"got {secret}", value=secret)
    logging.getLogger("somebody.else").warning("sent %s", secret)
    text = capsys.readouterr().err
    assert text.count("\n") == 5
    assert secret not in text
    assert text.count("[redacted]") == 9


def test_what_a_library_logs_is_such_an_event_too(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info", style="json")
    logging.getLogger("somebody.else").warning("Invalid %s", "request")
    event = json.loads(capsys.readouterr().err)
    assert event.pop("timestamp").endswith("Z")
    assert event == {"event": "Invalid request", "level": "warning", "logger": "somebody.else"}


@rule("C13", "TRAP-24")
@pytest.mark.parametrize("style", ["json", "console"])
def test_an_exception_is_logged_by_its_kind_and_place_and_not_by_its_words(
    capsys: pytest.CaptureFixture[str], style: str
) -> None:
    configure_logs("debug", style=style)
    try:
        raise ValueError("the secret that was sent")
    except ValueError:
        logging.getLogger("somebody.else").exception("it failed")
    text = capsys.readouterr().err
    assert "the secret" not in text
    assert text.count("\n") == 1
    assert "ValueError" in text
    assert "test_logs.py:" in text


@rule("T16", "KF-116", "U3")
def test_control_characters_stay_inside_their_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info", style="json")
    structlog.get_logger("test").info("x", value='a\r\n\x1b[31m"}\n{"event": "forged"')
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert "\x1b" not in text


def test_less_important_events_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("warning", style="json")
    structlog.get_logger("test").info("not wanted")
    assert capsys.readouterr().err == ""


@rule("U5", "DR-10")
@pytest.mark.parametrize("error", [OSError(28, "No space left"), BrokenPipeError(), ValueError("closed file")])
@pytest.mark.parametrize("style", ["json", "console"])
def test_a_log_that_cannot_be_written_disturbs_nobody(
    monkeypatch: pytest.MonkeyPatch, error: Exception, style: str
) -> None:
    class Broken(io.StringIO):
        is_broken = True

        def write(self, text: str) -> int:
            if self.is_broken:
                raise error
            return super().write(text)

        def flush(self) -> None:
            if self.is_broken:
                raise error

    monkeypatch.setattr(sys, "stderr", Broken())
    configure_logs("info", style=style)
    structlog.get_logger("test").info("lost")
    logging.getLogger("somebody.else").warning("lost")
    sys.stderr.is_broken = False
    structlog.get_logger("test").info("kept")
    assert "kept" in sys.stderr.getvalue()
    assert "lost" not in sys.stderr.getvalue()
