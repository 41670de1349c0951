"""BRIGHT: reasoning-intensive retrieval, by the official protocol."""
