"""The main job, acted out over real HTTP between separate processes: a server, an API behind it, and agents that log in.

Ends with a summary and exit code 0, or non-zero with the step that failed. Leaves nothing behind, on Ctrl-C neither.
"""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import apsw
import httpx2
from demo_certificates import a_certificate_opens_and_binds, make_certificates
from demo_rotation import a_secret_is_replaced_with_an_overlap
from stage import BOLD, DIM, EXAMPLES, GREEN, PLAIN, RED, WATCHWORD, Agent, Failed, Stage, tell
from workload import a_workload_logs_in

import watchword

ALL_SECONDS = 120
FINDINGS = 8
REFUSED = 6
TRAFFIC_SECONDS = 20
KILL_SECONDS = 2


def a_server_is_up(stage: Stage) -> None:
    listen = stage.issuer.removeprefix("http://")
    stage.run([*WATCHWORD, "init", "--data", str(stage.data), "--issuer", stage.issuer])
    serve = [*WATCHWORD, "serve", "--data", str(stage.data), "--listen", listen, "--management", "127.0.0.1:0"]
    serve += make_certificates(stage)
    stage.start("server", serve, lambda printed: '"event": "ready"' in printed, **stage.server_environment)
    tell(f"{DIM}$ watchword serve --data ... --listen {listen}{PLAIN}")
    metadata = stage.http.get(f"{stage.issuer}/.well-known/oauth-authorization-server")
    keys = stage.http.get(f"{stage.issuer}/.well-known/jwks.json")
    stage.check("metadata is published", 200, metadata.status_code)
    stage.check("its issuer is the address it is reached at", stage.issuer, metadata.json()["issuer"])
    stage.check("keys are published", 200, keys.status_code)
    tell(f"token endpoint {metadata.json()['token_endpoint']}")
    tell(*(f"signing key {key['kid']} ({key['alg']})" for key in keys.json()["keys"]))


def an_api_is_protected(stage: Stage) -> None:
    stage.operator("resource", "create", "my-api", "--scope", "read:data", "--scope", "write:data")
    stage.operator("resource", "create", "billing", "--scope", "read:invoices")

    def answers(_printed: str) -> bool:
        with contextlib.suppress(httpx2.TransportError):
            return stage.http.get(f"{stage.api}/health").status_code == 200
        return False

    server = stage.operator("agent", "create", "my-api-server", "--serves", "my-api")
    serve = [sys.executable, "-m", "uvicorn", "protected_api:app", "--app-dir", str(EXAMPLES), "--lifespan", "off"]
    port = stage.api.rpartition(":")[2]
    stage.start(
        "api",
        [*serve, "--port", port, "--log-level", "warning"],
        answers,
        ISSUER=stage.issuer,
        BASE_URL=stage.api,
        LEEWAY="0",
        SERVER_CLIENT_ID=str(server["client_id"]),
        SERVER_CLIENT_SECRET=str(server["client_secret"]),
    )
    bare = stage.http.get(f"{stage.api}/note")
    tell(f"protected_api.py on {stage.api}", f"without a token: {bare.status_code} {bare.headers['www-authenticate']}")
    stage.check("the API refuses who brings no token", 401, bare.status_code)


def agents_log_in(stage: Stage) -> tuple[Agent, Agent]:
    reader = stage.register("reader", "my-api", "read:data")
    writer = keyed(stage, "writer", "write:data", "private_key_jwt")
    as_reader = environment_of(stage, reader)
    status, _ = stage.agent("agent.py", "read:data", "GET", f"{stage.api}/note", **as_reader)
    stage.check("reader logs in (client_secret_basic)", 200, status)
    as_writer = {"WATCHWORD_PROFILE": "writer", "WATCHWORD_CREDENTIALS": "profile"}
    status, _ = stage.agent("agent.py", "write:data", "POST", f"{stage.api}/note", **as_writer)
    stage.check("writer logs in with a key made here (private_key_jwt)", 200, status)
    stored = json.loads(stage.watchword("-o", "json", "credential", "list", "writer"))
    stage.check("  of which the server has the public half alone", False, "d" in stored[0]["public_key"]["jwk"])
    keyed(stage, "probe", "read:data", "watchword_challenge")
    as_probe = {**as_writer, "WATCHWORD_PROFILE": "probe"}
    status, _ = stage.agent("agent.py", "read:data", "GET", f"{stage.api}/note", **as_probe)
    stage.check("probe signs what the server asks (challenge)", 200, status)
    a_workload_logs_in(stage)
    poster = stage.register("poster", "my-api", "read:data")
    as_poster = {"ISSUER": stage.issuer, "CLIENT_ID": poster.client_id, "CLIENT_SECRET": poster.client_secret}
    status, _ = stage.agent("agent_with_post.py", "read:data", "GET", f"{stage.api}/note", **as_poster)
    stage.check("poster logs in (client_secret_post)", 200, status)
    _, said = stage.agent("agent.py", "write:data", "POST", f"{stage.api}/note", **as_reader)
    stage.check("reader gets no token for write:data", "invalid_scope", said.removeprefix("token: ").partition(":")[0])
    return reader, writer


