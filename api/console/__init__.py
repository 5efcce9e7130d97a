"""The web console: what quality people and operators see and do in a browser, rendered here, no build step."""
