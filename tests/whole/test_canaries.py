"""Two hundred secrets, sent to every place of every request while the server logs all it can: none of them comes out again."""

import asyncio
import base64
import itertools
import secrets
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import quote

import pytest

from tests import rule
from tests.places import kept_elsewhere
from watchword.protocol.client_secret import SecretKind, generate_secret
from watchword.testing.fuzz import JSON, Case, Template
from watchword.testing.fuzz_driver import Driver
from watchword.testing.fuzz_fields import as_cases, in_every_field
from watchword.testing.fuzz_templates import NEVER, admin_templates, token_templates
from watchword.testing.process import FAIL_AT_WILL, ServerProcess

SHAPED = [generate_secret(kind) for _ in range(40) for kind in SecretKind]
"""As we make them: found and taken out wherever they stand."""
PLAIN = [f"Canary-{secrets.token_urlsafe(24)}" for _ in range(80)]
"""As anybody makes them: nothing but the place they stand in says that they are secret."""

SECRET_MEMBERS = (
    *("client_secret", "client_assertion", "assertion", "password", "subject_token", "actor_token", "token", "code"),
    *("code_verifier", "refresh_token", "access_token", "username", "state"),
)
HEADERS = (
    *("Authorization", "Cookie", "DPoP", "Host", "If-Match", "If-None-Match", "Origin", "Proxy-Authorization", "Range"),
    *("Referer", "Traceparent", "User-Agent", "X-Api-Key", "X-Forwarded-For", "X-Forwarded-Host", "X-Request-Id"),
    *("Accept", "Accept-Language", "Content-Encoding", "Content-Type", "Expect", "Forwarded", "Sec-Fetch-Site", "Via"),
)
SECRET_HEADERS = ("Authorization", "Cookie", "DPoP", "Proxy-Authorization", "X-Api-Key")


def encodings(secret: str) -> dict[str, bytes]:
    """The secret in every spelling in which it could have come out."""
    octets = secret.encode()
    whole = len(octets) // 3 * 3
    aligned = {f"base64 at {skip}": base64.b64encode(octets[skip : skip + (whole - 3)]) for skip in range(3)}
    return {
        "plain": octets,
        **aligned,
        "base64url": base64.urlsafe_b64encode(octets[: whole - 3]),
        "hex": octets.hex().encode(),
        "HEX": octets.hex().upper().encode(),
        "url": "".join(f"%{octet:02X}" for octet in octets).encode(),
        "url, where needed": quote(secret, safe="").encode(),
        "UTF-16": secret.encode("utf-16-le"),
        "reversed": octets[::-1],
    }


def with_header(template: Template, name: str, value: str) -> Template:
    kept = tuple(pair for pair in template.headers if pair[0].decode() != name)
    return replace(template, headers=(*kept, (name.encode(), value.encode())))


def in_every_place(templates: list[Template]) -> Iterator[Template]:
    """Shaped secrets in every field, as they are and percent-encoded, and in every header, with and without a scheme."""
    shaped = itertools.cycle(SHAPED)
    for template in templates:
        yield from in_every_field(template, next(shaped))
        path = template.target.partition(b"?")[0]
        encoded = encodings(next(shaped))["url"]
        yield replace(template, target=path + b"/" + encoded + b"?" + encoded + b"=" + encoded)
        for header in HEADERS:
            for form in ("{}", "Bearer {}", "Basic {}", "x={}; y"):
                yield with_header(template, header, form.format(next(shaped)))
        for pair in (f"{next(shaped)}:x", f"x:{next(shaped)}", next(shaped)):
            yield with_header(template, "Authorization", "Basic " + base64.b64encode(pair.encode()).decode())


def in_secret_places(template: Template) -> Iterator[Template]:
    """Secrets without a shape, where only secrets stand."""
    plain = itertools.cycle(PLAIN)
    for member in SECRET_MEMBERS:
        yield replace(template, body=template.body + f"&{member}={next(plain)}".encode())
        yield replace(template, target=template.target + f"?{member}={next(plain)}".encode())
        yield replace(template, body=b'{"%s":"%s"}' % (member.encode(), next(plain).encode()))
    for header in SECRET_HEADERS:
        for form in ("{}", "Bearer {}", "Basic {}", "Digest {}", "basic  {}"):
            yield with_header(template, header, form.format(next(plain)))
    for pair in (
        f"reader:{next(plain)}",
        f":{next(plain)}",
        f"reader:{next(plain)}:{next(plain)}",
        f"\xe9:{next(plain)}",
    ):
        yield with_header(template, "Authorization", "Basic " + base64.b64encode(pair.encode("latin-1")).decode())


