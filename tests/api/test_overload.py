"""Four times what the service sustains, for some seconds: what ``python -m bench.overload`` does for a minute.

How fast is the bench's business; here is what must hold on any machine. That all are refused and told when to come
again, never dropped; that holds get in; that memory is bounded; that nothing acknowledged is lost; that it ends.
"""

from bench.overload import FACTOR, HOLDS_PER_SECOND, measure

ROOM = 200
SECONDS = 5.0
#: What a full queue, its answers and 600 connections may take in all processes together.
MOST_GROWTH_MB = 150.0


def test_four_times_what_is_sustained_hurts_no_hold_and_loses_nothing() -> None:
    found = measure(SECONDS, warm_seconds=2.0, senders=600, usual_senders=16, max_waiting=str(ROOM))
    flood, holds = found.flood, found.holds
    assert found.offered_per_s > 0.9 * FACTOR * found.sustained_per_s
    assert set(flood.statuses) <= {201, 503}, flood.statuses
    assert flood.statuses[503] > 0, "it was no overload"
    assert flood.silent_refusals == 0
    assert len(flood.acknowledged) > found.sustained_per_s, "it goes on taking what it can"
    assert set(holds.statuses) == {201}, holds.statuses
    assert len(holds.acknowledged) > SECONDS * HOLDS_PER_SECOND / 4
    assert holds.percentile(0.5) < 2_000
    assert found.memory_peak_mb - found.memory_before_mb < MOST_GROWTH_MB
    assert found.recovery_seconds < 10
    assert found.lost == []
