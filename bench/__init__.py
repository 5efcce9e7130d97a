"""Benchmarks: figures and ratios measured in one run, beside an honest peer and a ceiling. Never a timed test."""
