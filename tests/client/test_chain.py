from __future__ import annotations

import json
from pathlib import Path

import pytest

import watchword
from tests import rule
from tests.client.test_profiles import AGENT, write
from tests.client.world import ISSUER, AuthorizationServer, form
from tests.vectors import key_for
from watchword.client.chain import Tried, default, find_credential
from watchword.client.credential_file import CredentialFromFiles
from watchword.client.credentials import ClientSecretPost
from watchword.client.errors import LoginMisconfigured
from watchword.client.profiles import profile_directory
from watchword.client.variables import CLIENT_VARIABLES
from watchword.protocol.client_assertion import parse_client_assertion
from watchword.protocol.private_keys import to_pem

SECRET = {"WATCHWORD_CLIENT_ID": "env-agent", "WATCHWORD_CLIENT_SECRET": "hush", "WATCHWORD_ISSUER": ISSUER}
SOURCES = ["client-secret", "private-key", "certificate", "federated-token", "api-key", "profile", "default-profile"]


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    profile_directory(environ := {"XDG_CONFIG_HOME": str(tmp_path)}).mkdir(parents=True)
    return environ


def client_id(environ: dict[str, str]) -> str:
    return default(environ=environ).client_id


def refusal(environ: dict[str, str]) -> LoginMisconfigured:
    with pytest.raises(LoginMisconfigured) as refused:
        default(environ=environ)
    assert "hush" not in str(refused.value)
    return refused.value


def test_the_environment_names_a_client_its_secret_and_its_issuer(home: dict[str, str]) -> None:
    login = default(environ={**home, **SECRET})
    assert (login.issuer, login.client_id) == (ISSUER, "env-agent")


def test_the_url_serves_where_no_issuer_is_named(home: dict[str, str]) -> None:
    environ = {**home, **SECRET, "WATCHWORD_URL": "https://other.example"}
    assert default(environ=environ).issuer == ISSUER
    del environ["WATCHWORD_ISSUER"]
    assert default(environ=environ).issuer == "https://other.example"


def test_a_secret_may_stand_in_a_file(home: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("hush\n")
    path.chmod(0o400)
    server = AuthorizationServer()
    environ = {**home, **SECRET, "WATCHWORD_CLIENT_SECRET_FILE": str(path)}
    del environ["WATCHWORD_CLIENT_SECRET"]
    default(environ=environ, transport=server).token()
    assert server.token_requests[0].headers["authorization"] == "Basic ZW52LWFnZW50Omh1c2g="


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o660])
def test_a_secret_file_open_to_others_is_refused(home: dict[str, str], tmp_path: Path, mode: int) -> None:
    path = tmp_path / "secret"
    path.write_text("hush\n")
    path.chmod(mode)
    environ = {**home, **SECRET, "WATCHWORD_CLIENT_SECRET_FILE": str(path)}
    del environ["WATCHWORD_CLIENT_SECRET"]
    assert refusal(environ).reason == "file.mode"


def test_the_order_is_environment_named_profile_default_profile(home: dict[str, str]) -> None:
    write(home, "named", AGENT.replace("reader-k7q2m9xw", "named-agent"))
    write(home, "default", AGENT.replace("reader-k7q2m9xw", "default-agent"))
    named = {**home, "WATCHWORD_PROFILE": "named"}
    assert client_id({**named, **SECRET}) == "env-agent"
    assert client_id(named) == "named-agent"
    assert client_id(home) == "default-agent"


def test_a_profile_brings_its_own_issuer_method_resource_and_scope(home: dict[str, str]) -> None:
    text = AGENT.replace("client_secret_basic", "client_secret_post") + 'scope = "read:data"\n'
    write(home, "default", text)
    server = AuthorizationServer()
    found, _ = find_credential({**home, "WATCHWORD_ISSUER": "https://evil.example"})
    assert isinstance(found.client, CredentialFromFiles)
    assert (found.issuer, found.client.current()) == (ISSUER, ClientSecretPost("reader-k7q2m9xw", "hush"))
    default(environ=home, transport=server).token()
    assert form(server.token_requests[0]) == {
        "grant_type": "client_credentials",
        "client_id": "reader-k7q2m9xw",
        "client_secret": "hush",
        "audience": "my-api",
        "scope": "read:data",
    }


def test_an_argument_stands_before_the_environment_and_that_before_the_profile(home: dict[str, str]) -> None:
    write(home, "default", AGENT + 'scope = "profile"\n')
    environ = {**home, "WATCHWORD_SCOPE": "env", "WATCHWORD_RESOURCE": "env-api"}
    server = AuthorizationServer()
    default(environ=environ, transport=server).token()
    default(environ=environ, transport=server, scope="arg", resource="arg-api").token()
    default(environ=environ, transport=server, audience="arg-audience").token()
    sent = [(form(request)["scope"], form(request)["audience"]) for request in server.token_requests]
    assert sent == [("env", "env-api"), ("arg", "arg-api"), ("env", "arg-audience")]


