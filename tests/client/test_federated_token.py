"""A workload's own token as the credential: read anew each time, sent as the grant, and nowhere else."""

from __future__ import annotations

import asyncio
import copy
import os
import pickle
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from tests import rule
from tests.client.world import AT_ONCE, ISSUER, AuthorizationServer, answer
from watchword.client.chain import default
from watchword.client.errors import LoginMisconfigured, LoginRefused, LoginUnavailable
from watchword.client.federated_token import GITHUB_TOKEN, GITHUB_URL, FederatedToken, GitHubActionsToken
from watchword.client.login import Login
from watchword.ports.http import HttpRequest, HttpResponse
from watchword.protocol import names

TOKEN = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"
OTHER = TOKEN + "2"
GITHUB = {GITHUB_URL: "https://actions.example.com/token?api-version=2", GITHUB_TOKEN: "hush"}


@pytest.fixture
def server() -> AuthorizationServer:
    return AuthorizationServer()


def build(server: AuthorizationServer, client: object) -> Login:
    return Login(issuer=ISSUER, client=client, scope="read:data", transport=server, retry=AT_ONCE)  # type: ignore[arg-type]


def form_of(request: HttpRequest) -> dict[str, list[str]]:
    return parse_qs(request.body.decode())


@rule("MCPWIF-01")
def test_the_token_is_sent_as_the_grant_and_nothing_authenticates_beside_it(server: AuthorizationServer) -> None:
    asked: list[str] = []

    def supply(audience: str) -> str:
        asked.append(audience)
        return TOKEN + "\n"

    build(server, FederatedToken(supply)).token()
    (request,) = server.token_requests
    assert form_of(request) == {"grant_type": [names.JWT_BEARER], "assertion": [TOKEN], "scope": ["read:data"]}
    assert "authorization" not in request.headers
    assert asked == [ISSUER]


def test_a_client_id_goes_along_where_it_is_given(server: AuthorizationServer) -> None:
    build(server, FederatedToken(lambda _: TOKEN, client_id="worker-1")).token()
    assert form_of(server.token_requests[0])["client_id"] == ["worker-1"]


@pytest.mark.parametrize("kind", [str, Path])
def test_the_file_is_read_anew_for_each_login(server: AuthorizationServer, tmp_path: Path, kind: type) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    file.chmod(0o644)
    client = FederatedToken(kind(file))
    build(server, client).token()
    file.write_text(OTHER)
    asyncio.run(build(server, client).atoken())
    assert [form_of(one)["assertion"] for one in server.token_requests] == [[TOKEN], [OTHER]]


@pytest.mark.parametrize(
    ("content", "mode", "reason"),
    [
        ("", 0o600, "file.form"),
        ("no token", 0o600, "federated.token"),
        (TOKEN, 0o666, "file.mode"),
        ("a.b.c.d.e", 0o600, "federated.token"),
    ],
)
def test_a_file_that_holds_no_token_or_that_others_may_write_is_not_sent(
    server: AuthorizationServer, tmp_path: Path, content: str, mode: int, reason: str
) -> None:
    file = tmp_path / "token"
    file.write_text(content)
    file.chmod(mode)
    with pytest.raises(LoginMisconfigured) as failed:
        build(server, FederatedToken(file)).token()
    assert failed.value.reason == reason
    assert server.token_requests == []
    with pytest.raises(LoginMisconfigured, match=r"file\.missing"):
        build(server, FederatedToken(tmp_path / "nowhere")).token()


@rule("MCPWIF-02")
def test_a_refusal_is_told_and_no_other_way_is_tried(server: AuthorizationServer) -> None:
    server.script.append(answer(400, error="invalid_grant", error_description=f"no: {TOKEN}"))
    with pytest.raises(LoginRefused) as refused:
        build(server, FederatedToken(lambda _: TOKEN)).token()
    assert "invalid_grant" in str(refused.value)
    assert TOKEN not in str(refused.value)
    assert len(server.token_requests) == 1


class GitHub(AuthorizationServer):
    """Answers for GitHub, too."""

    def __init__(self, *answers: HttpResponse) -> None:
        super().__init__()
        self.github = list(answers)
        self.asked: list[HttpRequest] = []

    def send(self, request: HttpRequest) -> HttpResponse:
        if request.url.startswith("https://actions.example.com/"):
            self.asked.append(request)
            return self.github.pop(0)
        return super().send(request)


