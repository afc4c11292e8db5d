from __future__ import annotations

import asyncio
import os
import pickle
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from tests import rule
from tests.client.test_login import World
from tests.client.test_profiles import AGENT, write
from tests.client.world import answer
from watchword.client.chain import default
from watchword.client.credential_file import CredentialFromFiles
from watchword.client.credentials import ClientSecretBasic
from watchword.client.errors import LoginMisconfigured, LoginRefused
from watchword.client.login import Login
from watchword.client.private_key_jwt import PrivateKeyJwt
from watchword.client.profiles import profile_directory
from watchword.client.tls_client_auth import TlsClientAuth
from watchword.protocol.client_secret import build_basic
from watchword.protocol.jose import parse_compact
from watchword.protocol.private_keys import generate_private_key, to_pem
from watchword.testing.clock import FrozenClock

REFUSED = answer(401, error="invalid_client")
Fetch = Callable[[Login], str]


def _afetch(login: Login) -> str:
    return asyncio.run(login.atoken())


both = pytest.mark.parametrize("fetch", [Login.token, _afetch], ids=["thread", "loop"])


def put(path: Path, text: str, mode: int = 0o600) -> None:
    draft = path.with_name("draft")
    draft.write_text(text, encoding="utf-8")
    draft.chmod(mode)
    draft.replace(path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    put(tmp_path / "secret", "hush\n")
    return tmp_path / "secret"


def shown(world: World) -> list[str]:
    """The secrets that were shown, one request after the other."""
    spelt = {build_basic("reader", secret): secret for secret in ("hush", "hush-2", "hush-3")}
    return [spelt[request.headers["authorization"]] for request in world.server.token_requests]


def renew(world: World, fetch: Fetch) -> str:
    world.clock.advance(timedelta(hours=1))
    return fetch(world.login)


@both
def test_a_new_secret_in_the_file_is_shown_from_the_next_request_on(file: Path, fetch: Fetch) -> None:
    world = World(client=ClientSecretBasic.from_file("reader", file))
    fetch(world.login)
    put(file, "hush-2")
    renew(world, fetch)
    assert shown(world) == ["hush", "hush-2"]


@both
def test_a_secret_that_is_refused_is_looked_for_once_more(
    file: Path, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the file's times tell nothing, or it was changed between our look and the server's."""
    monkeypatch.setattr(CredentialFromFiles, "_look", lambda _self: ())
    world = World(client=ClientSecretBasic.from_file("reader", file))
    put(file, "hush-2")
    world.server.script.append(REFUSED)
    assert fetch(world.login) == "token-1"
    assert shown(world) == ["hush", "hush-2"]


@both
def test_the_same_secret_is_not_tried_twice_nor_another_for_another_refusal(file: Path, fetch: Fetch) -> None:
    world = World(client=ClientSecretBasic.from_file("reader", file))
    world.server.script.append(REFUSED)
    with pytest.raises(LoginRefused) as refused:
        fetch(world.login)
    assert refused.value.reason == "refused.invalid_client"
    world.server.script.append(answer(400, error="invalid_scope"))
    with pytest.raises(LoginRefused) as refused:
        fetch(world.login)
    assert refused.value.reason == "refused.invalid_scope"
    assert shown(world) == ["hush", "hush"]


@both
def test_of_two_refusals_the_second_is_told(file: Path, fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CredentialFromFiles, "_look", lambda _self: ())
    world = World(client=ClientSecretBasic.from_file("reader", file))
    put(file, "hush-2")
    world.server.script.extend([REFUSED, answer(401, error="invalid_client", error_description="again")])
    with pytest.raises(LoginRefused) as refused:
        fetch(world.login)
    assert refused.value.description == "again"
    assert shown(world) == ["hush", "hush-2"]


@pytest.mark.parametrize("spoil", [lambda path: path.unlink(), lambda path: put(path, "")], ids=["gone", "empty"])
def test_while_the_file_cannot_be_used_the_last_secret_serves(file: Path, spoil: Callable[[Path], None]) -> None:
    world = World(client=ClientSecretBasic.from_file("reader", file))
    spoil(file)
    assert world.login.token() == "token-1"
    put(file, "hush-3")
    renew(world, Login.token)
    assert shown(world) == ["hush", "hush-3"]


def test_what_is_wrong_with_the_file_is_told_when_the_last_secret_is_refused(file: Path) -> None:
    world = World(client=ClientSecretBasic.from_file("reader", file))
    put(file, "hush-2", 0o644)
    world.server.script.append(REFUSED)
    with pytest.raises(LoginMisconfigured) as refused:
        world.login.token()
    assert refused.value.reason == "file.mode"
    assert shown(world) == ["hush"]


def test_a_new_key_in_its_file_signs(tmp_path: Path) -> None:
    keys = [generate_private_key("ES256") for _ in range(2)]
    put(tmp_path / "key", to_pem(keys[0]))
    world = World(client=PrivateKeyJwt.from_file("reader", tmp_path / "key"))
    world.login.token()
    put(tmp_path / "key", to_pem(keys[1]))
    renew(world, Login.token)
    bodies = [request.body.decode() for request in world.server.token_requests]
    assertions = [body.partition("client_assertion=")[2].partition("&")[0] for body in bodies]
    assert [
        parse_compact(one, typ=frozenset({"JWT", "client-authentication+jwt"})).header["kid"] for one in assertions
    ] == [key.kid for key in keys]


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    profile_directory(environ := {"XDG_CONFIG_HOME": str(tmp_path)}).mkdir(parents=True)
    write(environ, "default", AGENT)
    return environ


def login_of(world: World, environ: dict[str, str]) -> Login:
    world.login = default(environ=environ, transport=world.server, clock=world.clock)
    return world.login


def secret_of(world: World) -> list[str]:
    spelt = {build_basic("reader-k7q2m9xw", secret): secret for secret in ("hush", "hush-2")}
    return [spelt[request.headers["authorization"]] for request in world.server.token_requests]


@both
def test_a_profile_that_was_rotated_is_followed(home: dict[str, str], fetch: Fetch) -> None:
    world = World()
    fetch(login_of(world, home))
    write(home, "default", AGENT.replace("hush", "hush-2"))
    renew(world, fetch)
    assert secret_of(world) == ["hush", "hush-2"]


@both
def test_the_file_that_the_environment_names_is_followed(file: Path, fetch: Fetch) -> None:
    environ = {
        "WATCHWORD_CLIENT_ID": "reader",
        "WATCHWORD_CLIENT_SECRET_FILE": str(file),
        "WATCHWORD_ISSUER": "https://login.example.com",
    }
    world = World()
    fetch(login_of(world, environ))
    put(file, "hush-2")
    renew(world, fetch)
    assert shown(world) == ["hush", "hush-2"]


@pytest.mark.parametrize(
    ("old", "new"),
    [("reader-k7q2m9xw", "writer-x"), ("https://login.example.com", "https://evil.example.com")],
    ids=["another agent", "another issuer"],
)
def test_a_profile_of_somebody_else_is_not_followed(home: dict[str, str], old: str, new: str) -> None:
    """A secret goes to its own issuer alone, and a login stays one agent's."""
    world = World()
    login_of(world, home).token()
    write(home, "default", AGENT.replace(old, new).replace("hush", "stolen"))
    renew(world, Login.token)
    world.server.script.append(REFUSED)
    with pytest.raises(LoginMisconfigured) as refused:
        renew(world, Login.token)
    assert refused.value.reason == "credential.changed"
    assert secret_of(world) == ["hush"] * 3


def test_a_profile_that_begins_to_name_a_certificate_is_not_followed(tmp_path: Path) -> None:
    made: list[object] = [ClientSecretBasic("reader", "hush"), object.__new__(TlsClientAuth)]
    object.__setattr__(made[1], "client_id", "reader")
    credential = CredentialFromFiles(lambda: made.pop(0), tmp_path)  # type: ignore[arg-type,return-value]  # a credential that no file of ours makes
    with pytest.raises(LoginMisconfigured) as refused:
        credential.after_refusal(ClientSecretBasic("reader", "hush"))
    assert refused.value.reason == "credential.changed"


@rule("Q6")
def test_it_neither_shows_its_secret_nor_is_pickled(file: Path) -> None:
    credential = ClientSecretBasic.from_file("reader", file)
    assert "hush" not in repr(credential)
    assert "hush" not in credential.hide("you sent hush")
    with pytest.raises(TypeError):
        pickle.dumps(credential)


def test_by_itself_it_is_a_credential_like_any_other(file: Path) -> None:
    headers: dict[str, str] = {}
    put(file, "hush-2")
    credential = ClientSecretBasic.from_file("reader", file)
    os.utime(file)
    credential.apply({}, headers, issuer="https://login.example.com", now=FrozenClock()())
    assert headers == {"authorization": build_basic("reader", "hush-2")}
