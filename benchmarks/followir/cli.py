"""The command ``limrank bench followir``."""

from __future__ import annotations


def followir() -> None:
    """FollowIR: does a reranker follow instructions?"""
    raise NotImplementedError  # TEMPORARY