def keyed(stage: Stage, name: str, scope: str, method: str) -> Agent:
    """Register an agent whose key the command line makes and keeps in a profile."""
    made = stage.operator("agent", "create", name, "--resource", "my-api", "--scope", scope, "--auth", method)
    return Agent(str(made["client_id"]), "")


def environment_of(stage: Stage, agent: Agent) -> dict[str, str]:
    return {
        "WATCHWORD_ISSUER": stage.issuer,
        "WATCHWORD_CLIENT_ID": agent.client_id,
        "WATCHWORD_CLIENT_SECRET": agent.client_secret,
    }


def each_may_do_its_own(stage: Stage, reader: Agent) -> None:
    as_reader = environment_of(stage, reader)
    status, _ = stage.agent("agent.py", "read:data", "GET", f"{stage.api}/note", **as_reader)
    stage.check("reader reads", 200, status)
    status, challenge = stage.agent("agent.py", "read:data", "POST", f"{stage.api}/note", **as_reader)
    stage.check("reader writes", 403, status)
    stage.check("and is told why", True, 'error="insufficient_scope"' in challenge)


def bad_tokens_are_refused(stage: Stage, reader: Agent) -> None:
    hasty = stage.operator("agent", "create", "hasty")
    short = ("permission", "grant", "hasty", "--resource", "my-api", "--scope", "read:data", "--maximum-lifetime", "1")
    stage.operator(*short)
    short_lived = stage.token(Agent(str(hasty["client_id"]), str(hasty["client_secret"])), "read:data")
    biller = stage.register("biller", "billing", "read:invoices")
    good = stage.token(reader, "read:data")
    stage.check("a good token", 200, stage.read_note(good).status_code)
    wait_until_expired(short_lived)
    for name, token in (
        ("a token for another audience", stage.token(biller, "read:invoices")),
        ("an expired token", short_lived),
        ("a tampered token", tampered(good)),
    ):
        answer = stage.read_note(token)
        tell(f"{name}: {answer.status_code} {answer.headers.get('www-authenticate', '')}")
        stage.check(name, 401, answer.status_code)
        stage.check("  names the error", True, 'error="invalid_token"' in answer.headers.get("www-authenticate", ""))


def a_stolen_token_is_worth_nothing(stage: Stage) -> None:
    permission = ("--resource", "my-api", "--scope", "read:data")
    courier = stage.operator("agent", "create", "courier", *permission, "--dpop-bound", "--save-profile", "courier")
    environ = stage.env(WATCHWORD_PROFILE="courier", WATCHWORD_CREDENTIALS="profile")
    login = watchword.default(scope="read:data", environ=environ)
    note = f"{stage.api}/note"
    with httpx2.Client(auth=login.auth()) as client:
        stage.check("courier reads, with a proof for every request", 200, client.get(note).status_code)
    stolen = login.token()
    tell(f"its token is bound to {claims_of(stolen)['cnf']}; a thief has it now, and a proof that was sent")
    sent = login.headers("GET", note)
    stage.check("the owner's next request", 200, stage.http.get(note, headers=sent).status_code)
    thief = watchword.DPoPKey.generate()
    proof = thief.prove(method="GET", url=note, jti="a", issued_at=datetime.now(UTC), token=stolen)
    for name, headers in (
        ("the stolen token as a bearer token", {"authorization": f"Bearer {stolen}"}),
        ("without a proof", {"authorization": f"DPoP {stolen}"}),
        ("with a proof of the thief's own key", {"authorization": f"DPoP {stolen}", "dpop": proof}),
        ("with the proof that was sent before", sent),
    ):
        answer = stage.http.get(note, headers=headers)
        challenge = answer.headers.get("www-authenticate", "")
        tell(f"{name}: {answer.status_code} {challenge.partition(', error_description')[0]}")
        stage.check(name, 401, answer.status_code)
    answer = stage.http.post(
        f"{stage.issuer}/oauth/token",
        data={"grant_type": "client_credentials", "scope": "read:data"},
        auth=(str(courier["client_id"]), str(courier["client_secret"])),
    )
    stage.check("the secret alone gets no token either", "invalid_dpop_proof", answer.json().get("error"))
    stage.check("the owner still reads", 200, stage.http.get(note, headers=login.headers("GET", note)).status_code)


def claims_of(token: str) -> dict[str, object]:
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert isinstance(claims, dict)
    return claims


