"""One URL names a cache, and its password is never shown."""

import pytest

from watchword.adapters.redis_link import check_facts
from watchword.adapters.redis_url import RedisUrl, parse_redis_url
from watchword.errors import BadSettings, CacheUnavailable

GOOD = {
    "redis://cache": (RedisUrl("cache", 6379), "redis://cache:6379/0"),
    "redis://cache/": (RedisUrl("cache", 6379), "redis://cache:6379/0"),
    " redis://cache:7000/3\n": (RedisUrl("cache", 7000, database=3), "redis://cache:7000/3"),
    "rediss://me:p%40ss@cache": (
        RedisUrl("cache", 6379, username="me", password="p@ss", is_tls=True),
        "rediss://me:***@cache:6379/0",
    ),
    "redis://:secret@[::1]:6380": (RedisUrl("::1", 6380, password="secret"), "redis://:***@[::1]:6380/0"),
    "unix:///run/redis.sock": (RedisUrl("", 0, "/run/redis.sock"), "unix:///run/redis.sock"),
    "unix://:s@/run/redis.sock?db=2": (
        RedisUrl("", 0, "/run/redis.sock", 2, password="s"),
        "unix://:***@/run/redis.sock?db=2",
    ),
}
BAD = [
    *(
        "",
        "cache",
        "http://cache",
        "redis://",
        "redis:///0",
        "redis://cache:0",
        "redis://cache:99999",
        "redis://cache:x",
    ),
    *(
        "redis://cache/one",
        "redis://cache/0/1",
        "redis://cache/-1",
        "redis://cache?db=1",
        "redis://cache/0#x",
        "redis://[::1",
    ),
    *("unix://", "unix://host/path", "unix:///path?db=x", "unix:///path#x", "redis://:secret@", "redis://cache/²"),
]


@pytest.mark.parametrize("text", GOOD)
def test_it_is_read_and_shown_without_the_password(text: str) -> None:
    url, shown = GOOD[text]
    assert parse_redis_url(text) == url
    assert str(url) == shown
    assert "secret" not in repr(url)
    assert "p@ss" not in repr(url)


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_such_url_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(BadSettings, match=r"settings\.cache") as caught:
        parse_redis_url(text)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "is_near"),
    [
        ("redis://localhost", True),
        ("redis://127.0.0.2", True),
        ("redis://[::1]", True),
        ("unix:///run/redis.sock", True),
        ("redis://cache", False),
        ("redis://192.0.2.1", False),
        ("redis://127.0.0.1.example.com", False),
    ],
)
def test_only_this_machine_is_near(text: str, is_near: bool) -> None:
    assert parse_redis_url(text).is_near is is_near


SOUND = {
    "redis_version": "7.0.15",
    "run_id": "r",
    "master_replid": "m",
    "evicted_keys": "0",
    "maxmemory": "1048576",
    "loading": "0",
    "role": "master",
    "maxmemory_policy": "noeviction",
}
URL = parse_redis_url("redis://:secret@cache")


def test_a_sound_server_has_a_life_and_a_bound() -> None:
    facts = check_facts(SOUND, URL)
    assert (facts.life, facts.memory_limit, facts.version) == ("r-m-0", 1_048_576, "7.0.15")


@pytest.mark.parametrize("name", ["run_id", "master_replid", "evicted_keys"])
def test_whatever_may_have_forgotten_has_another_life(name: str) -> None:
    assert check_facts({**SOUND, name: "2"}, URL).life != check_facts(SOUND, URL).life


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"maxmemory_policy": "volatile-lru"}, "cache.evicting"),
        ({"maxmemory_policy": ""}, "cache.evicting"),
        ({"role": "slave"}, "cache.replica"),
        ({"loading": "1"}, "cache.unreachable"),
    ],
)
def test_a_server_that_cannot_be_relied_on_is_refused(change: dict[str, str], reason: str) -> None:
    with pytest.raises((BadSettings, CacheUnavailable)) as caught:
        check_facts({**SOUND, **change}, URL)
    assert caught.value.reason == reason
    assert "secret" not in str(caught.value)


def test_a_server_that_does_not_say_what_it_forgets_is_refused() -> None:
    with pytest.raises(BadSettings, match=r"cache\.evicting"):
        check_facts({name: value for name, value in SOUND.items() if name != "maxmemory_policy"}, URL)
