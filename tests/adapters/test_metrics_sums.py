"""One exposition for several processes."""

from watchword.adapters.metrics import Metrics


def metrics() -> Metrics:
    return Metrics("1.2.3", grants=("client_credentials",), methods=("client_secret_basic",))


def shown(of: Metrics, *others: Metrics) -> set[str]:
    text, _ = of.render(other.dump() for other in others)
    return {line for line in text.decode().splitlines() if not line.startswith("#")}


def test_counts_of_all_processes_are_added_by_label() -> None:
    here, there = metrics(), metrics()
    for of, reason in ((here, "full"), (there, "full"), (there, "head_late"), (there, "head_late")):
        of.count_refused(reason)
    for one, other in ((here, there), (there, here)):
        assert 'watchword_connections_refused_total{reason="full"} 2.0' in shown(one, other)
        assert 'watchword_connections_refused_total{reason="head_late"} 2.0' in shown(one, other)


def test_what_is_open_is_added_and_what_says_the_version_is_not() -> None:
    here, there = metrics(), metrics()
    here.show_connections(3)
    there.show_connections(4)
    assert {"watchword_connections 7.0", 'watchword_build_info{version="1.2.3"} 1.0'} <= shown(here, there)


def test_a_process_counts_on_from_the_one_before_it_but_has_not_its_connections() -> None:
    before, after = metrics(), metrics()
    before.count_refused("full")
    before.show_connections(9)
    after.go_on_from(before.dump())
    after.count_refused("full")
    after.show_connections(1)
    expected = {'watchword_connections_refused_total{reason="full"} 2.0', "watchword_connections 1.0"}
    assert expected <= shown(after)
    third = metrics()
    third.go_on_from(after.dump())
    assert 'watchword_connections_refused_total{reason="full"} 2.0' in shown(third)


def test_nothing_before_and_nobody_else_changes_nothing() -> None:
    alone = metrics()
    alone.go_on_from(b"")
    alone.count_refused("full")
    assert 'watchword_connections_refused_total{reason="full"} 1.0' in shown(alone)


def test_the_histogram_is_added_bucket_by_bucket() -> None:
    here, there = metrics(), metrics()
    here._seconds.observe(0.0001)
    there._seconds.observe(99)
    lines = shown(here, there)
    name = "watchword_token_request_duration_seconds"
    assert {f'{name}_bucket{{le="0.0005"}} 1.0', f'{name}_bucket{{le="+Inf"}} 2.0', f"{name}_count 2.0"} <= lines
    assert f"{name}_sum 99.0001" in lines
