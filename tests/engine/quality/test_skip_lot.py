"""Skip-lot: the machine does what its text says whatever happens, and chance is fair, repeatable and not foreseen."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.quality.sampling import AQLS, plan
from engine.quality.skip_lot import (
    Scheme,
    SkipState,
    State,
    draw,
    inspected,
    is_skipped,
    points_of,
    problem_of,
    skipped,
    standing,
)

NOW = "2026-11-23T08:00:00Z"


def day(number: int) -> str:
    return (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=number)).isoformat().replace("+00:00", "Z")


def after(state: SkipState, *points: int | None, accepted: bool = True, scheme: Scheme | None = None) -> SkipState:
    for one in points:
        state = inspected(state, scheme or Scheme(), NOW, accepted=accepted, points=one, ordinary=True)
    return state


@pytest.mark.parametrize(
    ("points", "frequency"),
    [([5] * 10, 4), ([5] * 9 + [3, 3], 4), ([5] * 7 + [3] * 5, 3), ([5] * 4 + [3] * 10, 3), ([3] * 17, 2), ([5] * 9 + [1] * 5, 3)],
)
def test_the_first_frequency_follows_how_many_lots_the_score_took(points: list[int], frequency: int) -> None:
    assert after(SkipState(), *points[:-1]).state is State.LOT_BY_LOT
    found = after(SkipState(), *points)
    assert (found.state, found.frequency, found.score) == (State.SKIP_LOT, frequency, 0)


def test_a_score_that_is_not_reached_in_time_begins_anew() -> None:
    found = after(SkipState(), *[5] * 5 + [1] * 15)
    assert (found.state, found.score, found.lots) == (State.LOT_BY_LOT, 0, 0)


def test_good_lots_make_inspection_rarer_step_by_step_and_a_bad_one_interrupts() -> None:
    state, frequencies = after(SkipState(), *[3] * 17), [2]
    while state.frequency < 5:
        state = after(state, *[5] * 10)
        frequencies.append(state.frequency)
    assert frequencies == [2, 3, 4, 5]
    assert after(state, *[5] * 10).frequency == 5
    interrupted = after(state, None, accepted=False)
    assert (interrupted.state, interrupted.frequency) == (State.INTERRUPTED, 5)
    again = after(interrupted, 5, 5, 5, 5)
    assert (again.state, again.frequency) == (State.SKIP_LOT, 4)
    # A second bad one before that takes it all.
    assert after(after(interrupted, 5, 5, 5), None, accepted=False) == SkipState(last=NOW)


def test_tightened_inspection_and_a_long_silence_take_skipping_away() -> None:
    state = after(SkipState(), *[5] * 10)
    lost = inspected(state, Scheme(), NOW, accepted=True, points=5, ordinary=False)
    assert lost == SkipState(last=NOW)
    since = SkipState(State.SKIP_LOT, 4, last=day(0))
    assert standing(since, Scheme(), day(61)) == since
    assert standing(since, Scheme(), day(62)).state is State.LOT_BY_LOT
    assert standing(skipped(since, day(50)), Scheme(), day(62)).state is State.SKIP_LOT


@pytest.mark.parametrize(("accept", "points"), [
    (0, [3]), (1, [5, 1]), (2, [5, 3, None]), (3, [5, 5, 3, None]), (5, [5, 5, 5, 3, None, None]),
    (21, [5] * 11 + [3] * 4 + [None] * 7),
])  # fmt: skip
def test_the_points_of_a_lot(accept: int, points: list[int | None]) -> None:
    assert [points_of(accept, n, Scheme()) for n in range(accept + 1)] == points


def test_points_are_those_of_the_tables_with_the_aql_one_and_two_steps_tighter() -> None:
    """Where the tighter plans have the same sample, ``points_of`` says what they do."""
    seen = 0
    sizes = (1200, 3200, 10_000, 35_000, 150_000)
    for size in sizes:
        for place, aql in enumerate(AQLS[2:], 2):
            here, one, two = (plan(size, AQLS[place - step]) for step in (0, 1, 2))
            if here.accept < 3 or not here.sample_size == one.sample_size == two.sample_size:
                continue
            for found in range(here.accept + 1):
                wanted = 5 if found <= two.accept else 3 if found <= one.accept else None
                assert points_of(here.accept, found, Scheme()) == wanted, (size, aql, found)
                seen += 1
    assert seen > 100


# -- a second version, written from the module's text, over whole histories ------------------------------------------

_LOT = st.tuples(
    st.sampled_from([5, 5, 5, 5, 5, 5, 3, 3, 1, None]), st.sampled_from([True] * 12 + [False]),
    st.sampled_from([True] * 30 + [False]), st.sampled_from([1] * 30 + [62]),
)  # fmt: skip


def written_from_the_text(lots: list[tuple[int | None, bool, bool, int]]) -> list[tuple[str, int]]:
    """State and frequency after each lot, looking at the history since the last change only."""
    where, frequency, history = "lot_by_lot", 0, list[int]()
    good, said = 0, []
    for number, (points, accepted, ordinary, pause) in enumerate(lots):
        if number and pause > 61:
            where, frequency, history, good = "lot_by_lot", 0, [], 0
        if not ordinary:
            where, frequency, history, good = "lot_by_lot", 0, [], 0
        elif where == "interrupted":
            good = good + 1 if accepted else 0
            if not accepted:
                where, frequency, history = "lot_by_lot", 0, []
            elif good == 4:
                where, frequency, history, good = "skip_lot", max(2, frequency - 1), [], 0
        elif not accepted:
            where, history, good = ("interrupted" if where == "skip_lot" else where), [], 0
        elif points is None:
            history = []
        else:
            history.append(points)
            if sum(history) >= 50:
                first = 4 if len(history) <= 11 else 3 if len(history) <= 14 else 2
                frequency = min(5, frequency + 1) if where == "skip_lot" else first
                where, history = "skip_lot", []
            elif len(history) == 20:
                history = []
        said.append((where, frequency))
    return said


@settings(max_examples=300)
@given(st.lists(_LOT, max_size=200), st.booleans())
def test_the_machine_is_the_text_whatever_happens(lots: list[tuple[int | None, bool, bool, int]], good: bool) -> None:
    lots = [(points or 5 if good else points, ok, ordinary, pause) for points, ok, ordinary, pause in lots]
    state, today, said = SkipState(), 0, []
    for points, accepted, ordinary, pause in lots:
        today += pause
        state = inspected(state, Scheme(), day(today), accepted=accepted, points=points, ordinary=ordinary)
        said.append((state.state.value, state.frequency))
        assert (state.frequency == 0) == (state.state is State.LOT_BY_LOT)
        assert state.score < 50
        assert state.lots < 20
    assert said == written_from_the_text(lots)


# -- chance ----------------------------------------------------------------------------------------------------------


def test_one_lot_in_so_many_is_inspected_and_always_the_same_ones() -> None:
    secret, names = b"s" * 32, [f"LOT-{n}" for n in range(20_000)]
    for frequency in (2, 3, 4, 5):
        state = SkipState(State.SKIP_LOT, frequency)
        kept = [name for name in names if not is_skipped(state, draw(secret, "pair", name))]
        assert len(kept) / len(names) == pytest.approx(1 / frequency, abs=0.012)
        assert kept == [name for name in names if not is_skipped(state, draw(secret, "pair", name))]


def test_who_does_not_know_the_secret_foresees_nothing() -> None:
    names = [f"LOT-{n}" for n in range(4000)]
    mine, other = ([draw(secret, "p", name) < 0.5 for name in names] for secret in (b"a" * 32, b"b" * 32))
    assert sum(a == b for a, b in zip(mine, other, strict=True)) / len(names) == pytest.approx(0.5, abs=0.04)
    # Nor does one lot tell of the next.
    pairs = list(itertools.pairwise(mine))
    assert sum(a == b for a, b in pairs) / len(pairs) == pytest.approx(0.5, abs=0.04)
    assert draw(b"a", "ab", "c") != draw(b"a", "a", "bc")


@given(st.floats(0, 1, exclude_max=True))
def test_where_nothing_was_earned_nothing_is_skipped(drawn: float) -> None:
    assert not is_skipped(SkipState(), drawn)
    assert not is_skipped(SkipState(State.INTERRUPTED, 4), drawn)


def test_a_plan_may_say_other_points() -> None:
    own = Scheme(two_steps=7, one_step=2, zero=4, one_found=0)
    assert [points_of(0, 0, own), points_of(1, 0, own), points_of(1, 1, own), points_of(2, 1, own)] == [4, 7, 0, 2]


@pytest.mark.parametrize("scheme", [Scheme(one_in_four=15), Scheme(one_in_three=21), Scheme(score=101), Scheme(lots=9)])
def test_a_scheme_that_cannot_be_is_refused(scheme: Scheme) -> None:
    assert problem_of(scheme)


def test_the_scheme_as_it_comes_is_in_order() -> None:
    assert problem_of(Scheme()) is None
    quick = Scheme(score=10, lots=5, one_in_four=2, one_in_three=4, requalify=1, idle_days=10)
    assert problem_of(quick) is None
    assert after(SkipState(), 5, 5, scheme=quick).frequency == 4
    assert after(SkipState(), 5, 3, 3, scheme=quick).frequency == 3
