"""The user stands in the audit trail: what the environment claims is not asked."""

import os
import pwd

import pytest

from watchword.adapters.local_user import local_user


@pytest.mark.parametrize("variable", ["LOGNAME", "USER", "LNAME", "USERNAME"])
def test_nobody_is_recorded_under_a_name_from_the_environment(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "somebody-else")
    assert local_user() == pwd.getpwuid(os.getuid()).pw_name


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getuid", lambda: 3_987_654)
    assert local_user() == "3987654"
