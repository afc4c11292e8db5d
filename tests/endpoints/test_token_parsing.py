"""The token endpoint under malformed requests: ABUSE 6.1, RFC 6749 §3.2."""

import pytest
from structlog.testing import capture_logs
from tests import rule

from watchword.testing.server import FORM, Answer, InProcessServer, Registered

pytestmark = pytest.mark.usefixtures("sane")

GRANT = "grant_type=client_credentials"


def assert_refused(
    server: InProcessServer, answer: Answer, reason: str, status: int = 400, error: str = "invalid_request"
) -> None:
    event = server.last_event()
    assert (event["outcome"], event["reason"]) == ("denied", reason)
    assert (answer.status, answer.json["error"]) == (status, error)
    assert set(answer.json) == {"error", "error_description", "request_id"}
    assert answer.json["request_id"] == event["request_id"] == answer.header("x-request-id")
    assert answer.header("cache-control") == "no-store"
    assert answer.header("content-type") == "application/json"


@rule("R6749-3.2-01", "T1")
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "TRACE", "PATCH"])
def test_only_post_is_served(server: InProcessServer, reader: Registered, method: str) -> None:
    headers = [("content-type", "application/x-www-form-urlencoded"), reader.basic]
    answer = server.ask(method, "/oauth/token", headers=headers, body=f"{GRANT}&scope=read:data".encode())
    assert answer.status == 405
    assert b"access_token" not in answer.body
    assert answer.header("allow") == "POST"
    assert server.last_event()["reason"] == "request.method"


@rule("T1")
def test_options_names_post_and_no_origin(server: InProcessServer) -> None:
    answer = server.ask("OPTIONS", "/oauth/token")
    assert (answer.status, answer.header("allow")) == (204, "POST")
    assert answer.header("access-control-allow-origin") is None


@rule("T2", "KF-100")
def test_an_empty_body_is_refused(server: InProcessServer) -> None:
    assert_refused(server, server.post(b""), "form.empty")


@rule("R6749-3.2-05", "T3", "T4", "T5", "KF-111")
@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "multipart/form-data; boundary=x",
        "text/plain",
        "application/x-www-form-urlencoded; charset=utf-16",
        "",
    ],
)
def test_another_content_type_is_refused(server: InProcessServer, reader: Registered, content_type: str) -> None:
    answer = server.post(f"{GRANT}&scope=read:data", reader.basic, ("content-type", content_type))
    assert_refused(server, answer, "form.content_type")


@rule("T5")
def test_no_content_type_or_two_are_refused(server: InProcessServer, reader: Registered) -> None:
    body = f"{GRANT}&scope=read:data".encode()
    assert_refused(server, server.ask("POST", "/oauth/token", headers=[reader.basic], body=body), "form.content_type")
    twice = [("content-type", FORM), ("content-type", FORM), reader.basic]
    assert_refused(server, server.ask("POST", "/oauth/token", headers=twice, body=body), "form.content_type")


@rule("R6749-3.2-05", "T5")
def test_a_utf_8_charset_is_fine(server: InProcessServer, reader: Registered) -> None:
    answer = server.post(f"{GRANT}&scope=read:data", reader.basic, ("content-type", f"{FORM}; charset=UTF-8"))
    assert answer.status == 200


@rule("R6749-4.4-04", "T6")
@pytest.mark.parametrize("body", ["scope=read:data", "grant_type=&scope=read:data"])
def test_a_missing_grant_type_is_refused(server: InProcessServer, reader: Registered, body: str) -> None:
    assert_refused(server, server.post(body, reader.basic), "grant.missing")


@rule("R6749-4.4-04", "R9700-2.4-01", "T7")
@pytest.mark.parametrize(
    "grant",
    ["password", "implicit", "authorization_code", "refresh_token", "urn:example:unknown", "CLIENT_CREDENTIALS"],
)
def test_an_unknown_grant_is_refused(server: InProcessServer, reader: Registered, grant: str) -> None:
    answer = server.post({"grant_type": grant}, reader.basic)
    assert_refused(server, answer, "grant.unknown", error="unsupported_grant_type")


@rule("R6749-3.2-02", "O21-3.2-01", "T6", "T8", "TRAP-06")
@pytest.mark.parametrize("name", ["grant_type", "client_id", "scope", "client_secret", "client_assertion", "made_up"])
def test_a_repeated_parameter_is_refused(server: InProcessServer, reader: Registered, name: str) -> None:
    answer = server.post(f"{GRANT}&{name}=a&{name}=a", reader.basic)
    assert_refused(server, answer, "form.duplicate")


@rule("R6749-2.3-05", "T9", "KF-107")
@pytest.mark.parametrize(
    "query", ["client_secret=wws_secret", "client_id=a", "grant_type=client_credentials", "scope=read:data"]
)
def test_oauth_parameters_in_the_url_are_refused(server: InProcessServer, reader: Registered, query: str) -> None:
    with capture_logs() as logged:
        answer = server.post(f"{GRANT}&scope=read:data", reader.basic, path=f"/oauth/token?{query}")
    assert_refused(server, answer, "form.query")
    assert [line["reason"] for line in logged] == ["form.query"]
    for place in (logged, server.events(), answer.json, answer.headers):
        assert "wws_secret" not in str(place)


