"""LimRankCrossEncoder in place of a CrossEncoder: its arguments, its results, and sentence-transformers' evaluators."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch

from limrank_ir import InputError, LimRank
from limrank_ir.sentence_transformers import LimRankCrossEncoder

QUERY = "how do I copy a file in Python?"
PASSAGES = [
    "Bake the cake at 180 degrees for forty minutes.",
    "shutil.copy(src, dst) copies the file src to the file or folder dst.",
    "os.rename(src, dst) gives a file or folder another name.",
]
PAIRS = [(QUERY, text) for text in PASSAGES]


@pytest.fixture(scope="module")
def model() -> LimRankCrossEncoder:
    return LimRankCrossEncoder(LimRank())


def test_the_reranking_evaluator_accepts_it(model):
    from sentence_transformers.cross_encoder.evaluation import CrossEncoderRerankingEvaluator

    order = [hit["corpus_id"] for hit in model.rank(QUERY, PASSAGES)]
    rank = order.index(1) + 1
    samples = [{"query": QUERY, "positive": [PASSAGES[1]], "documents": [PASSAGES[0], PASSAGES[2], PASSAGES[1]]}]
    figures = CrossEncoderRerankingEvaluator(samples, at_k=10, name="small", write_csv=False)(model)
    assert figures["small_mrr@10"] == pytest.approx(1 / rank) and figures["small_base_mrr@10"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("method", ["predict", "rank"])
def test_its_arguments_are_those_of_a_cross_encoder(method):
    from sentence_transformers import CrossEncoder

    theirs = inspect.signature(getattr(CrossEncoder, method)).parameters
    ours = inspect.signature(getattr(LimRankCrossEncoder, method)).parameters
    assert set(ours) <= set(theirs)
    assert [name for name in theirs if name in ours] == list(ours)
    assert all(ours[name].default == theirs[name].default for name in ("top_k", "return_documents") if name in ours)


def test_predict_gives_arrays_tensors_and_scalars(model):
    scores = model.predict(PAIRS)
    assert scores.dtype == np.float64 and scores.shape == (3,)
    one = model.predict(PAIRS[0])
    assert np.shape(one) == () and float(one) == pytest.approx(scores[0], abs=1e-3)
    tensor = model.predict(PAIRS, batch_size=2, convert_to_tensor=True)
    assert isinstance(tensor, torch.Tensor) and tensor.tolist() == pytest.approx(scores.tolist(), abs=1e-3)
    assert model.predict(PAIRS[0], convert_to_tensor=True).shape == ()
    assert model.predict([]).shape == (0,) and model.predict([], convert_to_tensor=True).shape == (0,)


def test_an_activation_makes_probabilities(model):
    verdicts = model.limrank.judge(PAIRS)
    found = model.predict(PAIRS, activation_fn=torch.nn.Sigmoid())
    assert found.tolist() == pytest.approx([verdict.probability for verdict in verdicts], abs=1e-3)
    ranked = model.rank(QUERY, PASSAGES, activation_fn=torch.nn.Sigmoid())
    assert [hit["score"] for hit in ranked] == pytest.approx(sorted(found, reverse=True), abs=1e-3)


def test_a_prompt_is_an_instruction_for_pairs_without_one(model):
    prompt = "Only official documentation is relevant."
    own = (QUERY, PASSAGES[1], "Only recipes are relevant.")
    expected = model.limrank.predict([(*PAIRS[0], prompt), (*PAIRS[2], prompt), own])
    found = model.predict([PAIRS[0], (*PAIRS[2], None), own], prompt=prompt)
    assert found.tolist() == pytest.approx(expected.tolist(), abs=1e-3)
    assert model.predict([PAIRS[0]], prompt=prompt)[0] != pytest.approx(model.predict([PAIRS[0]])[0], abs=1e-3)


def test_rank_gives_dictionaries_best_first(model):
    scores = model.predict(PAIRS)
    ranked = model.rank(QUERY, PASSAGES)
    assert [set(hit) for hit in ranked] == [{"corpus_id", "score"}] * 3
    assert [hit["corpus_id"] for hit in ranked] == np.argsort(-scores).tolist()
    assert all(type(hit["corpus_id"]) is int and type(hit["score"]) is float for hit in ranked)
    top = model.rank(QUERY, PASSAGES, top_k=1, return_documents=True)
    assert top == [{**ranked[0], "score": pytest.approx(ranked[0]["score"], abs=1e-3), "text": PASSAGES[1]}]
    assert model.rank(QUERY, []) == []
    assert [hit["corpus_id"] for hit in model.rank(QUERY, ["same", "same", "same"])] == [0, 1, 2]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model: model.predict(PAIRS, prompt_name="query"), "prompt_name is 'query', but LimRank has no named"),
        (lambda model: model.rank(QUERY, PASSAGES, prompt_name="query"), "prompt_name is 'query'"),
        (lambda model: model.rank(QUERY, PASSAGES, top_k=0), "top_k is 0; it must be at least 1"),
        (lambda model: model.rank(QUERY, "one text"), r"documents: one text \('one text'\); give a list"),
        (lambda model: model.predict([("q", None)]), "pair 0: the passage is None"),
        (lambda model: model.predict([("q",)]), "pair 0: 1 parts"),
        (lambda model: model.predict(["qp"], prompt="x"), r"pair 0: one text \('qp'\); give \(query, passage\)"),
        (lambda model: model.predict([None], prompt="x"), "pair 0: None; give"),
        (lambda model: LimRankCrossEncoder(model.limrank, think="always"), "think: set these on the LimRank itself"),
    ],
)
def test_errors(model, call, message):
    with pytest.raises(InputError, match=message):
        call(model)
