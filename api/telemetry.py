"""What the HTTP face counts by itself: requests refused before any decision.

Labels are closed sets (problem codes), never lot or event ids. What the pipeline and the database know is
read at scrape time in api/health.py.
"""

from prometheus_client import Counter

#: Requests and items refused before a decision, by problem code.
REFUSED = Counter("lotgate_refused_requests", "Requests refused before a decision", ["code"])
