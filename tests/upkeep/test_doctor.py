"""What is wrong is found, with the command that mends it; what is well is left alone."""

from __future__ import annotations

import asyncio
import datetime as dt
import resource
import shutil
from collections import namedtuple
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import apsw
import pytest
import trustme

from tests import rule
from tests.adapters.test_sqlite import LATER, NEWER
from tests.redis import RedisServer
from tests.upkeep.conftest import ISSUER
from watchword.adapters.sqlite import SqliteStore
from watchword.clock import system_clock
from watchword.config import load_settings
from watchword.ports.agents import AgentState, CredentialState, Registration, Role
from watchword.ports.audit import Outcome
from watchword.ports.store import Change, Create
from watchword.server.credential_rules import CredentialRules
from watchword.stores import STORE_FILE
from watchword.testing.certificates import Authority
from watchword.testing.records import (
    make_agent,
    make_credential,
    make_event,
    make_node,
    make_operator,
    make_permission,
    make_resource,
)
from watchword.upkeep import machine_checks, registry_checks
from watchword.upkeep.doctor import Examination, examine
from watchword.upkeep.findings import MOST, Finding, Severity, some, warning
from watchword.upkeep.registry_checks import RegistryFacts

NOW = system_clock()
DAY = dt.timedelta(days=1)


def examined(
    data: Path, *, is_production: bool = False, now: dt.datetime | None = None, **flags: object
) -> Examination:
    settings = load_settings({"data": data, **flags}).settings
    return asyncio.run(examine(settings, is_production=is_production, clock=lambda: now or system_clock()))


def told(found: Examination) -> dict[str, Finding]:
    assert all(one.finding and one.command and "\n" not in one.finding for one in found.findings)
    return {one.check: one for one in found.findings}


def change(data: Path, *changes: Change, **members: str) -> None:
    async def commit() -> None:
        store = SqliteStore.open(data / STORE_FILE)
        await store.commit(replace(make_event(**members), time=NOW), changes)
        await store.close()

    asyncio.run(commit())


@pytest.fixture
def certificate(tmp_path: Path):
    authority = trustme.CA()

    def write(host: str = "auth.example.com", **validity: object) -> dict[str, str]:
        issued = authority.issue_cert(host, **validity)
        issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
        issued.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
        (tmp_path / "key.pem").chmod(0o600)
        return {"tls_cert": str(tmp_path / "cert.pem"), "tls_key": str(tmp_path / "key.pem")}

    return write


def test_a_fresh_store_is_well(data: Path) -> None:
    before = {path.name: path.read_bytes() for path in data.iterdir()}
    found = examined(data)
    assert (found.findings, found.is_well) == ((), True)
    assert {path.name: path.read_bytes() for path in data.iterdir()} == before


def test_a_server_that_others_rely_on_is_well_when_all_is_done(
    data: Path, tmp_path: Path, certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (65536, 65536))
    shutil.move(data / "master.key", tmp_path / "elsewhere.key")
    change(data, action="store.backup")
    flags = {**certificate(), "master_key_file": str(tmp_path / "elsewhere.key"), "listen": "0.0.0.0:8020"}
    assert examined(data, is_production=True, **flags).findings == ()


def test_production_asks_for_more(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 65536))
    found = told(examined(data, is_production=True))
    assert found.keys() == {"master-key-place", "backup", "open-files"}
    assert f"mv {data}/master.key" in found["master-key-place"].command
    assert found["backup"].command == f"watchword backup --data {data} DIR"
    change(data, action="store.backup")
    assert "backup" not in told(examined(data, is_production=True))
    assert "backup" in told(examined(data, is_production=True, now=NOW + 8 * DAY))


