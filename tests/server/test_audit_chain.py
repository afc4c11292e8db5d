from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import rule
from watchword.ports.audit import GENESIS, ChainHead, StoredEvent, link
from watchword.server.audit_chain import ChainState, ChainVerifier, Finding, Flaw, verify_chain
from watchword.testing.records import make_event

Trail = list[StoredEvent]


def build_trail(length: int = 8, *, chain: str = "local", first_cursor: int = 1) -> Trail:
    trail, previous = [], GENESIS
    for position in range(1, length + 1):
        payload = make_event(reason=f"reason {position}").canonical_bytes()
        previous = link(previous, payload)
        trail.append(StoredEvent(first_cursor + position - 1, chain, position, payload, previous))
    return trail


def head_of(trail: Trail) -> ChainHead:
    return ChainHead(trail[-1].chain, trail[-1].position, trail[-1].hash)


TRAIL = build_trail()
HEADS = [head_of(TRAIL)]


def first_bad(trail: Trail, heads: list[ChainHead] = HEADS) -> tuple[int, Flaw]:
    (finding,) = verify_chain(trail, heads).findings
    assert finding.chain == "local"
    return finding.position, finding.problem


def altered(index: int, **members: object) -> Trail:
    return [*TRAIL[:index], replace(TRAIL[index], **members), *TRAIL[index + 1 :]]


def rewritten_from(index: int) -> Trail:
    """Alter one event and give it, and all behind it, hashes that fit."""
    trail = altered(index, payload=b'{"forged":true}')
    previous = trail[index - 1].hash if index else GENESIS
    for place in range(index, len(trail)):
        previous = link(previous, trail[place].payload)
        trail[place] = replace(trail[place], hash=previous)
    return trail


@rule("U1")
def test_a_sound_trail_has_no_findings() -> None:
    found = verify_chain(TRAIL, HEADS)
    assert found.is_sound
    assert (found.events, found.findings) == (8, ())
    assert found.chains == (ChainState("local", 8, TRAIL[-1].hash),)


def test_an_empty_trail_is_sound() -> None:
    assert verify_chain([], []).is_sound


@rule("U1")
@pytest.mark.parametrize("index", range(8))
def test_an_altered_event_is_found(index: int) -> None:
    assert first_bad(altered(index, payload=TRAIL[index].payload.replace(b"reason", b"treason"))) == (
        index + 1,
        Flaw.ALTERED,
    )
    assert first_bad(altered(index, hash=bytes(32))) == (index + 1, Flaw.ALTERED)


@rule("U1")
@pytest.mark.parametrize("index", range(8))
def test_an_event_rewritten_with_a_fitting_hash_is_found_behind_it(index: int) -> None:
    payload = b'{"forged":true}'
    previous = TRAIL[index - 1].hash if index else GENESIS
    found = first_bad(altered(index, payload=payload, hash=link(previous, payload)))
    assert found == (min(index + 2, 8), Flaw.ALTERED)


@rule("U1")
@pytest.mark.parametrize("index", range(8))
def test_a_rewritten_rest_is_found_by_the_head(index: int) -> None:
    assert first_bad(rewritten_from(index)) == (8, Flaw.ALTERED)


@rule("U1")
def test_a_rewritten_rest_is_found_by_an_older_copy_of_the_head() -> None:
    trail = rewritten_from(2)
    copy = ChainHead("local", 5, TRAIL[4].hash)
    verifier = ChainVerifier([copy])
    for event in trail:
        verifier.add(event)
    assert verifier.finish([head_of(trail)]).findings == (Finding("local", 5, Flaw.ALTERED),)


@rule("U1")
@pytest.mark.parametrize("index", range(7))
def test_a_deleted_event_is_found(index: int) -> None:
    assert first_bad(TRAIL[:index] + TRAIL[index + 1 :]) == (index + 1, Flaw.MISSING)


@rule("U1")
@pytest.mark.parametrize("index", range(7))
def test_a_deleted_event_whose_place_was_closed_up_is_found(index: int) -> None:
    rest = [replace(event, position=event.position - 1) for event in TRAIL[index + 1 :]]
    assert first_bad(TRAIL[:index] + rest) == (index + 1, Flaw.ALTERED)