def wait_until_expired(token: str) -> None:
    expiry = int(str(claims_of(token)["exp"]))
    time.sleep(max(0.0, expiry - time.time()) + 0.05)


def tampered(token: str) -> str:
    """The same token with write:data put into its scope, under the signature it came with."""
    header, _, signature = token.split(".")
    payload = json.dumps(claims_of(token) | {"scope": "read:data write:data"}, separators=(",", ":")).encode()
    return f"{header}.{base64.urlsafe_b64encode(payload).rstrip(b'=').decode()}.{signature}"


def a_key_is_replaced_under_traffic(stage: Stage, reader: Agent) -> None:
    before = stage.token(reader, "read:data")
    stage.check("a token of the old key", 200, stage.read_note(before).status_code)
    with Traffic(stage, reader) as traffic:
        following = stage.operator("key", "rotate")
        tell(f"{following['kid']} is {following['state']}; it signs from {following['next_at']} on")
        stage.watchword("key", "rotate", code=REFUSED)
        stage.check("no key signs before every verifier can have it", str(kid_of(before)), kid_of(traffic.newest()))
        done = stage.operator("key", "compromise", str(kid_of(before)), "--yes", "--reason", "a drill")
        replacement = done["replacement"]
        assert isinstance(replacement, dict)
        stage.check("the key is replaced at once", replacement["kid"], kid_of(traffic.newest()))
    tell(*stage.watchword("key", "timeline").splitlines())
    statuses = sorted(set(traffic.statuses))
    tell(f"{len(traffic.statuses)} requests meanwhile, each with a token of its own: {statuses}")
    stage.check("nobody noticed", [200], statuses)
    stage.check("a token of the key that was given up", 401, stage.read_note(before).status_code)


def kid_of(token: str) -> object:
    header = token.split(".")[0]
    return json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))["kid"]


class Traffic:
    """An agent that logs in and calls the API, again and again, in a thread of its own."""

    def __init__(self, stage: Stage, agent: Agent) -> None:
        self._stage, self._agent = stage, agent
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._go)
        self._token = ""
        self.statuses: list[int] = []

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def newest(self) -> str:
        """Return a token that was asked for, and used, from now on."""
        seen = len(self.statuses)
        deadline = time.monotonic() + TRAFFIC_SECONDS
        while len(self.statuses) < seen + 2:
            if time.monotonic() > deadline:
                raise Failed(f"the traffic came to a standstill: {self.statuses}")
            time.sleep(0.02)
        return self._token

    def _go(self) -> None:
        while not self._stop.is_set():
            try:
                self._token = self._stage.token(self._agent, "read:data")
                self.statuses.append(self._stage.read_note(self._token).status_code)
            except (Failed, httpx2.TransportError):
                self.statuses.append(0)
            time.sleep(0.3)


def a_kill_switch_is_thrown(stage: Stage, reader: Agent) -> None:
    """The API checks tokens by itself, and is told of the suspension: it is measured from the answer to the command."""
    token = stage.token(reader, "read:data")
    other = stage.token(stage.register("other", "my-api", "read:data"), "read:data")
    stage.check("reader reads", 200, stage.read_note(token).status_code)
    stage.operator("agent", "suspend", "reader", "--reason", "a drill")
    began, last, requests = time.monotonic(), 0.0, 0
    while (status := stage.read_note(token).status_code) == 200 and last < KILL_SECONDS:
        last, requests = time.monotonic() - began, requests + 1
    seconds = time.monotonic() - began
    tell(f"{requests} requests let in after the command was done; the first refusal {1000 * seconds:.0f} ms after it")
    stage.check("the API refuses the token that it took before", 401, status)
    stage.check(f"  within {KILL_SECONDS} s", True, seconds < KILL_SECONDS)
    stage.check("others still read", 200, stage.read_note(other).status_code)
    answer = stage.http.post(
        f"{stage.issuer}/oauth/token",
        data={"grant_type": "client_credentials", "scope": "read:data"},
        auth=(reader.client_id, reader.client_secret),
    )
    stage.check("and reader gets no other token", 401, answer.status_code)


