"""Verifies an exported audit trail with nothing but the file: what an auditor can do without trusting the server."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from watchword.cli.exits import usage
from watchword.cli.output import Document
from watchword.ports.audit import GENESIS, link
from watchword.protocol.strict_json import parse_object


@dataclass(slots=True)
class _Chain:
    """How far a chain was followed. After its first bad place a chain is not judged further."""

    position: int = 0
    hash: bytes = GENESIS
    is_broken: bool = False


@dataclass(slots=True)
class _Report:
    events: int = 0
    chains: dict[str, _Chain] = field(default_factory=dict)
    findings: list[dict[str, object]] = field(default_factory=list)


def verify_export(path: Path) -> Document:
    """Return the same report as the admin API's own verification, made from the lines of an export.

    Raises:
        CommandError: usage; a line is not one of an export.
        OSError: the file cannot be read.
    """
    report = _Report()
    with path.open("rb") as lines:
        _follow(lines, report, path)
    return {
        "ok": not report.findings,
        "events": report.events,
        "chains": [
            {"chain": name, "events": chain.position, "hash": chain.hash.hex()}
            for name, chain in sorted(report.chains.items())
        ],
        "findings": report.findings,
    }


def _follow(lines: Iterable[bytes], report: _Report, path: Path) -> None:
    """Lines are read strictly: one that two readers could read differently proves nothing."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            item = parse_object(line)
            name, position, claimed = str(item["chain"]), int(str(item["position"])), bytes.fromhex(str(item["hash"]))
            payload = json.dumps(item["event"], sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
        except (ValueError, KeyError, TypeError) as error:
            raise usage(f"{path}, line {number} is not a line of an audit export.") from error
        report.events += 1
        chain = report.chains.setdefault(name, _Chain())
        problem = _judge(chain, position, claimed, payload)
        if problem and not chain.is_broken:
            chain.is_broken = True
            report.findings.append({"chain": name, "position": position, "problem": problem})


def _judge(chain: _Chain, position: int, claimed: bytes, payload: bytes) -> str:
    """Move one place along the chain; return what is wrong with it, or nothing."""
    expected = chain.position + 1
    computed = link(chain.hash, payload)
    chain.position, chain.hash = position, claimed
    if position != expected:
        return f"position {expected} should stand here: events were removed, moved or repeated"
    return "" if computed == claimed else "the hash does not fit: this event, or one before it, was altered"
