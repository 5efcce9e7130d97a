"""For whoever sends events to Lotgate from Python: calls that are retried, and a spool on disk for when it is away."""
