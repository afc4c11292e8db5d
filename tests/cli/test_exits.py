from __future__ import annotations

from datetime import timedelta

import pytest

from tests import rule
from watchword import errors
from watchword.cli import exits
from watchword.cli.exits import CommandError, ExitCode, code_of, code_of_status, describe
from watchword.client.errors import After, LoginMisconfigured, LoginRefused, LoginUnavailable
from watchword.ports.http import TransportError


def test_the_codes_are_those_of_the_contract():
    assert {code.name: code.value for code in ExitCode} == {
        "OK": 0,
        "ERROR": 1,
        "USAGE": 2,
        "UNAUTHENTICATED": 4,
        "DENIED": 5,
        "MISSING": 6,
        "UNREACHABLE": 7,
        "FINDINGS": 8,
        "INTERRUPTED": 130,
    }


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, 2), (401, 4), (403, 5), (404, 6), (409, 6), (412, 6), (422, 2), (429, 1), (500, 1), (502, 7), (503, 7)],
)
def test_a_status_of_the_admin_api_has_one_code(status, code):
    assert code_of_status(status) == code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CommandError(ExitCode.FINDINGS, "x"), 8),
        (errors.Unauthenticated("operator.credential"), 4),
        (errors.Forbidden("role"), 5),
        (errors.Missing("agent.missing"), 6),
        (errors.Conflict("agent.name"), 6),
        (errors.PreconditionFailed("version"), 6),
        (errors.Invalid("agent.name"), 2),
        (errors.InvalidClient("client.secret"), 4),
        (errors.InvalidScope("scope.denied"), 5),
        (errors.InvalidTarget("target.unknown"), 5),
        (errors.BadSettings("settings.listen"), 2),
        (errors.BadSettings("init.occupied"), 6),
        (errors.StoreUnavailable("store.missing"), 7),
        (errors.MasterKeyError("master_key.mode"), 1),
        (TransportError("http.connect"), 7),
        (LoginRefused("invalid_client", status=401), 4),
        (LoginRefused("invalid_scope"), 5),
        (LoginRefused("invalid_target"), 5),
        (LoginRefused("unauthorized_client"), 5),
        (LoginRefused("invalid_request"), 1),
        (LoginUnavailable("http.connect", retry=After(timedelta(seconds=1))), 7),
        (LoginMisconfigured("issuer.syntax"), 2),
        (LoginMisconfigured("credentials.none"), 4),
        (LoginMisconfigured("file.missing"), 6),
        (OSError("disk"), 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_an_error_has_one_code(error, code):
    assert code_of(error) == code


@rule("DR-16")
def test_an_error_is_told_in_the_servers_words_with_the_id_its_audit_trail_knows():
    error = LoginRefused("invalid_scope", description="This agent may not write.", request_id="req-1")
    assert describe(error) == "watchword: invalid_scope: This agent may not write. [trace id req-1]"


def test_a_file_that_cannot_be_read_is_named():
    assert describe(FileNotFoundError(2, "No such file or directory", "x.jsonl")) == (
        "watchword: x.jsonl: No such file or directory."
    )


def test_words_from_elsewhere_cannot_steer_the_terminal():
    assert "\x1b" not in describe(CommandError(ExitCode.ERROR, "\x1b[2Jgone"))


def test_the_table_in_the_documentation_lists_every_code():
    assert all(f"\n{code.value} " in str(exits.__doc__) for code in ExitCode)


@rule("C13", "TRAP-24")
@pytest.mark.parametrize("bug", [ValueError("wws_secret"), ExceptionGroup("wws_secret", [ValueError("wws_secret")])])
def test_a_bug_is_told_by_its_kind_and_place_and_not_by_its_words(cli, monkeypatch, bug):
    def fail(*_: object) -> None:
        raise bug

    monkeypatch.setattr("watchword.cli.app.check_environment", fail)
    ran = cli("version")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("watchword: This is a bug of watchword (ValueError at ")
    assert ran.err.count("\n") == 1
    assert "wws_secret" not in ran.err
