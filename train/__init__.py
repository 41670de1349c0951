"""Training LimRank adapters (installed as `limrank_ir.train`)."""
