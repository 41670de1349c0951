"""Positives of related queries as negatives: they help somebody, so nothing in them gives their label away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from .guidelines import Guidelines
from .records import Outline, WrittenPassage

MOST = 2
"""How many other queries may borrow a passage."""


def borrow(
    outlines: Sequence[Outline], passages: Sequence[WrittenPassage], guidelines: Guidelines
) -> list[WrittenPassage]:
    """Give queries the positives of other queries that are most like them, as their guidelines ask.

    Likeness is the cosine of tf-idf vectors of the query and the passage, rounded. Embeddings would see more, but they
    differ a little between machines, and this choice decides what the judge is asked.

    Args:
        outlines: the queries.
        passages: their passages, of which positives are borrowed.
        guidelines: which kinds of negatives are borrowed.

    Returns:
        The borrowed passages, to be judged like all others. A query that shares no word with any positive gets none.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    positives = [passage for passage in passages if passage.intended]
    wanted = [
        (outline.query, place, kind)
        for outline in outlines
        for place, kind in enumerate(outline.query.brief.negatives, 1)
        if guidelines.made(kind) == "borrowed"
    ]
    if not positives or not wanted:
        return []
    vectors = TfidfVectorizer(sublinear_tf=True, stop_words="english")
    theirs = vectors.fit_transform([passage.text for passage in positives])
    likeness = vectors.transform([query.text for query, _, _ in wanted]) @ theirs.T
    found: list[WrittenPassage] = []
    uses: Counter[str] = Counter()
    for (query, place, kind), row in zip(wanted, likeness.toarray().round(6), strict=True):
        own = {query.id, *(each.source for each in found if each.query == query.id)}
        free = [
            (-like, number)
            for number, (like, passage) in enumerate(zip(row.tolist(), positives, strict=True))
            if like > 0 and not {passage.query, passage.id} & own and uses[passage.id] < MOST
        ]
        if free:
            chosen = positives[min(free)[1]]
            uses[chosen.id] += 1
            found.append(
                chosen.model_copy(
                    update={"id": f"{query.id}-p{place}", "query": query.id, "kind": kind, "source": chosen.id}
                )
            )
    return found
