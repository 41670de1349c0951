"""Metadata in the heads of runs."""
