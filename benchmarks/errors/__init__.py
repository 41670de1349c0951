"""Where reranking helped and hurt most, query by query."""
