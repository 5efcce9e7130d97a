"""What comes in as rows: files that others drop, lists that have to be fetched; they become events or records."""
