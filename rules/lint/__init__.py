"""What is wrong with rules that can be loaded all the same: one check a file."""
