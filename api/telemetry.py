"""What the HTTP face counts by itself: requests refused before any decision, and how long decisions take.

Labels are closed sets (problem codes, types of events), never lot or event ids. What the pipeline and the database
know is read at scrape time in api/health.py.
"""

from prometheus_client import Counter, Histogram

#: Requests and items refused before a decision, by problem code.
REFUSED = Counter("lotgate_refused_requests", "Requests refused before a decision", ["code"])
#: From the moment an event is taken to its durable answer, by type. A hold's 99th percentile has to stay below 0.1 s.
DECIDED = Histogram(
    "lotgate_decision_seconds",
    "From an event taken to its durable answer",
    ["type"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)


def timed(kind: str, seconds: float) -> None:
    """An event of type ``kind`` was decided in ``seconds``."""
    DECIDED.labels(kind).observe(seconds)