def test_a_job_of_github_asks_for_its_token_before_each_login() -> None:
    server = GitHub(answer(value=TOKEN), answer(value=OTHER))
    client = GitHubActionsToken(GITHUB)
    build(server, client).token()
    build(server, client).token()
    assert [request.url for request in server.asked] == [
        "https://actions.example.com/token?api-version=2&audience=https%3A%2F%2Flogin.example.com"
    ] * 2
    assert server.asked[0].headers["authorization"] == "Bearer hush"
    assert [form_of(one)["assertion"] for one in server.token_requests] == [[TOKEN], [OTHER]]
    assert all("hush" not in str(request.headers) + repr(request.body) for request in server.token_requests)


def test_what_github_does_not_give_is_not_sent() -> None:
    with pytest.raises(LoginUnavailable, match=r"federated\.github"):
        build(GitHub(answer(403, message="no")), GitHubActionsToken(GITHUB)).token()
    with pytest.raises(LoginUnavailable, match=r"federated\.github"):
        build(GitHub(answer(value=7)), GitHubActionsToken(GITHUB)).token()
    with pytest.raises(LoginMisconfigured, match=r"federated\.github"):
        build(GitHub(), GitHubActionsToken({})).token()


def test_the_environment_names_the_file_or_the_platform_and_nothing_is_guessed(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    home = {"HOME": str(tmp_path), "WATCHWORD_ISSUER": ISSUER}
    server = GitHub(answer(value=OTHER))
    default(environ={**home, "WATCHWORD_FEDERATED_TOKEN_FILE": str(file)}, scope="a", transport=server).token()
    platform = {**home, **GITHUB, "WATCHWORD_FEDERATED_TOKEN_FROM": "github-actions", "WATCHWORD_CLIENT_ID": "worker-1"}
    default(environ=platform, scope="a", transport=server).token()
    assert [form_of(one)["assertion"] for one in server.token_requests] == [[TOKEN], [OTHER]]
    assert form_of(server.token_requests[1])["client_id"] == ["worker-1"]
    with pytest.raises(LoginMisconfigured, match=r"credentials\.none"):
        default(environ={**home, **GITHUB}, scope="a", transport=server)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"WATCHWORD_FEDERATED_TOKEN_FILE": "/t"}, "credentials.incomplete"),
        (
            {"WATCHWORD_FEDERATED_TOKEN_FILE": "/t", "WATCHWORD_FEDERATED_TOKEN_FROM": "github-actions"},
            "credentials.incomplete",
        ),
        ({"WATCHWORD_FEDERATED_TOKEN_FROM": "gitlab", "WATCHWORD_ISSUER": ISSUER}, "credentials.unsupported"),
    ],
)
def test_an_environment_that_says_half_of_it_is_refused(tmp_path: Path, changes: dict[str, str], reason: str) -> None:
    with pytest.raises(LoginMisconfigured) as failed:
        default(environ={"HOME": str(tmp_path), **changes}, scope="a")
    assert failed.value.reason == reason


def test_a_profile_names_the_file(tmp_path: Path) -> None:
    profiles = tmp_path / "watchword" / "profiles"
    profiles.mkdir(parents=True, mode=0o700)
    token = tmp_path / "token"
    token.write_text(TOKEN)
    profile = profiles / "default.toml"
    profile.write_text(
        f'kind = "agent"\nissuer = "{ISSUER}"\nclient_id = "w-1"\nauth_method = "federated"\nfederated_token_file = "{token}"\n'
    )
    profile.chmod(0o600)
    server = AuthorizationServer()
    default(environ={"XDG_CONFIG_HOME": str(tmp_path)}, scope="a", transport=server).token()
    assert form_of(server.token_requests[0])["assertion"] == [TOKEN]


@rule("Q6")
def test_nothing_of_a_token_shows_and_no_copy_leaves_the_process(tmp_path: Path) -> None:
    client = FederatedToken(lambda _: TOKEN)
    assert TOKEN not in repr(client)
    assert copy.deepcopy(client) is client
    assert "hush" not in repr(GitHubActionsToken(GITHUB))
    with pytest.raises(TypeError):
        pickle.dumps(client)
    assert os.fspath(tmp_path) in repr(FederatedToken(tmp_path / "token"))
