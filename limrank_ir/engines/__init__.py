"""Engines: what runs a language model over prompts and returns verdicts."""
