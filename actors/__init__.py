"""What happens after a commit: targets are told, in order, until they agree."""
