"""One exposition for several processes: each dumps its numbers, whoever is asked adds them up."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

Key = tuple[str, tuple[tuple[str, str], ...]]

_CUMULATIVE = ("_total", "_bucket", "_count", "_sum")
_OF_EACH_PROCESS = ("_created", "_info")
"""Not added up: each process says its own."""


class Sums:
    """The numbers of one registry, and what was counted before it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._before: Mapping[Key, float] = {}

    def begin_with(self, dumped: bytes) -> None:
        """Count on from here. What is no count, such as what is open now, begins anew."""
        self._before = {key: value for key, value in _read(dumped).items() if key[0].endswith(_CUMULATIVE)}

    def dump(self) -> bytes:
        """Return all that can be added up."""
        families = self.with_others(()).collect()
        numbers = {_key(sample): sample.value for family in families for sample in family.samples}
        return json.dumps([[name, labels, value] for (name, labels), value in numbers.items()]).encode()

    def with_others(self, others: Iterable[bytes]) -> Collector:
        """Return the sums of this process and of others as a collector."""
        return _Summed(self._registry, [self._before, *map(_read, others)])


@dataclass(frozen=True, slots=True, eq=False)  # a registry keeps it by identity
class _Summed(Collector):
    registry: CollectorRegistry
    others: list[Mapping[Key, float]]

    def collect(self) -> Iterator[Metric]:
        for own in self.registry.collect():
            sums = {_key(sample): sample.value for sample in own.samples if not sample.name.endswith("_created")}
            for other in self.others:
                for key, value in other.items():
                    if _is_of(key[0], own) and not key[0].endswith(_OF_EACH_PROCESS):
                        sums[key] = sums.get(key, 0.0) + value
            family = Metric(own.name, own.documentation, own.type)
            family.samples = [Sample(name, dict(labels), value) for (name, labels), value in sums.items()]
            yield family


def _key(sample: Sample) -> Key:
    return sample.name, tuple(sorted(sample.labels.items()))


def _is_of(name: str, family: Metric) -> bool:
    return name in (family.name, *(family.name + ending for ending in _CUMULATIVE))


def _read(dumped: bytes) -> dict[Key, float]:
    if not dumped:
        return {}
    return {
        (str(name), tuple((str(label), str(text)) for label, text in labels)): float(value)
        for name, labels, value in json.loads(dumped)
    }
