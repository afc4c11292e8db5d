"""A client that shows a certificate: what it sends, where, and which files it takes."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests import rule
from watchword.client.chain import find_credential
from watchword.client.errors import LoginMisconfigured
from watchword.client.profile_credentials import build_credential
from watchword.client.profiles import AgentProfile
from watchword.client.tls_client_auth import TlsClientAuth
from watchword.testing.certificates import self_signed

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
ISSUER = "https://login.example.com"
HELD = self_signed("worker")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return HELD.write(tmp_path, "worker")


@rule("R8705-2-01")
def test_what_is_sent_is_the_client_id_and_nothing_else(files: tuple[Path, Path]) -> None:
    form: dict[str, str] = {}
    headers: dict[str, str] = {}
    TlsClientAuth("worker", *files).apply(form, headers, issuer=ISSUER, now=NOW)
    assert (form, headers) == ({"client_id": "worker"}, {})


def test_it_does_not_leave_the_process(files: tuple[Path, Path]) -> None:
    client = TlsClientAuth("worker", *files)
    assert copy.deepcopy(client) is client
    assert str(files[1]) not in repr(client)
    with pytest.raises(TypeError):
        pickle.dumps(client)


def missing(files: tuple[Path, Path]) -> None:
    files[1].unlink()


def open_to_others(files: tuple[Path, Path]) -> None:
    files[1].chmod(0o644)


def of_another(files: tuple[Path, Path]) -> None:
    files[1].write_bytes(self_signed().key_pem)


def rubbish(files: tuple[Path, Path]) -> None:
    files[0].write_text("rubbish")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (missing, "file.missing"),
        (open_to_others, "file.mode"),
        (of_another, "credential.certificate"),
        (rubbish, "credential.certificate"),
    ],
)
def test_files_that_cannot_be_used_are_refused_when_it_is_made(files: tuple[Path, Path], spoil, reason: str) -> None:  # type: ignore[no-untyped-def]  # four functions
    spoil(files)
    with pytest.raises(LoginMisconfigured) as caught:
        TlsClientAuth("worker", *files)
    assert caught.value.reason == reason


def test_a_client_has_a_name(files: tuple[Path, Path]) -> None:
    with pytest.raises(LoginMisconfigured) as caught:
        TlsClientAuth("", *files)
    assert caught.value.reason == "credential.client_id"


def test_the_environment_names_the_files(files: tuple[Path, Path], tmp_path: Path) -> None:
    environ = {
        "HOME": str(tmp_path),
        "WATCHWORD_CLIENT_ID": "worker",
        "WATCHWORD_ISSUER": ISSUER,
        "WATCHWORD_CLIENT_CERT": str(files[0]),
        "WATCHWORD_CLIENT_KEY": str(files[1]),
    }
    found, _ = find_credential(environ)
    assert (found.issuer, found.client) == (ISSUER, TlsClientAuth("worker", str(files[0]), str(files[1])))
    for name in ("WATCHWORD_CLIENT_CERT", "WATCHWORD_CLIENT_KEY"):
        with pytest.raises(LoginMisconfigured) as caught:
            find_credential({key: value for key, value in environ.items() if key != name})
        assert caught.value.reason == "credentials.incomplete"


@pytest.mark.parametrize("method", ["tls_client_auth", "self_signed_tls_client_auth"])
def test_a_profile_names_the_files(files: tuple[Path, Path], method: str) -> None:
    certificate, key = map(str, files)
    profile = AgentProfile(
        issuer=ISSUER, client_id="worker", auth_method=method, certificate_file=certificate, private_key_file=key
    )
    assert build_credential(profile) == TlsClientAuth("worker", certificate, key)
    with pytest.raises(LoginMisconfigured) as caught:
        build_credential(AgentProfile(issuer=ISSUER, client_id="worker", auth_method=method, private_key_file=key))
    assert caught.value.reason == "credential.certificate"
