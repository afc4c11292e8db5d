"""A running server under requests that nobody would send. ``scripts/fuzz`` runs it for longer."""

import asyncio
import itertools
import json
from collections.abc import Iterator

import pytest

from tests import rule
from watchword.testing.doubtful_json import DOUBTFUL_JSON, must_be_refused
from watchword.testing.fuzz import Case, Fuzzer, Template
from watchword.testing.fuzz_driver import Driver, Report
from watchword.testing.fuzz_fields import as_cases, in_every_field
from watchword.testing.fuzz_templates import NEVER, admin_templates, token_templates
from watchword.testing.naughty import NAUGHTY
from watchword.testing.process import FAIL_AT_WILL, AgentSecret, ServerProcess

REQUESTS = 20_000
SEED = 20_261_124
STRIDE = 5
"""Every fifth pair of field and text; ``scripts/fuzz --naughty`` sends them all."""


@pytest.fixture(scope="module")
def server(place: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("fuzz"), environment=FAIL_AT_WILL) as server:
        yield server


@pytest.fixture(scope="module")
def caged(server: ServerProcess) -> AgentSecret:
    return server.create_agent("caged", conditions=NEVER)


@pytest.fixture(scope="module")
def clay(server: ServerProcess) -> AgentSecret:
    return server.create_agent("clay", conditions=NEVER)


@pytest.fixture(autouse=True)
def sanity(server: ServerProcess, caged: AgentSecret) -> Iterator[None]:
    """Whatever was sent, the server is the one of before: the good request works, nothing was a fault or a bug."""
    pid = server.pid
    yield
    good = server.create_agent("good")
    status, answer = server.token(good)
    assert (status, answer["token_type"]) == (200, "Bearer")
    assert server.admin("DELETE", f"/agents/{good.client_id}")[0] == 200
    refused = server.token(caged)
    assert (refused[0], refused[1]["error"]) == (400, "invalid_scope")
    assert (server.pid, server.is_running) == (pid, True)
    assert server.logged("bug") == server.logged("fault") == []
    assert server.admin("GET", "/audit/verify")[1]["ok"] is True


def send(server: ServerProcess, cases: Iterator[Case], *secrets: str) -> Report:
    driver = Driver(server.host, server.port, secrets=[secret.encode() for secret in secrets])
    report = asyncio.run(driver.run(cases))
    assert [str(finding) for finding in report.findings] == []
    return report


@rule("T26", "FI-4", "KF-94", "KF-118", "E8")
def test_no_mutated_request_gets_a_token_a_fault_or_no_answer(
    server: ServerProcess, caged: AgentSecret, clay: AgentSecret
) -> None:
    templates = [*token_templates(server, caged) * 3, *admin_templates(server, clay)]
    cases = itertools.islice(Fuzzer(templates, seed=SEED), REQUESTS)
    report = send(server, cases, caged.client_secret, server.operator_token)
    assert report.sent == REQUESTS
    assert {200, 400, 401, 404, 405, 413, 415, 422} <= report.statuses.keys()
    events = server.admin("GET", "/audit/events?action=token.issue&reason=permission.network&limit=1")[1]["items"]
    assert events, "no request came as far as the decision"


@rule("T25")
def test_no_naughty_string_in_any_field_is_a_fault(
    server: ServerProcess, caged: AgentSecret, clay: AgentSecret
) -> None:
    templates = [*token_templates(server, caged)[1:7], *admin_templates(server, clay)]
    every = (new for one in templates for text in NAUGHTY for new in in_every_field(one, text))
    cases = as_cases(itertools.islice(every, 0, None, STRIDE), name="naughty")
    send(server, cases, caged.client_secret, server.operator_token)


@rule("T24", "KF-94", "KF-118")
def test_every_json_endpoint_refuses_what_is_not_json_or_has_two_readings(
    server: ServerProcess, clay: AgentSecret
) -> None:
    taking = [one for one in admin_templates(server, clay) if one.body]
    assert {one.method for one in taking} == {b"POST", b"PATCH"}
    bodies = [*DOUBTFUL_JSON.values()]
    report = send(server, as_cases((changed(one, text) for one in taking for text in bodies), name="JSON"))
    assert set(report.statuses) <= {200, 201, 400, 404, 409, 412, 413, 422}
    refused = as_cases((changed(one, text) for one in taking for _, text in must_be_refused()), name="not JSON")
    assert set(send(server, refused).statuses) <= {400, 413}


@rule("T24", "T3")
def test_the_token_endpoint_reads_no_json(server: ServerProcess, caged: AgentSecret) -> None:
    form = json.dumps({"grant_type": "client_credentials", "scope": "read:data"}).encode()
    (template, *_) = token_templates(server, caged)
    bodies = [form, *DOUBTFUL_JSON.values()]
    as_json = Template(
        template.method, template.target, (*template.headers[::2], (b"Content-Type", b"application/json"))
    )
    report = send(server, as_cases((changed(one, text) for one in (template, as_json) for text in bodies), name="JSON"))
    assert set(report.statuses) <= {400, 413}


def changed(template: Template, body: bytes) -> Template:
    return Template(template.method, template.target, template.headers, body)
