"""BRIGHT: reasoning-intensive retrieval (arXiv 2407.12883), by the official protocol: ``limrank bench bright``."""