def the_audit_tells_all(stage: Stage, writer: Agent) -> None:
    rows = [json.loads(line) for line in stage.watchword("audit", "export", "--format", "jsonl").splitlines()]
    for event in (row["event"] for row in rows):
        who, how = event.get("client_id") or event["actor"], event.get("client_auth", "")
        what = f"{event['action']:<19} {event['outcome']:<8} {event['reason']:<20}"
        tell(f"{event['time'][11:23]}  {what} {who:<17} {how:<20} {event.get('scope', '')}".rstrip())
    report = json.loads(stage.watchword("-o", "json", "audit", "verify"))
    stage.check("the audit is whole", True, report["ok"])
    issued = [row for row in rows if row["event"].get("jti") and row["event"].get("client_id") == writer.client_id]
    stage.check("writer's one token is on record", 1, len(issued))
    copy = copy_store(stage)
    flip_a_byte(copy, f'"jti":"{issued[0]["event"]["jti"]}"'.encode())
    tell("", f"{DIM}$ watchword --data A-COPY-WITH-ONE-BYTE-FLIPPED audit verify{PLAIN}")
    report = json.loads(stage.watchword("-o", "json", "audit", "verify", data=copy, code=FINDINGS))
    tell(
        *(
            f"exit {FINDINGS}: chain {item['chain']}, position {item['position']}: {item['problem']}"
            for item in report["findings"]
        )
    )
    stage.check(
        "a byte flipped in a copy is found where it is", issued[0]["position"], report["findings"][0]["position"]
    )


def copy_store(stage: Stage) -> Path:
    """Copy the data directory while the server runs, the database by SQLite's own means."""
    copy = stage.folder / "copy"
    shutil.copytree(stage.data, copy, ignore=shutil.ignore_patterns("*.db*"))
    for database in stage.data.glob("*.db"):
        connection = apsw.Connection(str(database))
        connection.execute("VACUUM INTO ?", (str(copy / database.name),))
        connection.close()
    return copy


def flip_a_byte(folder: Path, text: bytes) -> None:
    """Flip one bit of ``text`` in a store's file, where SQLite has left old copies of it in unused space in those, too."""
    flipped = text[:-2] + bytes([text[-2] ^ 1]) + text[-1:]
    for database in folder.glob("*.db"):
        database.write_bytes(database.read_bytes().replace(text, flipped))


def act(stage: Stage) -> None:
    """The story, in order. A number that is missing belongs to a step that is not built yet."""
    with step(stage, "1", "A server is up"):
        a_server_is_up(stage)
    with step(stage, "2", "An API is protected by it"):
        an_api_is_protected(stage)
    with step(stage, "3", "Agents log in, each in its own way"):
        reader, writer = agents_log_in(stage)
    with step(stage, "4", "Each may do its own, and no more"):
        each_may_do_its_own(stage, reader)
    with step(stage, "5", "Bad tokens are refused"):
        bad_tokens_are_refused(stage, reader)
    with step(stage, "6", "A stolen token without its key is worth nothing"):
        a_stolen_token_is_worth_nothing(stage)
        a_certificate_opens_and_binds(stage)
    with step(stage, "7", "A signing key is replaced under live traffic"):
        a_key_is_replaced_under_traffic(stage, reader)
    with step(stage, "8", "A secret is replaced while it is in use"):
        reader = a_secret_is_replaced_with_an_overlap(stage, reader)
    with step(stage, "9", "A kill switch reaches the API, which asks nobody"):
        a_kill_switch_is_thrown(stage, reader)
    with step(stage, "10", "The audit tells all, and shows when it is touched"):
        the_audit_tells_all(stage, writer)


@contextlib.contextmanager
def step(stage: Stage, number: str, title: str) -> Iterator[None]:
    stage.step = number
    print(f"\n{BOLD}{number:>2}  {title}{PLAIN}", flush=True)
    yield


def summarise(stage: Stage, seconds: float) -> None:
    print(f"\n{BOLD}11  Summary{PLAIN}\n")
    width = max(len(check.claim) for check in stage.checks)
    for check in stage.checks:
        is_good = check.wanted == check.got
        mark = f"{GREEN}ok{PLAIN}" if is_good else f"{RED}NOT SO, expected {check.wanted}{PLAIN}"
        print(f"    {check.step:>2}  {check.claim:<{width}}  {check.got:<28}  {mark}")
    print(f"\n    {len(stage.checks)} checks in {seconds:.1f} s", flush=True)


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _too_slow(_number: int, _frame: FrameType | None) -> None:
    raise Failed(f"still not done after {ALL_SECONDS} s")


def main() -> int:
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGALRM, _too_slow)
    signal.alarm(ALL_SECONDS)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="watchword-demo-") as folder:
        stage = Stage(Path(folder))
        try:
            act(stage)
        except KeyboardInterrupt:
            print(f"\ndemo: interrupted in step {stage.step}", file=sys.stderr)
            return 130
        except Exception as error:  # noqa: BLE001 -- whatever it was, the step is named and everything is stopped
            print(
                f"\n{RED}demo: step {stage.step} failed: {str(error) or type(error).__name__}{PLAIN}", file=sys.stderr
            )
            return 1
        finally:
            signal.alarm(0)
            stage.close()
        summarise(stage, time.monotonic() - began)
    return 0


if __name__ == "__main__":
    sys.exit(main())
