"""First stages: BM25 with PISA, and dense retrieval with sentence encoders."""
