"""Systems that the benchmarks compare: each takes (query, passage, instruction) and returns scores."""
