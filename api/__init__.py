"""The faces that people and systems see: HTTP today, the command line in ``api/cli``."""
