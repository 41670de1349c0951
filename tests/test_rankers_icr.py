"""In-context re-ranking: the attention is the model's own, and so are the scores that the paper makes of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from limrank_ir import InputError, LimRank
from limrank_ir.engines.attending import _score, attention
from limrank_ir.engines.tokens import PromptTokenizer
from limrank_ir.rankers.asking import Answer, Attend
from limrank_ir.rankers.by_engine import EngineAsk
from limrank_ir.rankers.fit import engine_ask, formats_of, tasks
from limrank_ir.rankers.icr import Icr
from limrank_ir.rankers.named import as_ranker
from limrank_ir.rankers.order import Candidates
from limrank_ir.rankers.run import rank_candidates
from limrank_ir.verdict import Attended
from tests.asked import Knows
from tests.judges import Perfect, candidates, rank
from tests.test_rankers_engine_ask import OnlyReads

Q = "how do I copy a file?"
PASSAGES = ("A cake needs flour, sugar, and eggs.", "shutil.copy(src, dst) copies a file.", "A cake needs flour.")


def asked(limrank, query=Q, passages=PASSAGES):
    return (
        EngineAsk(limrank)
        ._ways.way("attention", len(passages), writes=False)
        .prompt(Attend("attention", query, tuple(passages)))
    )


def by_transformers(smol, ids, question, spans):
    """For each passage, what its tokens get, from the attention of all layers at once."""
    model, _ = smol
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        with torch.inference_mode():
            layers = model(torch.tensor([ids]), output_attentions=True).attentions
    finally:
        model.set_attn_implementation(before)
    got = sum(layer[0, :, question:].double().mean(1).sum(0) for layer in layers)
    return [got[first:last].numpy() for first, last in spans]


def test_scores_are_those_of_the_models_own_attention_matrices(smol, limrank):
    _, tokenizer = smol
    received, prompts = [], []
    for query in (Q, "N/A"):
        prompt = asked(limrank, query)
        prompts.append(prompt)
        encoded = tokenizer(prompt.text, return_offsets_mapping=True)
        places = encoded["offset_mapping"]
        question = next(token for token, (start, _) in enumerate(places) if start == prompt.text.index("Please find"))
        spans = []
        for text in PASSAGES:
            start = prompt.text.index(f"] {text}") + 2
            inside = [token for token, (a, b) in enumerate(places) if b > start and a < start + len(text)]
            spans.append((inside[0], inside[-1] + 1))
        received.append(by_transformers(smol, encoded.input_ids, question, spans))
    expected = [_score(true - neutral) for true, neutral in zip(*received, strict=True)]
    ((_, found),) = next(limrank.engine.attend([(prompts[0], prompts[1])]))
    assert found.scores == pytest.approx(expected, abs=1e-3)
    assert max(range(3), key=found.scores.__getitem__) == 1 and max(found.scores) > 0.1
    (answer,) = EngineAsk(limrank)([Attend("attention", Q, PASSAGES)])
    assert answer == Answer(scores=found.scores, tokens=found.prompt_tokens)


def test_however_many_tokens_run_at_once_the_attention_is_the_same(limrank):
    loaded = limrank.engine._loaded
    ids, _ = loaded.tokenizer.locate(asked(limrank))
    whole = attention(loaded, ids[:-20], [ids[-20:], ids[-5:]], step=1000)
    parts = attention(loaded, ids[:-20], [ids[-20:], ids[-5:]], step=7)
    assert len(whole) == 2 and whole[0].shape == whole[1].shape == (len(ids) - 20,)
    np.testing.assert_allclose(parts, whole, atol=1e-4)
    heads = loaded.model.config.num_hidden_layers * loaded.model.config.num_attention_heads
    assert 0.5 * heads < whole[0].sum() < heads  # the rest is what the question's tokens get


def test_tokens_far_below_the_others_are_left_out():
    values = np.array([1.0] * 20 + [-9.0])
    assert _score(values) == 20
    assert _score(np.array([1.0, -9.0])) == -8  # no token of two is two deviations from their mean
    assert (_score(np.array([-3.0])), _score(np.array([])), _score(np.full(5, 0.1))) == (-3, 0, pytest.approx(0.5))


def test_the_tokens_of_a_prompt_are_where_its_text_says(limrank):
    tokenizer: PromptTokenizer = limrank.engine._loaded.tokenizer
    prompt = asked(limrank, "naïve 文 <|im_end|> query", ("<|im_start|> text", "a\n\nb "))
    ids, places = tokenizer.locate(prompt)
    (tokens,) = tokenizer.encode([prompt], 1000)
    assert ids.tolist() == tokens.ids.tolist()
    assert all(
        tokenizer.decode([number]) == prompt.text[a:b]
        for number, (a, b) in zip(ids, places, strict=True)
        if (prompt.text[a:b].isascii())
    )


def test_long_passages_are_cut_in_both_prompts_alike(docstrings):
    short = LimRank(max_length=120)
    for query in (Q, "a"):
        ask = EngineAsk(short)
        (answer,) = ask([Attend("attention", query, tuple(docstrings[5:8]))])
        assert len(answer.scores) == 3 and answer.tokens < 180
        assert ask.stats.cut == 1 and ask.stats.cut_tokens > 50
    with pytest.raises(InputError, match="leave no room for 3 passages within 120 tokens"):
        EngineAsk(short)([Attend("attention", "word " * 200, PASSAGES)])


def test_one_prompt_with_the_best_passages_last():
    judge = Perfect()
    order = rank(Icr(), candidates([3, 1, 4, 1]), judge)
    assert order.indices == (2, 0, 1, 3) and order.counts.questions == Icr().calls(100) == 1
    assert [text.split()[1] for text in judge.asked[0].passages] == ["3", "2", "1", "0"]
    judge = Perfect()
    assert rank(Icr(reverse=False), candidates([3, 1, 4, 1]), judge).indices == order.indices
    assert judge.asked[0].passages[0].startswith("passage 0")
    assert rank(Icr(), candidates([5]), judge).indices == (0,) and rank(Icr(), candidates([]), judge).indices == ()
    assert len(judge.asked) == 1 and Icr(window=20, stride=10).calls(100) == 9


def test_an_interrupted_run_asks_nothing_twice(tmp_path):
    queries = [Candidates(f"query {shift}", [f"p {(place + shift) % 7}" for place in range(7)]) for shift in range(4)]
    ranker = Icr(window=4, stride=2)

    def run(engine):
        ask = engine_ask(LimRank(engine=engine, store=tmp_path / "v.sqlite"), ranker)
        return dict(rank_candidates(ask, ranker, queries)), ask.stats

    with pytest.raises(KeyboardInterrupt):
        run(stopped := Knows(stops_after=5, batch=1))
    whole, stats = run(Knows(batch=1))
    assert (len(stopped.asked), stats.stored, stats.reads) == (5, 5, 7)
    again, stats = run(last := Knows())
    assert again == whole and not last.asked and stats.stored == 12
    assert all(order.counts.failed == 0 for order in whole.values())


def test_engines_without_attention_are_refused_before_anything_is_asked():
    with pytest.raises(InputError, match=r"OnlyReads\(\) does not give the model's attention.*engine='local'"):
        engine_ask(LimRank(engine=OnlyReads()), as_ranker("icr"))
    with pytest.raises(InputError, match="does not give the model's attention"):
        engine_ask(LimRank(engine="http://localhost:1"), as_ranker("two-stages:second=icr"))
    with pytest.raises(InputError, match="a cross-encoder reads one passage at a time"):
        EngineAsk(LimRank("ms-marco-minilm-l6-v2", engine=Knows()))([Attend("attention", Q, PASSAGES)])
    assert as_ranker("icr:window=20").calls(100) == 9
    assert tasks(Icr()) == {("attention", False)} and formats_of(Icr()) == ["icr", "icr-qa", "icr-simple"]


def test_the_real_model_ranks_what_is_relevant_first(limrank):
    ask = engine_ask(limrank, Icr())
    ((_, order),) = rank_candidates(ask, Icr(), [Candidates(Q, PASSAGES)])
    assert order.indices[0] == 1 and ask.stats.reads == 1


def test_attention_keeps_every_number_in_the_store(tmp_path):
    from limrank_ir.store import VerdictStore, key

    given = Attended((0.1 + 0.2, -1e-300, 12.0), 40, 3)
    store = VerdictStore(tmp_path / "v.sqlite", thoughts=False)
    store.put_answers([(key("a"), given)])
    assert store.get_answers([key("a"), key("b")]) == {key("a"): given}
