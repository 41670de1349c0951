"""How fast: a plain loop, other libraries, LimRank, and the hardware's limit."""
