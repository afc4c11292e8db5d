"""What is measured, and what is said of it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One server under load for one turn. Latencies in milliseconds; ``cpu_us`` is CPU time of the server per request."""

    rate: float
    p50: float
    p99: float
    cpu_us: float
    requests: int
    refused: int
    broken: int


@dataclass(frozen=True, slots=True)
class Measured:
    """All turns of one server, and its memory (MiB).

    ``rss_ready`` and ``rss_loaded`` add up the resident memory of its processes when it was ready and after the load;
    ``rss_worker`` is that of the largest one, ``pss`` that of all with shared pages counted once, both after the load.
    """

    name: str
    connections: int
    samples: Sequence[Sample]
    rss_ready: float = 0.0
    rss_loaded: float = 0.0
    rss_worker: float = 0.0
    pss: float = 0.0

    def median(self, of: Callable[[Sample], float]) -> float:
        """Return the median over the turns."""
        return statistics.median(map(of, self.samples))

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.median(lambda sample: sample.rate)

    @property
    def cpu_us(self) -> float:
        """CPU microseconds per request."""
        return self.median(lambda sample: sample.cpu_us)

    @property
    def failures(self) -> int:
        """Answers other than 2xx, and connections that broke."""
        return sum(sample.refused + sample.broken for sample in self.samples)

    def line(self) -> str:
        """Return one line for people."""
        p50, p99 = self.median(lambda one: one.p50), self.median(lambda one: one.p99)
        return (
            f"  {self.name:<28} c={self.connections:<4} {self.rate:>9,.0f}/s {self.cpu_us:>8,.0f} us CPU"
            f"  p50 {p50:>7.2f} ms  p99 {p99:>7.2f} ms  RSS {self.rss_loaded:>5.0f} MiB  failures {self.failures}"
        )


def paired(ours: Measured, other: Measured, of: Callable[[Sample], float]) -> float:
    """Return the median of the ratios turn by turn: what disturbs both in one round cancels out."""
    return statistics.median(of(a) / of(b) for a, b in zip(ours.samples, other.samples, strict=True) if of(b))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure with the demand on it: at least, or at most. None of both: it is only told."""

    name: str
    value: float
    unit: str = ""
    at_least: float = -math.inf
    at_most: float = math.inf
    note: str = ""

    @property
    def is_met(self) -> bool:
        """The demand is met."""
        return self.at_least <= self.value <= self.at_most

    def line(self) -> str:
        """Return one line for people."""
        demands = [
            *([f">= {self.at_least:g}"] if self.at_least > -math.inf else []),
            *([f"<= {self.at_most:g}"] if self.at_most < math.inf else []),
        ]
        verdict = f"{'ok   ' if self.is_met else 'SHORT'} {' '.join(demands)}" if demands else ""
        return f"  {self.name:<58} {self.value:>10,.3f} {self.unit:<6} {verdict} {self.note}".rstrip()


@dataclass(slots=True)
class Report:
    """What a section found."""

    section: str
    measured: list[Measured] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def add(self, rows: Iterable[Row]) -> None:
        """Add figures."""
        self.rows.extend(rows)

    def find(self, name: str, connections: int | None = None) -> Measured | None:
        """Return the measurement of a server, if it was there."""
        fitting = (one for one in self.measured if one.name == name and connections in (None, one.connections))
        return next(fitting, None)

    def lines(self) -> list[str]:
        """Return the section for people."""
        return [
            f"{self.section}",
            *(one.line() for one in self.measured),
            *(row.line() for row in self.rows),
            *(f"  missing: {one}" for one in self.missing),
        ]

    def document(self) -> dict[str, object]:
        """Return the section for machines."""
        return {
            "section": self.section,
            "servers": [
                {
                    "name": one.name,
                    "connections": one.connections,
                    "requests_per_second": round(one.rate, 1),
                    "cpu_us_per_request": round(one.cpu_us, 1),
                    "p50_ms": round(one.median(lambda sample: sample.p50), 3),
                    "p99_ms": round(one.median(lambda sample: sample.p99), 3),
                    "rss_ready_mib": round(one.rss_ready, 1),
                    "rss_loaded_mib": round(one.rss_loaded, 1),
                    "rss_worker_mib": round(one.rss_worker, 1),
                    "pss_mib": round(one.pss, 1),
                    "failures": one.failures,
                    "turns": [round(sample.rate, 1) for sample in one.samples],
                }
                for one in self.measured
            ],
            "figures": [
                {"name": row.name, "value": round(row.value, 4), "unit": row.unit, "met": row.is_met, "note": row.note}
                for row in self.rows
            ],
            "missing": self.missing,
        }
