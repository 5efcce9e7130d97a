"""What this process counts: Prometheus counters and histograms, resolved once so that counting is cheap.

Labels are closed sets (types, outcomes, codes), never lot or event ids. What a database knows (deliveries, lots)
is read at scrape time in api/health.py, so that it is right with many processes.
"""

from prometheus_client import Counter

#: Answers to events by CloudEvents type and outcome (applied, refused, parked, stale, duplicate, replayed).
EVENTS = Counter("lotgate_events", "Events answered with a decision", ["type", "outcome"])
#: Requests refused before any decision, by problem code; other routes by HTTP status.
REFUSED = Counter("lotgate_refused_requests", "Requests refused before a decision", ["code"])