@rule("U1")
@pytest.mark.parametrize("index", range(7))
def test_exchanged_events_are_found(index: int) -> None:
    first, second = TRAIL[index], TRAIL[index + 1]
    assert first_bad([*TRAIL[:index], second, first, *TRAIL[index + 2 :]]) == (index + 1, Flaw.MOVED)
    contents = [replace(first, payload=second.payload), replace(second, payload=first.payload)]
    assert first_bad([*TRAIL[:index], *contents, *TRAIL[index + 2 :]]) == (index + 1, Flaw.ALTERED)


@rule("U1")
def test_exchanged_segments_are_found() -> None:
    assert first_bad(TRAIL[:2] + TRAIL[5:] + TRAIL[2:5]) == (3, Flaw.MOVED)


@rule("U1")
@pytest.mark.parametrize("index", range(8))
def test_a_repeated_event_is_found(index: int) -> None:
    assert first_bad([*TRAIL[: index + 1], TRAIL[index], *TRAIL[index + 1 :]]) == (index + 1, Flaw.REPEATED)
    assert first_bad([*TRAIL, TRAIL[index]]) == (index + 1, Flaw.REPEATED)


@rule("U1")
@pytest.mark.parametrize("index", range(8))
def test_an_inserted_event_is_found(index: int) -> None:
    previous = TRAIL[index - 1].hash if index else GENESIS
    inserted = StoredEvent(99, "local", index + 1, b"{}", link(previous, b"{}"))
    moved = [replace(event, position=event.position + 1) for event in TRAIL[index:]]
    assert first_bad([*TRAIL[:index], inserted, *moved])[0] in {index + 1, index + 2}
    assert first_bad([*TRAIL[:index], inserted, *TRAIL[index:]])[0] == index + 1


@rule("U1")
@pytest.mark.parametrize("length", range(8))
def test_a_cut_tail_is_found(length: int) -> None:
    assert first_bad(TRAIL[:length]) == (length + 1, Flaw.TRUNCATED)


@rule("U1")
def test_an_older_trail_is_found_by_the_newer_head() -> None:
    assert first_bad(TRAIL[:5], HEADS) == (6, Flaw.TRUNCATED)
    assert verify_chain(TRAIL[:5], [head_of(TRAIL[:5])]).is_sound


@rule("U1")
def test_an_event_behind_the_head_is_found() -> None:
    added = StoredEvent(9, "local", 9, b"{}", link(TRAIL[-1].hash, b"{}"))
    assert first_bad([*TRAIL, added]) == (9, Flaw.ADDED)
    assert first_bad(TRAIL, []) == (1, Flaw.ADDED)


@rule("U1")
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_bit_can_be_flipped(data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(TRAIL) - 1))
    member = data.draw(st.sampled_from(["payload", "hash"]))
    value = bytearray(getattr(TRAIL[index], member))
    bit = data.draw(st.integers(0, len(value) * 8 - 1))
    value[bit // 8] ^= 1 << bit % 8
    assert first_bad(altered(index, **{member: bytes(value)})) == (index + 1, Flaw.ALTERED)


@rule("U1")
@settings(max_examples=100, deadline=None)
@given(st.permutations(TRAIL))
def test_no_other_order_is_sound(trail: Trail) -> None:
    assert verify_chain(trail, HEADS).is_sound is (trail == TRAIL)


@rule("U7")
def test_each_chain_is_judged_alone() -> None:
    other = build_trail(3, chain="other", first_cursor=100)
    mixed = [TRAIL[0], other[0], *TRAIL[1:5], *other[1:], *TRAIL[5:]]
    heads = [*HEADS, head_of(other)]
    assert verify_chain(mixed, heads).is_sound
    broken = [event for event in mixed if event is not other[1]]
    assert verify_chain(broken, heads).findings == (Finding("other", 2, Flaw.MISSING),)
    moved = [replace(event, chain="other") if event is TRAIL[3] else event for event in mixed]
    assert {(one.chain, one.position) for one in verify_chain(moved, heads).findings} == {("local", 4), ("other", 2)}


def grows(read: Callable[[ChainVerifier], None], before: Trail, after: Trail) -> bool:
    verifier = ChainVerifier([head_of(before)])
    read(verifier)
    return verifier.finish([head_of(after)]).is_sound


@pytest.mark.parametrize("seen", [5, 6, 8])
def test_what_is_committed_meanwhile_is_no_finding(seen: int) -> None:
    assert grows(lambda verifier: [verifier.add(event) for event in TRAIL[:seen]], TRAIL[:5], TRAIL)
    assert not grows(lambda verifier: [verifier.add(event) for event in TRAIL[:4]], TRAIL[:5], TRAIL)