@rule("K9")
@pytest.mark.parametrize(
    ("spoil", "check", "command"),
    [
        (lambda data: (data / "master.key").chmod(0o644), "master-key", "chmod 600 {data}/master.key"),
        (lambda data: (data / "master.key").unlink(), "master-key", "ls -l {data}/master.key"),
        (
            lambda data: (data / "master.key").write_text("A" * 43 + "="),
            "master-key",
            "set WATCHWORD_SERVER__MASTER_KEY_FILE",
        ),
        (lambda data: data.chmod(0o755), "mode", "chmod 700 {data}"),
        (lambda data: (data / STORE_FILE).chmod(0o640), "mode", "chmod 600 {data}/watchword.db"),
    ],
)
def test_what_others_could_read_or_nobody_can_is_found(data: Path, spoil, check: str, command: str) -> None:
    spoil(data)
    found = told(examined(data))
    assert found.keys() == {check}
    assert found[check].severity is Severity.ERROR
    assert found[check].command.startswith(command.format(data=data))


@pytest.mark.parametrize(
    ("flags", "check"),
    [
        ({"listen": "0.0.0.0:8020"}, "exposure"),
        ({"listen": "0.0.0.0:8020", "insecure_http": True}, "exposure"),
        ({"management": "0.0.0.0:8022"}, "management"),
        ({"issuer": "https://other.example.com"}, "issuer"),
        ({"tls_cert": "/nowhere", "tls_key": "/nowhere"}, "certificate"),
    ],
)
def test_settings_that_endanger_are_found(data: Path, flags: dict[str, object], check: str) -> None:
    assert told(examined(data, **flags)).keys() == {check}


def test_two_issuers_on_one_store_are_found_with_the_command_that_decides(data: Path) -> None:
    finding = told(examined(data, issuer="https://other.example.com"))["issuer"]
    assert ISSUER in finding.finding
    assert finding.command == f"watchword config set-issuer https://other.example.com --data {data}"


def test_an_issuer_that_is_not_https_is_found_in_production(data: Path) -> None:
    settings = load_settings({"data": data, "issuer": "http://127.0.0.1:8020"}).settings
    (finding,) = machine_checks.check_issuer(settings)
    assert (finding.check, finding.severity) == ("issuer", Severity.ERROR)


@pytest.mark.parametrize(
    ("host", "days", "severity"),
    [
        ("auth.example.com", 90, None),
        ("*.example.com", 90, None),
        ("auth.example.com", 29, Severity.WARNING),
        ("auth.example.com", -1, Severity.ERROR),
        ("other.example.com", 90, Severity.ERROR),
    ],
)
def test_a_certificate_is_looked_at_before_it_ends(
    data: Path, certificate, host: str, days: int, severity: Severity | None
) -> None:
    flags = certificate(host, not_before=NOW - 100 * DAY, not_after=NOW + days * DAY)
    found = told(examined(data, **flags))
    assert [one.severity for one in found.values()] == ([severity] if severity else [])


def mutual(tmp_path: Path, authority: Authority, listed: bytes | None = None) -> dict[str, str]:
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    if listed is not None:
        (tmp_path / "crl.pem").write_bytes(listed)
    flags = {"client_ca": str(tmp_path / "ca.pem"), "mtls_listen": "127.0.0.1:0"}
    return flags | ({"client_crl": str(tmp_path / "crl.pem")} if listed is not None else {})


@pytest.mark.parametrize(
    ("days", "severity"), [(90, None), (29, Severity.WARNING), (-1, Severity.ERROR)], ids=["well", "soon", "over"]
)
def test_what_clients_with_certificates_need_is_looked_at_before_it_ends(
    data: Path, tmp_path: Path, certificate, days: int, severity: Severity | None
) -> None:
    files = certificate(not_before=NOW - 100 * DAY, not_after=NOW + days * DAY)
    own = {"mtls_cert": files["tls_cert"], "mtls_key": files["tls_key"]}
    authority = Authority(now=NOW.replace(microsecond=0) - 100 * DAY, life=(100 + days) * DAY)
    found = told(examined(data, **own, **mutual(tmp_path, authority)))
    assert {name: one.severity for name, one in found.items()} == (
        {"mtls": severity, "client-ca": severity} if severity else {}
    )
    elsewhere = told(examined(data, **own, **mutual(tmp_path, authority), mtls_url="https://mtls.example.org"))
    assert "is not for mtls.example.org" in elsewhere["mtls"].finding


