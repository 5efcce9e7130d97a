"""Rule files in, verdicts out. Knows no lot, no database, no clock."""
