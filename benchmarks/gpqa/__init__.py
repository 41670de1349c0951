"""GPQA: what reranked passages are worth to a reader that answers hard questions."""
