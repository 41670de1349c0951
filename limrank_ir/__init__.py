"""LimRank-IR: rerank passages with a language model that reasons.

>>> from limrank_ir import LimRank
>>> ranking = LimRank().rank("how do I copy a file?", ["shutil.copy copies a file", "a cake"])  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from limrank_ir.errors import EngineError, InputError, LimRankError
    from limrank_ir.ranking.fusion import fuse
    from limrank_ir.reranker import LimRank
    from limrank_ir.verdict import Ranked, Verdict

__version__ = "0.1.0"
__all__ = [
    "EngineError",
    "InputError",
    "LimRank",
    "LimRankError",
    "Ranked",
    "Verdict",
    "__version__",
    "fuse",
]

_MODULES = {
    "EngineError": "errors",
    "InputError": "errors",
    "LimRank": "reranker",
    "LimRankError": "errors",
    "Ranked": "verdict",
    "Verdict": "verdict",
    "fuse": "ranking.fusion",
}


def __getattr__(name: str) -> Any:
    """Import names on first use, so that `import limrank_ir` is fast."""
    if name in _MODULES:
        from importlib import import_module

        return getattr(import_module(f"limrank_ir.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'limrank_ir' has no attribute {name!r}")
