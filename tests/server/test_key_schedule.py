"""The life of a signing key: no step too early, and in any order of things never a gap."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, run_state_machine_as_test
from hypothesis.stateful import rule as action

from tests import rule
from watchword.errors import Conflict, Problem
from watchword.operations import key_rotation, resources
from watchword.operations.context import OperationContext, Peppers, Principal
from watchword.operations.signing_keys import CreateSigningKey, create_signing_key
from watchword.ports.agents import Role
from watchword.ports.keys import KeyState, SigningKey
from watchword.protocol.jose import generate_private_key
from watchword.protocol.strict_json import parse_object
from watchword.server import key_schedule
from watchword.server.key_rotation import KeyRotation
from watchword.server.key_schedule import KeyTimes, Move, Step
from watchword.server.offices import LEASE, UPKEEP, Term
from watchword.server.signing_keys import SigningKeys
from watchword.testing.memory import MemoryStore
from watchword.testing.records import NOON, make_node, make_signing_key

TIMES = KeyTimes()
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
ACTIVE = replace(
    make_signing_key("active"), state=KeyState.ACTIVE, published_at=NOON, activated_at=NOON, sealed=b"sealed", version=3
)
NEXT = replace(make_signing_key("next"), state=KeyState.PUBLISHED, published_at=NOON, sealed=b"sealed")
RETIRING = replace(ACTIVE, kid="retiring", state=KeyState.RETIRING, retiring_at=NOON)


def reason_of(do, *arguments: object, **named: object) -> tuple[str, str]:
    with pytest.raises(Conflict) as caught:
        do(*arguments, **named)
    return caught.value.reason, caught.value.detail


@rule("TRAP-22", "K1")
def test_the_defaults_outlast_every_cache_clock_and_token():
    assert TIMES.notice == timedelta(minutes=7)
    assert TIMES.linger == timedelta(minutes=67)
    assert TIMES.lead == DAY
    assert KeyTimes(period=HOUR).lead == timedelta(minutes=15)


@rule("TRAP-22", "R8414-3-02")
def test_a_key_signs_only_after_every_verifier_can_have_it():
    at = NOON + TIMES.notice
    told = reason_of(key_schedule.activate, [ACTIVE, NEXT], NEXT, times=TIMES, now=at - SECOND / 10)
    assert told == ("key.too_early", "Verifiers may still hold the old set until 2026-11-24T12:07:01Z.")
    before, key = key_schedule.activate([ACTIVE, NEXT], NEXT, times=TIMES, now=at)
    assert before == replace(ACTIVE, state=KeyState.RETIRING, retiring_at=at, version=4)
    assert key == replace(NEXT, state=KeyState.ACTIVE, activated_at=at, version=2)


def test_where_nothing_signs_a_published_key_does_at_once():
    assert key_schedule.activate([NEXT], NEXT, times=TIMES, now=NOON)[0].state is KeyState.ACTIVE


@rule("TRAP-22")
def test_a_key_leaves_only_after_the_last_token_that_it_signed():
    at = NOON + TIMES.linger
    told = reason_of(key_schedule.retire, RETIRING, times=TIMES, now=at - SECOND)
    assert told == ("key.too_early", "Tokens that it signed may be valid until 2026-11-24T13:07:01Z.")
    gone = key_schedule.retire(RETIRING, times=TIMES, now=at)
    assert gone == replace(RETIRING, state=KeyState.RETIRED, retired_at=at, sealed=b"", version=4)


@rule("K10")
def test_a_clock_that_was_put_back_makes_a_step_late_never_early():
    back = NOON - HOUR
    assert reason_of(key_schedule.activate, [ACTIVE, NEXT], NEXT, times=TIMES, now=back)[0] == "key.too_early"
    assert key_schedule.withdraw(ACTIVE, now=back).retiring_at == NOON
    assert reason_of(key_schedule.retire, RETIRING, times=TIMES, now=back)[0] == "key.too_early"
    assert all(step.at > back for step in key_schedule.plan([ACTIVE, NEXT, RETIRING], TIMES))


@rule("K3", "K14")
@pytest.mark.parametrize("state", [KeyState.RETIRED, KeyState.COMPROMISED])
def test_nothing_leads_back(state):
    key, late = replace(ACTIVE, state=state), NOON + 9 * DAY
    others = [(key_schedule.publish, {}), (key_schedule.withdraw, {}), (key_schedule.want, {})]
    others += [(key_schedule.introduce, {}), (key_schedule.retire, {"times": TIMES})]
    assert {reason_of(do, key, now=late, **more)[0] for do, more in others} == {"key.state"}
    assert reason_of(key_schedule.activate, [key], key, times=TIMES, now=late)[0] == "key.state"


def test_the_key_that_signs_is_not_retired():
    assert reason_of(key_schedule.retire, ACTIVE, times=TIMES, now=NOON + 9 * DAY)[0] == "key.active"


@rule("K2")
@pytest.mark.parametrize("state", [state for state in KeyState if state is not KeyState.COMPROMISED])
def test_any_key_can_be_given_up_at_any_time(state):
    bad = key_schedule.compromise(replace(ACTIVE, state=state), now=NOON)
    assert (bad.state, bad.compromised_at, bad.sealed, bad.version) == (KeyState.COMPROMISED, NOON, b"", 4)
    assert reason_of(key_schedule.compromise, bad, now=NOON)[0] == "key.state"


def test_the_plan_of_a_key_that_signs_is_the_next_one():
    assert key_schedule.plan([ACTIVE], TIMES) == (Step(NOON + 29 * DAY, Move.PUBLISH, "ES256"),)
    ready = make_signing_key("ready")
    assert key_schedule.plan([ACTIVE, ready], TIMES) == (Step(NOON + 29 * DAY, Move.PUBLISH, "ES256", "ready"),)


@pytest.mark.parametrize(
    ("following", "at"),
    [
        pytest.param(NEXT, NOON + 30 * DAY, id="in its time"),
        pytest.param(replace(NEXT, wanted_at=NOON), NOON + TIMES.notice, id="as soon as it may"),
        pytest.param(replace(NEXT, published_at=NOON + 30 * DAY), NOON + 30 * DAY + TIMES.notice, id="published late"),
    ],
)
def test_the_next_key_takes_over(following, at):
    assert key_schedule.plan([ACTIVE, following], TIMES) == (Step(at, Move.ACTIVATE, "ES256", "next"),)


def test_without_a_period_only_what_was_begun_is_planned():
    times = KeyTimes(period=timedelta(0))
    assert key_schedule.plan([ACTIVE], times) == ()
    assert key_schedule.plan([ACTIVE, NEXT], times) == ()
    wanted = replace(NEXT, wanted_at=NOON)
    assert [step.move for step in key_schedule.plan([ACTIVE, wanted, RETIRING], times)] == [Move.ACTIVATE, Move.RETIRE]


def test_every_algorithm_has_its_own_line():
    other = replace(ACTIVE, kid="other", algorithm="Ed25519", activated_at=NOON - DAY)
    assert [(step.at, step.algorithm) for step in key_schedule.plan([ACTIVE, other], TIMES)] == [
        (NOON + 28 * DAY, "Ed25519"),
        (NOON + 29 * DAY, "ES256"),
    ]


# The model: real parts on a store in memory, and what a verifier could hold at worst.

LAG = 2 * SECOND
"""How late a node hears of a change, and a shared answer is."""
LEEWAY = MINUTE
SHORT = KeyTimes(period=3 * HOUR)
PUBLIC = {name: generate_private_key(name).public_jwk for name in ("ES256", "ES384")}


class NumberingSigner:
    """Makes keys that are numbers, one after another, as often as the model is run."""

    def __init__(self) -> None:
        self.made = 0

    async def generate(self, algorithm: str, *, now: datetime) -> SigningKey:
        await asyncio.sleep(0)  # others may come between, as they may while a key is made
        self.made += 1
        kid = f"key-{self.made:06d}"
        jwk = {**PUBLIC[algorithm], "kid": kid}
        return replace(make_signing_key(kid, created_at=now), algorithm=algorithm, public_jwk=jwk, sealed=b"sealed")

    async def sign(self, key: SigningKey, message: bytes) -> bytes:
        return key.sealed + message


@dataclass
class NodeModel:
    name: str
    offset: timedelta = timedelta(0)
    term: Term | None = None
    rotation: KeyRotation | None = None


@dataclass
class TokenModel:
    kid: str
    expires_at: datetime


@dataclass
class World:
    """The truth: the time, what was published when, which tokens are alive, and which keys had no time to become known."""

    now: datetime = NOON
    served: list[tuple[datetime, frozenset[str]]] = field(default_factory=list)
    signed: list[tuple[datetime, dict[str, str]]] = field(default_factory=list)
    tokens: list[TokenModel] = field(default_factory=list)
    sudden: dict[str, datetime] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)


class Lives(RuleBasedStateMachine):
    has_operators = True
    wrong_clocks: tuple[int, ...] = ()
    """Of which nodes the clock may jump."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.world = World()
        self.store = MemoryStore()
        self.signer = NumberingSigner()
        self.view = SigningKeys(self.store)
        self.nodes = [NodeModel("a", timedelta(seconds=-30)), NodeModel("b", timedelta(seconds=30))]
        for node in self.nodes:
            self.restart(node)

    def do(self, work):
        return self.loop.run_until_complete(work)

    def clock_of(self, node: NodeModel):
        return lambda: self.world.now + node.offset

    def report(self) -> None:
        """Both nodes are alive, and have told their time."""
        for node in self.nodes:
            self.do(self.store.report(replace(make_node(node.name), seen_at=self.clock_of(node)())))

    def context(self, node: NodeModel) -> OperationContext:
        self.report()
        return OperationContext(
            store=self.store,
            clock=self.clock_of(node),
            issuer="https://id.example",
            peppers=Peppers(b"c" * 32, b"o" * 32),
            principal=Principal("operator:1", Role.ADMIN),
            signer=self.signer,
            key_times=SHORT,
        )

    def restart(self, node: NodeModel) -> None:
        node.rotation = KeyRotation(self.signer, SHORT, steady=lambda: (self.world.now - NOON).total_seconds())

    def keys(self) -> dict[str, SigningKey]:
        return {key.kid: key for key in self.do(self.store.signing_keys())}

    def look(self) -> None:
        """Remember what is served and what signs from now on."""
        document = self.do(self.view.jwks())
        kids = frozenset(key["kid"] for key in parse_object(document.body)["keys"])
        active = {name: self.do(self.view.active(name)).kid for name in self.do(self.view.algorithms())}
        self.world.served.append((self.world.now, kids))
        self.world.signed.append((self.world.now, active))
        gone = {key.kid for key in self.keys().values() if key.state in {KeyState.RETIRED, KeyState.COMPROMISED}}
        self.world.gone |= gone
        self.issue()

    def issue(self) -> None:
        """Issue tokens, on a node that has not yet heard of what changed just now, too; none with a key that was given up."""
        resource = self.do(self.store.resource("api"))
        known = [signed for at, signed in self.world.signed if at <= self.world.now - LAG] or [self.world.signed[0][1]]
        kids = {active.get(resource.signing_algorithm) for active in (known[-1], self.world.signed[-1][1])} - {None}
        good = {kid for kid in kids if self.keys()[kid].state is not KeyState.COMPROMISED}
        self.world.tokens = [token for token in self.world.tokens if token.expires_at + LEEWAY >= self.world.now]
        self.world.tokens += [TokenModel(kid, self.world.now + HOUR) for kid in sorted(good)]

    async def attempt(self, *works) -> list[object]:
        done = await asyncio.gather(*works, return_exceptions=True)
        for outcome in done:
            if isinstance(outcome, BaseException) and not isinstance(outcome, Problem):
                raise outcome
        return done

    @initialize()
    def begin(self) -> None:
        context = self.context(self.nodes[0])
        key = self.do(create_signing_key(context, CreateSigningKey()))
        self.do(resources.create_resource(context, resources.CreateResource(name="api", scopes=("r",))))
        self.world.sudden[key.kid] = self.world.now
        self.look()

    @action(by=st.sampled_from([SECOND, 30 * SECOND, 3 * MINUTE, 8 * MINUTE, 32 * MINUTE, 2 * HOUR, 10 * DAY]))
    def time_passes(self, by: timedelta) -> None:
        self.world.now += by
        if self.world.served:
            self.issue()

    @action(index=st.integers(0, 1))
    def a_node_works(self, index: int) -> None:
        """With whatever term it had, if it gets no other; what is not its office's any more is refused."""
        self.report()
        node = self.nodes[index]
        now = self.clock_of(node)()
        number = self.do(self.store.hold(UPKEEP, node.name, now=now, until=now + LEASE))
        if number is not None:
            node.term = Term(self.store, self.clock_of(node), UPKEEP, number, make_node(node.name))
        if node.term is None or node.rotation is None:
            return
        try:
            self.do(node.rotation.work(node.term))
        except Conflict as conflict:
            assert conflict.reason == "office.term"  # noqa: PT017 -- the only refusal that may be
        self.look()

    @action(index=st.integers(0, 1))
    def a_node_restarts(self, index: int) -> None:
        self.restart(self.nodes[index])

    @precondition(lambda self: self.wrong_clocks)
    @action(index=st.integers(0, 1), offset=st.sampled_from([-HOUR, timedelta(0), HOUR]))
    def a_clock_jumps(self, index: int, offset: timedelta) -> None:
        if index in self.wrong_clocks:
            self.nodes[index].offset = offset

    @precondition(lambda self: self.has_operators)
    @action(algorithm=st.sampled_from(["ES256", "ES384"]), command=st.sampled_from(["publish", "rotate", "prepare"]))
    def two_operators_do_the_same(self, algorithm: str, command: str) -> None:
        before = self.keys()
        works = []
        for node in self.nodes:
            context = self.context(node)
            if command == "publish":
                ask = key_rotation.PublishSigningKey(algorithm=algorithm)
                works.append(key_rotation.publish_signing_key(context, ask))
            elif command == "rotate":
                works.append(
                    key_rotation.rotate_signing_key(context, key_rotation.RotateSigningKey(algorithm=algorithm))
                )
            else:
                ask = key_rotation.PrepareSigningKey(algorithm=algorithm)
                works.append(key_rotation.prepare_signing_key(context, ask))
        self.do(self.attempt(*works))
        after = self.keys()
        made = [key for kid, key in after.items() if kid not in before and key.state is not KeyState.PREPARED]
        assert len(made) <= 1, "two who rotate at once make one key"
        if not any(key.state is KeyState.ACTIVE and key.algorithm == algorithm for key in before.values()):
            self.note_sudden(algorithm)
        self.look()

    @precondition(lambda self: self.has_operators)
    @action(algorithm=st.sampled_from(["ES256", "ES384"]))
    def the_api_changes_its_algorithm(self, algorithm: str) -> None:
        command = resources.UpdateResource(name="api", signing_algorithm=algorithm)
        self.do(self.attempt(resources.update_resource(self.context(self.nodes[0]), command)))
        self.look()

    @precondition(lambda self: self.has_operators)
    @action(number=st.integers(0, 30), command=st.sampled_from(["retire", "retire", "compromise"]))
    def two_operators_take_a_key_away(self, number: int, command: str) -> None:
        kids = sorted(self.keys())
        kid = kids[number % len(kids)]
        algorithm = self.keys()[kid].algorithm
        works = []
        for node in self.nodes:
            context = self.context(node)
            if command == "retire":
                works.append(key_rotation.retire_signing_key(context, key_rotation.RetireSigningKey(kid=kid)))
            else:
                ask = key_rotation.CompromiseSigningKey(kid=kid)
                works.append(key_rotation.compromise_signing_key(context, ask))
        outcomes = self.do(self.attempt(*works))
        if command == "compromise":
            self.world.tokens = [token for token in self.world.tokens if token.kid != kid]
            if any(isinstance(one, key_rotation.Compromised) and one.replacement for one in outcomes):
                self.note_sudden(algorithm)
        self.look()

    def note_sudden(self, algorithm: str) -> None:
        active = key_schedule.signing(list(self.keys().values()), algorithm)
        if active is not None:
            self.world.sudden.setdefault(active.kid, self.world.now)

    @invariant()
    def something_signs_that_may(self) -> None:
        if not self.world.served:
            return
        resource = self.do(self.store.resource("api"))
        key = self.do(self.view.active(resource.signing_algorithm))
        assert key.state is KeyState.ACTIVE
        assert key.kid not in self.world.gone
        assert key.sealed

    @invariant()
    def what_is_gone_stays_gone(self) -> None:
        if self.world.served:
            assert not self.world.served[-1][1] & self.world.gone
            assert all(not self.keys()[kid].sealed for kid in self.world.gone)

    @invariant()
    def every_live_token_is_verified_by_everybody(self) -> None:
        """By a verifier with the oldest key set that it may hold, too."""
        now = self.world.now
        oldest = now - SHORT.max_age - LAG
        ends = [at for at, _ in self.world.served[1:]] + [now + DAY]
        held = [(end, kids) for (_, kids), end in zip(self.world.served, ends, strict=True) if end > oldest]
        for token in self.world.tokens:
            if token.expires_at + LEEWAY < now:
                continue
            since = self.world.sudden.get(token.kid)
            for end, kids in held:
                assert token.kid in kids or (since is not None and end <= since)

    def teardown(self) -> None:
        self.loop.close()


class LivesUnderWildClocks(Lives):
    """By schedule alone."""

    has_operators = False
    wrong_clocks = (0, 1)


class LivesWithAWrongClock(Lives):
    """Operators may use either node, and the other one's clock is right."""

    wrong_clocks = (1,)


@rule("K1", "K6", "K10", "K11", "N4", "TRAP-22")
@pytest.mark.parametrize("machine", [Lives, LivesUnderWildClocks, LivesWithAWrongClock])
def test_no_order_of_things_leaves_a_gap(machine):
    bounds = settings(max_examples=40, stateful_step_count=60, deadline=None)
    run_state_machine_as_test(machine, settings=bounds)
