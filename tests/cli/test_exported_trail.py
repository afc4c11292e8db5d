from __future__ import annotations

import json

import pytest

from watchword.cli.exits import CommandError, ExitCode
from watchword.cli.exported_trail import verify_export
from watchword.ports.audit import GENESIS, link


def _export(*texts: str, chain: str = "main") -> list[dict[str, object]]:
    lines, head = [], GENESIS
    for position, text in enumerate(texts, start=1):
        event = {"action": "token.issue", "reason": text}
        head = link(head, json.dumps(event, sort_keys=True, separators=(",", ":")).encode())
        lines.append({"chain": chain, "position": position, "hash": head.hex(), "event": event})
    return lines


def _verify(tmp_path, lines):
    path = tmp_path / "audit.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return verify_export(path)


def test_an_untouched_export_is_whole(tmp_path):
    main, other = _export("a", "b", "c\u00e9"), _export("x", chain="other")
    report = _verify(tmp_path, [main[0], other[0], *main[1:]])
    assert report == {
        "ok": True,
        "events": 4,
        "chains": [
            {"chain": "main", "events": 3, "hash": main[-1]["hash"]},
            {"chain": "other", "events": 1, "hash": other[-1]["hash"]},
        ],
        "findings": [],
    }


def _altered(lines):
    lines[1]["event"]["reason"] = "B"


def _removed(lines):
    del lines[1]


def _swapped(lines):
    lines[0], lines[1] = lines[1], lines[0]


def _repeated(lines):
    lines.insert(1, lines[0])


def _rehashed(lines):
    lines[1]["hash"] = "00" * 32


def _renumbered(lines):
    lines[1]["position"] = 7


def _beheaded(lines):
    del lines[0]


@pytest.mark.parametrize(
    ("touch", "position"),
    [(_altered, 2), (_removed, 3), (_swapped, 2), (_repeated, 1), (_rehashed, 2), (_beheaded, 2), (_renumbered, 7)],
)
def test_a_touched_export_is_found_at_its_first_bad_place(tmp_path, touch, position):
    lines = _export("a", "b", "c")
    touch(lines)
    report = _verify(tmp_path, lines)
    assert report["ok"] is False
    assert [finding["position"] for finding in report["findings"]] == [position]


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "{}",
        '{"chain": "m", "position": 1, "hash": "zz", "event": {}}',
        "[1]",
        '{"chain":"m","position":"x"}',
        '{"chain":"m","chain":"n","position":1,"hash":"00","event":{}}',
        '{"chain":"m","position":1,"hash":"00","event":{"reason":"read by one","reason":"read by another"}}',
        '{"chain":"m","position":1,"hash":"00","event":' + '{"a":' * 100_000,
        "\udcff",
    ],
)
def test_what_is_no_export_is_refused(tmp_path, text):
    path = tmp_path / "x"
    path.write_text(text, errors="surrogateescape")
    with pytest.raises(CommandError) as caught:
        verify_export(path)
    assert caught.value.code is ExitCode.USAGE


def test_the_command_exits_8_on_a_finding_and_0_without(cli, tmp_path):
    lines = _export("a", "b")
    _verify(tmp_path, lines)
    assert cli("audit", "verify", "--file", tmp_path / "audit.jsonl").code == 0
    lines[0]["event"]["reason"] = "A"
    _verify(tmp_path, lines)
    ran = cli("audit", "verify", "--file", tmp_path / "audit.jsonl", "-o", "json")
    assert ran.code == 8
    assert ran.json()["findings"][0]["position"] == 1


def test_a_file_that_is_not_there_is_an_error(cli):
    ran = cli("audit", "verify", "--file", "none.jsonl")
    assert (ran.code, ran.err) == (1, "watchword: none.jsonl: No such file or directory.\n")
