from __future__ import annotations

import copy
import pickle
from datetime import timedelta

import pytest

from tests import rule
from watchword.client.errors import NEVER, After, LoginError, LoginMisconfigured, LoginRefused, LoginUnavailable
from watchword.errors import WatchwordError


def test_a_refusal_says_what_the_server_said_and_under_which_name_its_operator_finds_it() -> None:
    error = LoginRefused("invalid_scope", description="no such scope", status=400, request_id="req_1")
    assert str(error) == "invalid_scope: no such scope (status 400, request req_1)"
    assert (error.reason, error.retry) == ("refused.invalid_scope", NEVER)


def test_a_refusal_without_words_is_still_readable() -> None:
    assert str(LoginRefused("invalid_client", status=401)) == "invalid_client (status 401)"


def test_unavailability_says_when_to_come_back() -> None:
    assert LoginUnavailable("http.timeout", retry=After(timedelta(seconds=3))).retry == After(timedelta(seconds=3))


@rule("Q6")
@pytest.mark.parametrize(
    "error",
    [
        LoginRefused("invalid_client", description="d", status=401, request_id="r"),
        LoginUnavailable("http.timeout", detail="slow", retry=After(timedelta(seconds=3))),
        LoginMisconfigured("issuer.syntax", detail="no"),
    ],
)
def test_an_error_survives_the_way_between_processes(error: LoginError) -> None:
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is type(error)
        assert (str(twin), twin.__dict__) == (str(error), error.__dict__)


def test_all_are_errors_of_watchword() -> None:
    assert issubclass(LoginError, WatchwordError)
    assert {kind.__base__ for kind in (LoginRefused, LoginUnavailable, LoginMisconfigured)} == {LoginError}
