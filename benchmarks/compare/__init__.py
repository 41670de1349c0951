"""Compare two runs of the same topics, as a reproduction is compared with the original."""