@pytest.mark.parametrize(
    ("hours", "severity"), [(72, None), (12, Severity.WARNING), (-1, Severity.ERROR)], ids=["well", "soon", "over"]
)
def test_a_list_of_revoked_certificates_is_looked_at_before_it_ends(
    data: Path, tmp_path: Path, certificate, hours: int, severity: Severity | None
) -> None:
    authority = Authority(life=90 * DAY)
    listed = authority.list_revoked(life=dt.timedelta(hours=hours))
    found = told(examined(data, **certificate(), **mutual(tmp_path, authority, listed)))
    assert {name: one.severity for name, one in found.items()} == ({"client-crl": severity} if severity else {})
    assert all("openssl crl" in one.command for one in found.values())


def test_authorities_that_cannot_be_used_are_found(data: Path, tmp_path: Path, certificate) -> None:
    authority, other = Authority(life=90 * DAY), Authority("Other", life=90 * DAY)
    flags = {**certificate(), **mutual(tmp_path, authority, other.list_revoked(life=3 * DAY))}
    assert "has no list of CN=Test Root" in told(examined(data, **flags))["client-crl"].finding
    (tmp_path / "ca.pem").write_text("nothing")
    assert told(examined(data, **flags))["client-ca"].severity is Severity.ERROR


def test_a_key_of_another_certificate_and_one_that_others_can_read_are_found(
    data: Path, tmp_path: Path, certificate
) -> None:
    flags = certificate()
    Path(flags["tls_key"]).chmod(0o644)
    assert told(examined(data, **flags))["certificate"].command == f"chmod 600 {flags['tls_key']}"
    trustme.CA().issue_cert("x.example").private_key_pem.write_to_path(flags["tls_key"])
    assert "is not the key of" in told(examined(data, **flags))["certificate"].finding
    Path(flags["tls_cert"]).write_text("nonsense")
    assert "is not PEM" in told(examined(data, **flags))["certificate"].finding


def test_a_clock_that_went_back_is_found(data: Path) -> None:
    assert examined(data, now=system_clock()).is_well
    assert told(examined(data, now=NOW - DAY))["clock"].severity is Severity.ERROR
    assert told(examined(data, now=dt.datetime(1970, 1, 2, tzinfo=dt.UTC)))["clock"].severity is Severity.ERROR


def test_a_disk_that_fills_up_is_found(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1 << 40, 0, 1 << 20))
    assert told(examined(data)).keys() == {"disk"}