@rule("T10", "KF-110")
def test_a_semicolon_is_data(server: InProcessServer, reader: Registered) -> None:
    answer = server.post(f"{GRANT}&client_id={reader.client_id};client_secret={reader.secret}")
    assert_refused(server, answer, "client.no_credentials", 401, "invalid_client")


@rule("R6749-3.2-06", "T11")
@pytest.mark.parametrize("value", ["%", "%zz", "%00", "%c0%af", "%ed%a0%80", "%ff%fe"])
def test_bad_encoding_is_refused(server: InProcessServer, reader: Registered, value: str) -> None:
    assert_refused(server, server.post(f"{GRANT}&scope=read:data{value}", reader.basic), "form.encoding")


@rule("T12")
@pytest.mark.parametrize("noise", ["&&&", "&&", "flag&"])
def test_empty_pairs_are_tolerated(server: InProcessServer, reader: Registered, noise: str) -> None:
    assert server.post(f"{noise}{GRANT}&scope=read:data", reader.basic).status == 200


@rule("T12", "T13", "KF-109")
def test_too_many_parameters_are_refused(server: InProcessServer, reader: Registered) -> None:
    many = "&".join(f"p{number}=1" for number in range(65))
    assert_refused(server, server.post(f"{GRANT}&{many}", reader.basic), "form.too_many")


@rule("R6749-3.2-06", "T13", "C12", "KF-109")
@pytest.mark.parametrize("size", [65_537, 1_000_000])
def test_a_large_body_is_refused_before_parsing(server: InProcessServer, reader: Registered, size: int) -> None:
    body = f"{GRANT}&client_id=a&client_secret=".encode()
    answer = server.post(body + b"a" * (size - len(body)))
    assert_refused(server, answer, "form.too_large", 413)
    assert answer.header("connection") == "close"


@rule("R6749-3.2-04", "T14", "T23")
def test_unknown_parameters_and_overrides_are_ignored(server: InProcessServer, reader: Registered) -> None:
    form = f"{GRANT}&scope=read:data&_method=GET&made_up=1"
    assert server.post(form, reader.basic, ("x-http-method-override", "DELETE")).status == 200


@rule("R6749-3.2-03", "T15")
def test_an_empty_parameter_is_absent(server: InProcessServer, reader: Registered) -> None:
    answer = server.post(f"{GRANT}&scope=read:data&client_id=&client_secret=&audience=&resource=", reader.basic)
    assert answer.status == 200


@rule("T16", "T17", "KF-116")
@pytest.mark.parametrize(
    "spoil",
    [
        lambda name: name + "\r\n",
        lambda name: name + "\x1b[31m",
        lambda name: name + "\x7f",
        lambda name: name + "\u202e",
        lambda name: name + "\u200b",
        lambda name: name + "\u0301",
        lambda name: name.upper(),
        lambda name: name + " ",
        lambda name: " " + name,
        lambda name: name.replace("r", "\uff52"),
    ],
)
def test_a_client_id_matches_byte_for_byte(server: InProcessServer, reader: Registered, spoil: object) -> None:
    client_id = spoil(reader.client_id)  # type: ignore[operator]
    answer = server.post(
        {
            "grant_type": "client_credentials",
            "scope": "read:data",
            "client_id": client_id,
            "client_secret": reader.secret,
        }
    )
    assert_refused(server, answer, "client.unknown", 401, "invalid_client")


@rule("R6749-3.2-05", "T18")
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "identity, gzip"])
def test_a_compressed_body_is_not_read(server: InProcessServer, reader: Registered, encoding: str) -> None:
    answer = server.post(f"{GRANT}&scope=read:data", reader.basic, ("content-encoding", encoding))
    assert_refused(server, answer, "request.content_encoding", 415)


@rule("T21", "DR-5", "KF-108")
@pytest.mark.parametrize(
    "path",
    [
        "//oauth/token",
        "/oauth/token/",
        "/oauth/./token",
        "/oauth/token;x",
        "/oauth/%74oken",
        "/OAUTH/token",
        "/x/../oauth/token",
    ],
)
def test_another_spelling_of_the_path_is_not_served(server: InProcessServer, reader: Registered, path: str) -> None:
    answer = server.post(f"{GRANT}&scope=read:data", reader.basic, path=path)
    assert (answer.status, answer.json["error"]) == (404, "invalid_request")


@rule("T22", "KF-108")
@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "auth.example.com/admin?",
        "auth.example.com#",
        "a@auth.example.com",
        "auth.example.com:1",
        " auth.example.com",
    ],
)
def test_a_host_that_is_not_ours_is_refused(server: InProcessServer, reader: Registered, host: str) -> None:
    answer = server.post(f"{GRANT}&scope=read:data", reader.basic, host=host)
    assert_refused(server, answer, "request.host")


@rule("T22")
def test_two_hosts_are_refused(server: InProcessServer, reader: Registered) -> None:
    answer = server.post(f"{GRANT}&scope=read:data", reader.basic, ("host", "auth.example.com"))
    assert_refused(server, answer, "request.host")
