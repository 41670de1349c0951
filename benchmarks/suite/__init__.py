"""Rerankers measured on many test collections: ``limrank bench suite DIR…``."""
