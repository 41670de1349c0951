"""What stub engines return."""

from __future__ import annotations

from limrank_ir.verdict import Reading


def reading(log_odds: float, prompt_tokens: int = 1) -> Reading:
    """A reading of two labels whose log-odds are exactly these."""
    return Reading((min(log_odds, 0.0), min(-log_odds, 0.0)), None, prompt_tokens, 0, "verdict")
