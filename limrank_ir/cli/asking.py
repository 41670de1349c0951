"""Asking the model about all candidates, with a progress bar. After Ctrl-C, the error says what was kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from limrank_ir.cli import console

if TYPE_CHECKING:
    from limrank_ir.reranker import LimRank
    from limrank_ir.verdict import Verdict

NOTHING_KEPT = "nothing was kept; use --store FILE to make a run resumable"


def judged(limrank: LimRank, pairs: Sequence[tuple[str, str, str | None]]) -> list[Verdict]:
    """Judge pairs (`limrank_ir.LimRank.judge`)."""
    done = 0

    def count_and_advance(count: int) -> None:
        nonlocal done
        done += count
        advance(count)

    store = limrank.store  # opened now, so that an unusable store is reported before the model loads
    try:
        with console.progress(limrank.model.name, len(pairs), "pairs", tokens_per_second(limrank)) as advance:
            return limrank.judge(pairs, progress=count_and_advance)
    except KeyboardInterrupt:
        kept = NOTHING_KEPT
        if store is not None:
            kept = f"{done} verdicts are in {store.path}; run the same command again to continue"
        raise KeyboardInterrupt(f"interrupted after {done} of {len(pairs)} pairs; {kept}") from None


def tokens_per_second(limrank: LimRank) -> Callable[[], str]:
    """What says how fast tokens are read and generated, also while no thought is finished."""
    started = time.monotonic()

    def rate() -> str:
        tokens = limrank.tokens / (time.monotonic() - started)
        return f"{tokens:,.0f} tokens/s" if tokens else ""

    return rate
