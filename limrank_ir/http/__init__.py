"""LimRank over HTTP: ``limrank serve``, or `create_app` for your own server."""

from __future__ import annotations

from limrank_ir.http.app import Limits, create_app

__all__ = ["Limits", "create_app"]
