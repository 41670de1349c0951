"""First stages: BM25 by PISA, and dense retrieval by sentence encoders."""
