"""Rankers: other ways than one verdict for each passage to turn (query, candidates) into an order, over any engine."""
