"""Pairs come in many forms; what would be misread is refused, never judged."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from limrank_ir import InputError, LimRank
from limrank_ir.mteb import MtebCrossEncoder
from tests.engines import reading


class Lengths:
    """An engine whose log-odds are the length of the passage, and which records what it read."""

    identity = "lengths"

    def __init__(self):
        self.read = []

    def read_labels(self, prompts, labels, *, think, budget, done=frozenset()):
        self.read += [prompt.passage for prompt in prompts]
        yield [(index, reading(float(len(prompt.passage)))) for index, prompt in enumerate(prompts)]


@pytest.fixture
def limrank():
    return LimRank(engine=Lengths())


PAIRS = [("q", "a"), ("q", "bbb")]
SHAPES = {
    "a list": PAIRS,
    "a tuple": tuple(PAIRS),
    "lists": [list(pair) for pair in PAIRS],
    "a generator": (pair for pair in PAIRS),
    "an array": np.array(PAIRS),
    "an array of objects": np.array(PAIRS, dtype=object),
    "rows of a frame": pd.DataFrame(PAIRS).to_numpy(),
    "with instructions": [(*pair, "as a source") for pair in PAIRS],
    "without some": [(*PAIRS[0], None), (*PAIRS[1], "as a source")],
    "columns": zip(pd.Series(["q", "q"], index=[5, 9]), ["a", "bbb"], strict=True),
}


@pytest.mark.parametrize("pairs", SHAPES.values(), ids=SHAPES)
def test_pairs_in_many_forms(limrank, pairs):
    assert limrank.predict(pairs).tolist() == [1.0, 3.0]


REFUSED = {
    "dictionaries": ([{"query": "q", "passage": "p"}], r"pair 0: of type dict; give \(query, passage\)"),
    "a dictionary": ({"q": "p"}, "pairs: of type dict; give a list"),
    "one text": ("ab", r"pairs: one text \('ab'\)"),
    "texts": (["ab", "cd", "ef", "gh"], r"pair 0: one text \('ab'\)"),
    "a number": (3, "pairs: of type int"),
    "nothing": (None, "pairs: None"),
    "a set": ({("q", "p")}, "pairs: of type set"),
    "pairs without order": ([{"q", "p"}], "pair 0: of type set"),
    "an empty pair": ([()], "pair 0: 0 parts"),
    "missing passages": ([("q", float("nan"))], "the passage is of type float"),
    "missing instructions": ([("q", "p", float("nan"))], "the instruction is of type float"),
    "bytes": ([("q", b"p")], "the passage is of type bytes"),
}


@pytest.mark.parametrize(("pairs", "message"), REFUSED.values(), ids=REFUSED)
def test_pairs_that_would_be_misread_are_refused(limrank, pairs, message):
    with pytest.raises(InputError, match=message):
        limrank.predict(pairs)
    assert limrank.engine.read == []


PASSAGES = {
    "a tuple": ("a", "bbb"),
    "a generator": (text for text in ["a", "bbb"]),
    "an array": np.array(["a", "bbb"]),
    "a column": pd.Series(["a", "bbb"], index=[7, 3]),
}


@pytest.mark.parametrize("passages", PASSAGES.values(), ids=PASSAGES)
def test_passages_in_many_forms(limrank, passages):
    ranked = limrank.rank("q", passages, first_stage_scores=[2, 1], fuse=1.0)
    assert [(passage.index, passage.text) for passage in ranked] == [(1, "bbb"), (0, "a")]


@pytest.mark.parametrize(
    ("passages", "message"),
    [
        ("abc", r"passages: one text \('abc'\)"),
        ({"d1": "abc"}, "passages: of type dict"),
        (None, "passages: None"),
        (["a", None], "pair 1: the passage is None"),
        ([{"text": "a"}], "pair 0: the passage is of type dict"),
    ],
)
def test_passages_that_would_be_misread_are_refused(limrank, passages, message):
    with pytest.raises(InputError, match=message):
        limrank.rank("q", passages)
    assert limrank.engine.read == []


@pytest.mark.parametrize("documents", [[{"image": [0]}], [{"id": ["d1"], "title": ["t"]}], [{}]])
def test_mteb_batches_without_text_are_refused(limrank, documents):
    with pytest.raises(InputError, match=r"a batch of documents has only .*; LimRank needs text"):
        MtebCrossEncoder(limrank).predict([{"text": ["q"]}], documents, show_progress_bar=False)