def wild() -> Iterator[Case]:
    """Secrets in what is no HTTP at all."""
    for number, (shape, secret) in enumerate(zip(itertools.cycle(BROKEN), [*SHAPED[:20], *PLAIN[:20]], strict=False)):
        yield Case(number, shape.replace(b"@", secret.encode()), is_framed=False, is_head=False, recipe=("wild",))


BROKEN = (
    b"POST /oauth/token HTTP/9.9\r\nAuthorization: Bearer @\r\n\r\n",
    b"POST /oauth/token HTTP/1.1\r\nHost: x\r\nAuthorization @\r\n\r\n",
    b"POST /oauth/token HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\nCookie: @\r\n\r\n",
    b"GET /@ HTTP/1.1\r\n@\r\n\r\n",
    b"@ / HTTP/1.1\r\n\r\n",
    b"@\r\n\r\n",
)


@pytest.fixture(scope="module")
def server(place: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    loud = {"WATCHWORD_SERVER__LOG_LEVEL": "debug"}
    with ServerProcess(tmp_path_factory.mktemp("canaries"), environment={**FAIL_AT_WILL, **loud}) as server:
        yield server


def dumps(server: ServerProcess) -> dict[str, bytes]:
    """Everything that comes out of the server other than answers: files, log, metrics, trail, what commands print."""
    found = {str(path): path.read_bytes() for path in [*server.data.iterdir(), server.log] if path.name != "master.key"}
    found |= kept_elsewhere(server.place)
    found["metrics"] = server.management("/metrics")[1].encode()
    found["readyz"] = server.management("/readyz?verbose")[1].encode()
    local = ("--data", str(server.data), "-o", "json")
    for command in (("audit", "export"), ("agent", "list"), ("resource", "list"), ("config", "show")):
        form = ("--data", str(server.data)) if command[0] in ("audit", "config") else local
        found[" ".join(command)] = server.command(*form, *command).encode()
    for path in ("/agents", "/resources", "/operators", "/server", "/audit/events?limit=200&newest_first=true"):
        found[path] = str(server.admin("GET", path)[1]).encode()
    return found


@rule("FI-25", "C13", "U4", "KF-95", "KF-107", "P7", "P8", "TRAP-24")
def test_no_secret_that_is_sent_anywhere_comes_out_again(server: ServerProcess) -> None:
    caged, clay, good = (server.create_agent(name, conditions=where) for name, where in WHO)
    tokens = [server.token(good)[1]["access_token"] for _ in range(5)]
    templates = [*token_templates(server, caged), *admin_templates(server, clay)]
    as_json = Template(b"POST", b"/admin/v1/agents", admin_templates(server, clay)[0].headers, b"{}")
    cases = itertools.chain(
        as_cases(in_every_place(templates), name="shaped"),
        as_cases(in_secret_places(templates[0]), name="plain"),
        as_cases(in_secret_places(with_header(templates[0], "Content-Type", JSON.decode())), name="plain"),
        as_cases(in_secret_places(as_json), name="plain, admin"),
        wild(),
    )
    watched = [*SHAPED, *PLAIN, *tokens, *(agent.client_secret for agent in (caged, clay, good)), server.operator_token]
    driver = Driver(server.host, server.port, secrets=[secret.encode() for secret in watched])
    report = asyncio.run(driver.run(cases))
    assert [str(finding) for finding in report.findings] == []
    assert report.sent > 2000
    found = dumps(server)
    assert len(found) > 12
    watched += [token.rpartition(".")[2] for token in tokens]
    leaks = {
        (name, kind, secret)
        for secret in watched
        for kind, spelt in encodings(secret).items()
        for name, content in found.items()
        if spelt in content
    }
    assert leaks == set()
    assert server.logged("bug") == []
    assert server.logged("refused"), "nothing was logged at all"


WHO = (("caged", NEVER), ("clay", NEVER), ("good", {}))


def test_a_secret_that_came_out_would_be_seen() -> None:
    secret = SHAPED[0]
    for spelt in (secret, base64.b64encode(f"id:{secret}".encode()).decode(), secret.encode().hex(), secret[::-1]):
        assert any(one in spelt.encode() for one in encodings(secret).values()), spelt
