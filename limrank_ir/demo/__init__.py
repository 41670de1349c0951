"""A demonstration collection that needs no download: the documentation strings of Python's standard library."""
