"""Training of LimRank adapters (installed as `limrank_ir.train`)."""
