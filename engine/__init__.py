"""The lot, its life and its record: decides and commits."""
