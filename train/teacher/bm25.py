"""BM25 as a teacher: bm25s with its defaults, English stopwords, and no stemmer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ..rows import Group


def bm25_scores(groups: Sequence[Group]) -> list[list[float]]:
    """Score each query's passages; the statistics are those of all passages of the groups.

    Args:
        groups: the groups of one source.

    Returns:
        For each group, a score for each passage, rounded.
    """
    import bm25s  # type: ignore[import-untyped]
    from scipy.sparse import csc_matrix, csr_matrix  # type: ignore[import-untyped]

    passages = _numbered(candidate.text for group in groups for candidate in group.candidates)
    tokens = bm25s.tokenize(list(passages), stopwords="en", show_progress=False)
    if not tokens.vocab:
        return [[0.0] * len(group.candidates) for group in groups]
    index = bm25s.BM25()
    index.index(tokens, show_progress=False)
    parts = index.scores  # what each term of each passage adds, as a sparse matrix
    shape = (len(passages), len(parts["indptr"]) - 1)
    terms = csc_matrix((parts["data"], parts["indices"], parts["indptr"]), shape=shape).tocsr()
    queries = _numbered(group.query for group in groups)
    words = bm25s.tokenize(list(queries), stopwords="en", return_ids=False, show_progress=False)
    known = [[index.vocab_dict[word] for word in row if word in index.vocab_dict] for row in words]
    places = np.repeat(np.arange(len(known)), [len(row) for row in known])
    columns = np.array([column for row in known for column in row], dtype=np.int64)
    counts = csr_matrix((np.ones(len(columns)), (places, columns)), shape=(len(known), shape[1]))
    rows = []
    for group in groups:
        own = terms[[passages[candidate.text] for candidate in group.candidates]]
        rows.append((own @ counts[queries[group.query]].T).toarray()[:, 0].round(5).tolist())
    return rows


def _numbered(texts: Iterable[str]) -> dict[str, int]:
    """The different texts, in order, and their numbers."""
    return {text: number for number, text in enumerate(dict.fromkeys(texts))}
