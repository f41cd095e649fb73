"""Bounded, and never a word past its life or from before a change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ocsp.cache import OVERHEAD, Cache, Entry
from ocsp.document import Document, Life

START = datetime(2026, 6, 1, tzinfo=UTC)
HEAVY = OVERHEAD + len(b"answer")
LIFE = Life(START, START + timedelta(seconds=60))


def entry(body: bytes = b"answer", generation: int = 1) -> Entry:
    return Entry(Document(body, "x/y", LIFE), LIFE, START + timedelta(seconds=30), generation)


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


SECONDS = st.integers(min_value=-100_000, max_value=100_000).map(lambda milliseconds: milliseconds / 1000)


@given(SECONDS, st.integers(min_value=0, max_value=2))
def test_current_is_alive_not_due_and_of_this_generation(seconds: float, generation: int) -> None:
    cache, kept = Cache(2 * HEAVY), entry(generation=1)
    cache.put("q", kept)
    expected = kept.document if 0 <= seconds < 30 and generation == 1 else None
    assert cache.current("q", generation, after(seconds)) is expected


@given(SECONDS)
def test_alive_until_the_end_and_gone_after_it(seconds: float) -> None:
    cache, kept = Cache(2 * HEAVY), entry()
    cache.put("q", kept)
    lives = 0 <= seconds < 60
    assert cache.alive("q", after(seconds)) is (kept if lives else None)
    assert len(cache) == lives


def test_the_one_unused_for_longest_goes_first() -> None:
    cache = Cache(2 * HEAVY)
    for name in ("a", "b"):
        cache.put(name, entry())
    assert cache.alive("a", START)
    cache.put("c", entry())
    assert [name for name in "abc" if cache.alive(name, START)] == ["a", "c"]


def test_a_newer_entry_takes_the_place_of_an_older() -> None:
    cache = Cache(2 * HEAVY)
    cache.put("a", entry(b"old"))
    cache.put("a", entry(b"new"))
    found = cache.alive("a", START)
    assert found is not None
    assert (found.document.body, len(cache)) == (b"new", 1)


def test_what_was_never_put_is_not_there() -> None:
    assert Cache(HEAVY).current("q", 0, START) is None


def test_what_is_larger_than_all_the_room_is_not_kept() -> None:
    cache = Cache(2 * HEAVY)
    cache.put("a", entry())
    cache.put("b", entry(bytes(2 * HEAVY)))
    assert len(cache) == 0


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(min_value=0, max_value=3 * OVERHEAD))))
def test_all_together_never_take_more_than_there_is_room_for(puts: list[tuple[str, int]]) -> None:
    cache, kept = Cache(4 * OVERHEAD), dict[str, int]()
    for name, size in puts:
        cache.put(name, entry(bytes(size)))
        kept[name] = OVERHEAD + size
        alive = [one for one in kept if one in cache._entries]
        assert sum(kept[one] for one in alive) <= 4 * OVERHEAD
        assert cache._room == 4 * OVERHEAD - sum(kept[one] for one in alive)
