"""Connectors: one YAML file a target, and the little code that runs them."""
