"""The lotgate command."""
