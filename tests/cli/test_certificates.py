"""Agents with certificates, whose profile names the files: nothing of them is copied."""

from __future__ import annotations

from pathlib import Path

import pytest

from watchword.cli.profiles import find_profile
from watchword.client.profile_credentials import build_credential
from watchword.client.tls_client_auth import TlsClientAuth
from watchword.testing.certificates import Authority, self_signed

PERMISSION = ("--resource", "my-api", "--scope", "read:data", "-o", "json")


def files(tmp_path: Path, stem: str = "crawler") -> tuple[str, ...]:
    held = self_signed(stem) if stem == "crawler" else Authority().issue(stem)
    certificate, key = held.write(tmp_path, stem)
    return ("--certificate", str(certificate), "--private-key", str(key))


@pytest.mark.parametrize("method", ["tls_client_auth", "self_signed_tls_client_auth"])
def test_the_profile_of_an_agent_with_a_certificate_names_its_files(admin, tmp_path, method):
    named = files(tmp_path)
    ran = admin("agent", "create", "crawler", "--auth", method, *named, *PERMISSION, "--save-profile", "c")
    assert (ran.code, "client_secret" in ran.json()) == (0, False)
    profile = find_profile("c")
    assert (profile.auth_method, profile.certificate_file, profile.private_key_file) == (method, named[1], named[3])
    assert (profile.client_secret, profile.resource, profile.scope) == ("", "my-api", "read:data")
    found = build_credential(profile)
    assert isinstance(found, TlsClientAuth)
    assert found.client_id == ran.json()["client_id"]


@pytest.mark.parametrize(
    "wrong",
    [
        ("--subject-dn", "CN=crawler", "--save-profile", "c"),
        ("--certificate", "{certificate}", "--save-profile", "c"),
        ("--certificate", "{certificate}", "--private-key", "{key}"),
        ("--certificate", "{certificate}", "--private-key", "{other}", "--save-profile", "c"),
        ("--certificate", "{certificate}", "--private-key", "{missing}", "--save-profile", "c"),
    ],
)
def test_files_that_no_profile_can_name_are_refused_before_anybody_is_registered(admin, tmp_path, wrong):
    own, other = files(tmp_path), files(tmp_path, "other")
    places = {"certificate": own[1], "key": own[3], "other": other[3], "missing": str(tmp_path / "none.key")}
    words = [word.format(**places) for word in wrong]
    ran = admin("agent", "create", "crawler", "--auth", "tls_client_auth", *words, *PERMISSION)
    assert ran.code != 0
    assert admin("agent", "show", "crawler").code == 6
    assert find_profile("c") is None
