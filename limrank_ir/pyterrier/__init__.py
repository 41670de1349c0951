"""LimRank in PyTerrier: ``bm25 % 100 >> text >> LimRankReranker()``.

Long documents: ``SlidingWindows(200, 100) >> LimRankReranker() >> pt.text.max_passage()`` ranks each document by its
best window and keeps that window's reasoning. Unlike PyTerrier's `pt.text.sliding`, it never drops the end of a
document. A second opinion to fuse: ``DenseScores() >> LimRankReranker(fuse={"score": 1, "minilm": 1, "limrank": 1})``.
Sub-questions: ``Decompose(split) >> bm25 >> MergePools() >> text >> LimRankReranker()``. A sentence encoder that sees
the candidates: ``E2Rank()``. Rewritten queries: put ``pt.rewrite.reset()`` in front.
"""

from limrank_ir.pyterrier.decompose import Decompose as Decompose
from limrank_ir.pyterrier.decompose import MergePools as MergePools
from limrank_ir.pyterrier.dense import DenseScores as DenseScores
from limrank_ir.pyterrier.e2rank import E2Rank as E2Rank
from limrank_ir.pyterrier.reranker import LimRankReranker as LimRankReranker
from limrank_ir.pyterrier.subquestions import SubQuestions as SubQuestions
from limrank_ir.pyterrier.windows import SlidingWindows as SlidingWindows