def test_where_nothing_is_the_error_lists_every_source_and_asks_no_network(home: dict[str, str]) -> None:
    server = AuthorizationServer()
    with pytest.raises(LoginMisconfigured) as refused:
        default(environ=home, transport=server)
    assert refused.value.reason == "credentials.none"
    _, *lines, advice = str(refused.value).splitlines()
    assert [line.split(":")[0].strip() for line in lines] == SOURCES
    assert "WATCHWORD_CLIENT_SECRET" in lines[0]
    assert str(profile_directory(home) / "default.toml") in lines[-1]
    assert all(name in advice for name in (*SECRET, "--save-profile default"))
    assert server.requests == []


def test_a_user_without_a_home_has_no_profiles(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless(_: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", homeless)
    error = refusal({})
    assert error.reason == "credentials.none"
    assert "  default-profile: there is no home directory: set HOME" in str(error)
    assert refusal({"WATCHWORD_PROFILE": "reader"}).reason == "profile.directory"
    assert client_id(SECRET) == "env-agent"


@pytest.mark.parametrize(
    ("changes", "blamed"),
    [
        ({"WATCHWORD_ISSUER": "login.example.com"}, "WATCHWORD_ISSUER: "),
        ({"WATCHWORD_ISSUER": "", "WATCHWORD_URL": "http://login.example.com"}, "WATCHWORD_URL: "),
        ({"WATCHWORD_CLIENT_SECRET": "hush\n"}, "WATCHWORD_CLIENT_SECRET: "),
        ({"WATCHWORD_CLIENT_SECRET": "", "WATCHWORD_CLIENT_SECRET_FILE": "$HOME/blank"}, "/blank: "),
        (
            {"WATCHWORD_CLIENT_SECRET": "", "WATCHWORD_CLIENT_ID": "", "WATCHWORD_PROFILE": "lost"},
            "WATCHWORD_PROFILE: ",
        ),
        (
            {"WATCHWORD_CLIENT_SECRET": "", "WATCHWORD_CLIENT_ID": "", "WATCHWORD_PROFILE": "bad"},
            "/bad.toml: the issuer",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_used_is_named_by_its_place(home: dict[str, str], changes: dict[str, str], blamed: str) -> None:
    blank = Path(home["XDG_CONFIG_HOME"], "blank")
    blank.touch(mode=0o600)
    blank.write_text("\n")
    write(home, "bad", AGENT.replace("https:", "http:"))
    changes = {name: value.replace("$HOME", home["XDG_CONFIG_HOME"]) for name, value in changes.items()}
    assert blamed in str(refusal({**home, **SECRET, **changes})).splitlines()[-1]


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("WATCHWORD_API_KEY", "api-key"),
        ("WATCHWORD_API_KEY_FILE", "api-key"),
    ],
)
def test_what_this_release_cannot_use_is_said_and_not_passed_over(home: dict[str, str], name: str, source: str) -> None:
    write(home, "default", AGENT)
    error = refusal({**home, "WATCHWORD_CLIENT_ID": "env-agent", name: "/hush"})
    assert error.reason == "credentials.unsupported"
    assert str(error).splitlines()[-1].startswith(f"  {source}: {name} is set, but this release cannot")


@pytest.mark.parametrize(
    ("missing", "extra"),
    [
        ("WATCHWORD_CLIENT_ID", {}),
        ("WATCHWORD_CLIENT_SECRET", {}),
        ("WATCHWORD_ISSUER", {}),
        ("", {"WATCHWORD_CLIENT_SECRET_FILE": "/run/secrets/x"}),
    ],
)
def test_half_a_credential_is_no_reason_to_be_somebody_else(
    home: dict[str, str], missing: str, extra: dict[str, str]
) -> None:
    write(home, "default", AGENT)
    environ = {**home, **SECRET, **extra}
    environ.pop(missing, None)
    assert refusal(environ).reason == "credentials.incomplete"


def test_a_named_profile_that_is_not_there_is_no_reason_to_be_the_default(home: dict[str, str]) -> None:
    write(home, "default", AGENT)
    assert refusal({**home, "WATCHWORD_PROFILE": "reader"}).reason == "file.missing"


OPERATOR = 'kind = "operator"\nurl = "https://x.example"\ntoken = "hush"\n'


def test_an_operators_profile_logs_no_agent_in(home: dict[str, str]) -> None:
    write(home, "default", OPERATOR)
    error = refusal(home)
    assert error.reason == "credentials.none"
    assert "operator" in str(error)
    assert "hush" not in str(error)
    assert refusal({**home, "WATCHWORD_PROFILE": "default"}).reason == "profile.kind"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (AGENT.replace("client_secret_basic", "none"), "credentials.unsupported"),
        (AGENT.replace("client_secret_basic", "private_key_jwt"), "credential.private_key"),
        (AGENT.replace('client_secret = "hush"\n', ""), "credential.client_secret"),
        (AGENT.replace("https:", "http:"), "issuer.insecure"),
    ],
)
def test_a_profile_that_cannot_serve_says_why(home: dict[str, str], text: str, reason: str) -> None:
    write(home, "default", text)
    assert refusal(home).reason == reason


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "agent.pem"
    path.write_text(to_pem(key_for("ES256")))
    path.chmod(0o600)
    return path


def test_the_environment_names_a_client_its_key_and_its_issuer(home: dict[str, str], key_file: Path) -> None:
    server = AuthorizationServer()
    environ = {**home, **SECRET, "WATCHWORD_PRIVATE_KEY_FILE": str(key_file)}
    del environ["WATCHWORD_CLIENT_SECRET"]
    default(environ=environ, transport=server).token()
    sent = form(server.token_requests[0])
    assert parse_client_assertion(sent["client_assertion"]).client_id == "env-agent"


@pytest.mark.parametrize("missing", ["WATCHWORD_CLIENT_ID", "WATCHWORD_ISSUER"])
def test_a_key_without_a_client_or_an_issuer_is_half_a_credential(
    home: dict[str, str], key_file: Path, missing: str
) -> None:
    write(home, "default", AGENT)
    environ = {**home, **SECRET, "WATCHWORD_PRIVATE_KEY_FILE": str(key_file)}
    del environ["WATCHWORD_CLIENT_SECRET"], environ[missing]
    assert refusal(environ).reason == "credentials.incomplete"


@rule("R10070-3-04")
def test_a_profile_may_hold_a_key_or_name_its_file(home: dict[str, str], key_file: Path) -> None:
    keyed = AGENT.replace("client_secret_basic", "private_key_jwt").replace('client_secret = "hush"\n', "")
    write(home, "default", f"{keyed}private_key = {json.dumps(key_file.read_text())}\nkey_id = 'mine'\n")
    assert "kid='mine'" in repr(find_credential(home)[0].client)
    write(home, "default", f"{keyed}private_key_file = '{key_file}'\n")
    assert key_for("ES256").kid in repr(find_credential(home)[0].client)


def test_the_sources_can_be_narrowed(home: dict[str, str]) -> None:
    write(home, "default", AGENT)
    environ = {**home, **SECRET, "WATCHWORD_CREDENTIALS": "profile, default-profile"}
    found, tried = find_credential(environ)
    assert found.client.client_id == "reader-k7q2m9xw"
    assert tried == (Tried("profile", "WATCHWORD_PROFILE is not set"), Tried("default-profile", "used"))


def test_an_unknown_source_is_refused_with_those_there_are(home: dict[str, str]) -> None:
    error = refusal({**home, **SECRET, "WATCHWORD_CREDENTIALS": "env"})
    assert error.reason == "credentials.unknown_source"
    assert "client-secret" in str(error)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("WATCHWORD_PROFLE", "WATCHWORD_PROFILE"),
        ("WATCHWORD_CLIENTID", "WATCHWORD_CLIENT_ID"),
        ("WATCHWORD_CLIENT_SECRETS", "WATCHWORD_CLIENT_SECRET"),
        ("WATCHWORD_SCOPES", "WATCHWORD_SCOPE"),
        ("WATCHWORD_CREDENTIAL", "WATCHWORD_CREDENTIALS"),
    ],
)
def test_a_misspelt_name_is_refused_with_what_was_meant(home: dict[str, str], name: str, meant: str) -> None:
    error = refusal({**home, **SECRET, name: "hush"})
    assert error.reason == "credentials.unknown_name"
    assert f"did you mean {meant}?" in str(error)


def test_names_that_a_platform_sets_are_let_be(home: dict[str, str]) -> None:
    # Kubernetes sets these in every pod beside a service named watchword.
    platform = {
        "WATCHWORD_SERVICE_HOST": "10.0.0.1",
        "WATCHWORD_SERVICE_PORT": "8020",
        "WATCHWORD_PORT": "tcp://10.0.0.1:8020",
        "WATCHWORD_PORT_8020_TCP_ADDR": "10.0.0.1",
        "WATCHWORD_SERVER__ISSUER": ISSUER,
        **dict.fromkeys(set(CLIENT_VARIABLES) & {"WATCHWORD_DATA", "WATCHWORD_OPERATOR_TOKEN"}, "x"),
    }
    assert client_id({**home, **SECRET, **platform}) == "env-agent"


@rule("Q6")
def test_nothing_shows_the_secret(home: dict[str, str]) -> None:
    found, tried = find_credential({**home, **SECRET})
    assert "hush" not in repr(found) + repr(tried) + repr(default(environ={**home, **SECRET}))


def test_it_is_found_under_its_public_name(home: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**home, **SECRET}.items():
        monkeypatch.setenv(name, value)
    assert watchword.default(scope="read:data", resource="my-api").client_id == "env-agent"