def test_an_sqlite_that_can_corrupt_is_found(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.40.1")
    assert "sqlite" in told(examined(data))


@rule("O4", "O14")
@pytest.mark.parametrize(
    ("statement", "command"),
    [
        (
            "DELETE FROM migrations WHERE number = (SELECT max(number) FROM migrations)",
            "watchword migrate --data {data}",
        ),
        (NEWER, "python -m pip install --upgrade watchword"),
    ],
)
def test_a_store_that_does_not_open_is_found(data: Path, statement: str, command: str) -> None:
    db = apsw.Connection(str(data / STORE_FILE))
    db.execute(statement)
    db.close()
    assert told(examined(data))["store"].command == command.format(data=data)


@rule("O4")
def test_damage_is_found(data: Path) -> None:
    path = data / STORE_FILE
    content = path.read_bytes()
    path.write_bytes(content[:8192] + bytes(len(content) - 8192))
    found = told(examined(data))
    assert {"integrity", "store"} & found.keys()
    assert all("watchword restore" in one.command for one in found.values())


@rule("U1")
def test_an_altered_trail_is_found(data: Path) -> None:
    db = apsw.Connection(str(data / STORE_FILE))
    db.execute("DROP TRIGGER audit_no_update; UPDATE audit SET payload = '{}' WHERE position = 2")
    db.close()
    found = told(examined(data))
    assert "position 2" in found["audit"].finding
    assert found["audit"].command == f"watchword audit verify --data {data}"


def test_what_is_registered_is_examined(data: Path) -> None:
    owned = replace(make_agent(), owner="ops")
    change(data, Create(owned), Create(make_resource()), Create(make_credential()), Create(make_permission()))
    change(data, Create(make_agent("agent-2")))
    found = told(examined(data))
    assert found.keys() == {"agent-owner", "credential-endless", "shared-secret"}
    assert found["agent-owner"].command == f"watchword agent update agent-2 --owner TEAM --data {data}"
    assert found["shared-secret"].severity is Severity.NOTE
    later = told(examined(data, now=NOW + 31 * DAY))
    assert later.keys() == {*found, "credential-unused", "permission-unused", "key-overdue"}
    assert later["permission-unused"].command == f"watchword permission revoke agent-1 permission-1 --data {data}"
    issued = {"action": "token.issue", "client_id": "agent-1", "resource": "https://my-api.example"}
    change(data, **issued)
    assert "permission-unused" not in told(examined(data, now=NOW + 31 * DAY))


def test_a_refused_request_uses_no_permission(data: Path) -> None:
    owned = replace(make_agent(), owner="ops")
    change(data, Create(owned), Create(make_resource()), Create(make_permission()))
    denied = {"action": "token.issue", "client_id": "agent-1", "resource": "https://my-api.example"}
    change(data, outcome=Outcome.DENIED, **denied)
    assert "permission-unused" in told(examined(data, now=NOW + 31 * DAY))


def registry(**members: object) -> RegistryFacts:
    credential = replace(make_credential(), **{"created_at": NOW, "expires_at": NOW + 90 * DAY, **members})
    return RegistryFacts("here", NOW, [Registration(replace(make_agent(), owner="ops"), (credential,), (), {})])


@pytest.mark.parametrize(
    ("members", "checks"),
    [
        ({}, set()),
        ({"expires_at": None}, {"credential-endless"}),
        ({"expires_at": NOW + 14 * DAY}, {"credential-expiring"}),
        ({"expires_at": NOW}, set()),
        ({"expires_at": None, "state": CredentialState.REVOKED}, set()),
        ({"created_at": NOW - 31 * DAY}, {"credential-unused"}),
        ({"created_at": NOW - 31 * DAY, "last_used_at": NOW - 89 * DAY}, set()),
        ({"created_at": NOW - 31 * DAY, "last_used_at": NOW - 91 * DAY}, {"credential-unused"}),
    ],
)
def test_a_secret_is_judged_by_its_age_and_use(members: dict[str, object], checks: set[str]) -> None:
    facts = registry(**members)
    judges = (registry_checks.check_endless, registry_checks.check_expiring, registry_checks.check_unused_credentials)
    assert {one.check for judge in judges for one in judge(facts)} == checks


@pytest.mark.parametrize(("days", "checks"), [(30, set()), (31, {"credential-old"})])
def test_a_secret_older_than_the_settings_want_is_found(days: int, checks: set[str]) -> None:
    facts = registry(created_at=NOW - days * DAY)
    assert list(registry_checks.check_old(facts)) == []
    facts.rules = CredentialRules(max_age=30 * DAY)
    found = list(registry_checks.check_old(facts))
    assert {one.check for one in found} == checks
    assert all(one.command.startswith("watchword credential rotate agent-1 credential-1 ") for one in found)


@pytest.mark.parametrize(
    ("operators", "is_found"),
    [
        ([make_operator()], False),
        ([replace(make_operator(), expires_at=NOW + DAY)], True),
        ([replace(make_operator(), is_disabled=True), replace(make_operator(), role=Role.MANAGER)], True),
        ([], True),
    ],
)
def test_somebody_can_administer_tomorrow(operators: Iterable[object], is_found: bool) -> None:
    facts = RegistryFacts("here", NOW, operators=tuple(operators))
    assert bool(list(registry_checks.check_admins(facts))) is is_found


def test_many_of_a_kind_are_counted_and_not_all_told() -> None:
    found = list(some(warning("check", f"{number}", "mend") for number in range(1000)))
    assert len(found) == MOST + 1
    assert found[-1].finding.startswith(f"{1000 - MOST} more")
    assert list(some([])) == []


def test_suspended_agents_are_examined_and_deleted_ones_are_not(data: Path) -> None:
    for state in (AgentState.SUSPENDED, AgentState.DELETED):
        change(data, Create(make_agent(f"agent-{state}", state=state)))
    assert [one.finding for one in examined(data).findings] == ["nobody answers for the agent name of agent-suspended"]


def test_a_cache_that_cannot_be_relied_on_is_told_without_its_password(data: Path, tmp_path: Path) -> None:
    assert "cache" not in told(examined(data))
    found = told(examined(data, cache="redis://:secret@127.0.0.1:1"))["cache"]
    assert (found.severity, "cannot be reached" in found.finding) == (Severity.ERROR, True)
    assert "secret" not in repr(found)
    with RedisServer(tmp_path) as server:
        found = told(examined(data, cache=server.url))["cache"]
        assert (found.severity, "maxmemory" in found.finding) == (Severity.NOTE, True)
        server.config("maxmemory", "100mb")
        assert "cache" not in told(examined(data, cache=server.url))
        server.config("maxmemory-policy", "allkeys-lru")
        found = told(examined(data, cache=server.url))["cache"]
        assert (found.severity, "maxmemory-policy" in found.finding) == (Severity.ERROR, True)
        file = tmp_path / "cache"
        file.write_text(server.url)
        file.chmod(0o604)
        server.config("maxmemory-policy", "noeviction")
        assert "open to others" in told(examined(data, cache_file=file))["cache"].finding
        assert told(examined(data, cache_file=file))["cache"].severity is Severity.ERROR
        file.unlink()
        assert told(examined(data, cache_file=file))["cache"].severity is Severity.ERROR


@rule("N9", "O14")
def test_a_store_of_a_later_version_and_a_node_of_an_older_one_are_found(data: Path) -> None:
    db = apsw.Connection(str(data / STORE_FILE))
    db.execute(LATER)
    db.close()

    async def report() -> int:
        store = SqliteStore.open(data / STORE_FILE)
        present = (await store.schema()).present
        for number, schema in ((1, present - 1), (2, present)):
            await store.report(replace(make_node(f"node-{number}", name=f"host-{number}"), schema=schema, seen_at=NOW))
        await store.close()
        return present

    present = asyncio.run(report())
    findings = [one for one in examined(data, now=NOW).findings if one.check == "schema"]
    assert [(one.severity, one.command.partition(" --data")[0]) for one in findings] == [
        (Severity.WARNING, "python -m pip install --upgrade watchword"),
        (Severity.NOTE, "watchword node list"),
    ]
    assert f"schema {present}" in findings[0].finding
    assert "host-1" in findings[1].finding


def test_a_key_that_nobody_replaces_is_told(data: Path) -> None:
    found = told(examined(data, now=NOW + 31 * DAY))
    assert "no server does it" in found["key-overdue"].finding
    assert found["key-overdue"].command == f"watchword node list --data {data}"
    assert "key-overdue" not in told(examined(data, now=NOW + 28 * DAY))


def test_without_a_schedule_a_key_may_sign_for_a_year(data: Path) -> None:
    def checks(days: int) -> dict[str, Finding]:
        settings = load_settings({"data": data}).settings.model_copy(update={"signing_key_period": 0})
        return told(asyncio.run(examine(settings, is_production=False, clock=lambda: NOW + days * DAY)))

    assert "key-age" not in checks(360)
    assert checks(370)["key-age"].command == f"watchword key rotate --alg ES256 --data {data}"


def test_an_algorithm_in_use_without_a_key_is_told(data: Path) -> None:
    change(data, Create(replace(make_resource(), signing_algorithm="PS256")))
    found = told(examined(data))
    assert found["signing-key"].severity is Severity.ERROR
    assert found["signing-key"].command == f"watchword key rotate --alg PS256 --data {data}"


@rule("TRAP-22")
def test_tokens_that_outlive_their_key_are_told(data: Path) -> None:
    change(data, Create(replace(make_resource(), token_lifetime=dt.timedelta(hours=2))))
    assert told(examined(data))["key-schedule"].severity is Severity.ERROR


@rule("K10")
def test_a_node_whose_clock_is_ahead_is_told(data: Path) -> None:
    async def report() -> None:
        store = SqliteStore.open(data / STORE_FILE)
        await store.report(replace(make_node("fast"), seen_at=system_clock() + dt.timedelta(minutes=5)))
        await store.close()

    asyncio.run(report())
    assert "showed" in told(examined(data))["clock"].finding
