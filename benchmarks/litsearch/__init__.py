"""LitSearch: finding the papers that a question of a researcher means."""
