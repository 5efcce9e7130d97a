"""The tables, a room for each kind of what they keep."""
