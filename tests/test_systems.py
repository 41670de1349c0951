"""The baselines of ``limrank bench suite``: other libraries' rerankers, by name."""

from __future__ import annotations

import gc
import importlib.util
import re
import weakref
from pathlib import Path

import pytest
import torch

from limrank_ir import InputError, LimRank
from limrank_ir.benchmarks.systems.by_name import read_systems
from limrank_ir.models import ModelOptions
from limrank_ir.weights import _gguf
from tests import chat_server, classifiers, llama_server, tiny

PAIRS = [
    ("copy a file", "shutil.copy copies a file to another place", None),
    ("copy a file", "os.remove deletes a file", None),
    ("copy a file", "a cake needs flour", None),
    ("flour for a cake", "a cake needs flour", "Only sweet things."),
    ("flour for a cake", "os.remove deletes a file", "Only sweet things."),
]


def system(name, tmp_path, **options):
    (found,) = read_systems([name], ModelOptions(**options), tmp_path / "verdicts.sqlite")
    return found


def score(found, pairs=PAIRS):
    steps = []
    scores, work = found.start()(pairs, steps.append)
    assert sum(steps) == len(pairs) == len(scores) == work.pairs
    return scores, work


def without(folder: Path, part: str) -> None:
    """Remove tensors from a folder."""
    from safetensors.torch import load_file, save_file

    file = folder / "model.safetensors"
    tensors = load_file(file)
    kept = {name: tensor for name, tensor in tensors.items() if part not in name}
    assert len(kept) < len(tensors)
    save_file(kept, file, metadata={"format": "pt"})


# Dense


@pytest.fixture
def encoder(tmp_path):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling
    from transformers import AutoModel

    source = classifiers.make(tmp_path / "source", "bert", max_position_embeddings=64)
    AutoModel.from_pretrained(source).save_pretrained(source)
    word = Transformer(str(source))
    model = SentenceTransformer(
        modules=[word, Pooling(64)],
        prompts={"query": "copy: ", "document": "jumps over "},
        similarity_fn_name="dot",
        device="cpu",
    )
    model.save_pretrained(str(tmp_path / "encoder"))
    return tmp_path / "encoder"


def test_any_sentence_encoder_scores_by_its_own_similarity_with_its_own_prompts(encoder, tmp_path):
    found = system(f"dense:{encoder}", tmp_path)
    assert (found.label, found.reads) == ("encoder", "query")
    scores, work = score(found)
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(encoder), device="cpu")
    for (query, passage, _), ours in zip(PAIRS, scores, strict=True):
        expected = model.encode(f"copy: {query}") @ model.encode(f"jumps over {passage}")
        assert ours == pytest.approx(float(expected), rel=1e-4)
    assert work.judged == 5 and work.tokens > 0


def test_an_encoder_that_lacks_weights_is_refused(encoder, tmp_path):
    without(encoder, "attention.self.query.weight")
    with pytest.raises(InputError, match=r"lacks the tensors encoder\.layer\.0.*random numbers"):
        system(f"dense:{encoder}", tmp_path).start()


def test_an_encoder_needs_no_pooler_of_its_own(encoder, tmp_path):
    expected, _ = score(system(f"dense:{encoder}", tmp_path))
    without(encoder, "pooler")
    assert score(system(f"dense:{encoder}", tmp_path))[0] == pytest.approx(expected, rel=1e-5)


# Cross-encoders


def test_a_cross_encoder_that_lacks_its_head_is_refused(tmp_path):
    folder = classifiers.make(tmp_path / "cross", "bert")
    scores, _ = score(system(f"cross-encoder:{folder}", tmp_path))
    ours = LimRank(str(folder), prompt_format="cross-encoder")
    assert scores[:3] == pytest.approx(ours.predict(PAIRS[:3]).tolist(), abs=1e-4)
    without(folder, "classifier")
    with pytest.raises(InputError, match=r"lacks the tensors classifier\.bias, classifier\.weight; the scores"):
        system(f"cross-encoder:{folder}", tmp_path).start()


@pytest.fixture(scope="module")
def logit_score(tmp_path_factory, smol_folder):
    """A causal model in a folder of sentence-transformers, with a prompt of its own."""
    from sentence_transformers import CrossEncoder
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.cross_encoder.modules import LogitScore

    base = tiny.make(tmp_path_factory.mktemp("base"), smol_folder, "qwen3", head_dim=16)
    word = Transformer(str(base), transformer_task="text-generation")
    word.tokenizer.chat_template = (
        "{%- for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{%- endfor %}Relevant:"
    )
    word.input_formatter.message_format = word.modality_config["message"]["format"] = "flat"
    ids = word.tokenizer.convert_tokens_to_ids(["yes", "no"])
    model = CrossEncoder(modules=[word, LogitScore(*ids)], prompts={"own": "Mine."}, default_prompt_name="own")
    folder = tmp_path_factory.mktemp("logit")
    model.save_pretrained(str(folder))
    return folder


def test_a_causal_cross_encoder_reads_the_instruction(logit_score, tmp_path):
    found = system(f"cross-encoder:{logit_score}", tmp_path)
    assert found.reads == "query and instruction" and found.log_odds
    scores, work = score(found)
    assert scores == pytest.approx(LimRank(str(logit_score)).predict(PAIRS), abs=1e-3)
    bare, _ = score(found, [(query, passage, None) for query, passage, _ in PAIRS])
    assert bare[:3] == pytest.approx(scores[:3], abs=1e-4) and abs(bare[3] - scores[3]) > 1e-3
    verdicts = LimRank(str(logit_score)).judge(PAIRS[:3])
    # the template's own tokens count, too
    assert work.pair_tokens[:3] == pytest.approx([verdict.prompt_tokens for verdict in verdicts], abs=1)


def test_another_prompt_is_another_system(logit_score, tmp_path):
    before = system(f"cross-encoder:{logit_score}", tmp_path).identity
    template = logit_score / "chat_template.jinja"
    text = template.read_text()
    try:
        template.write_text(text.replace("Relevant:", "Good:"))
        assert system(f"cross-encoder:{logit_score}", tmp_path).identity != before
    finally:
        template.write_text(text)


# RankLLM's pointwise models

rank_llm = pytest.mark.skipif(importlib.util.find_spec("rank_llm") is None, reason="rank-llm is not installed")


@pytest.fixture
def monot5(tmp_path):
    """A random T5 with a tokenizer that knows true and false."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import T5Config, T5ForConditionalGeneration, T5Tokenizer

    words = ["▁" + word for _, passage, _ in PAIRS for word in passage.split()]
    pieces = ["<pad>", "</s>", "<unk>", "▁true", "▁false", "▁Query:", "▁Document:", "▁Relevant:", "▁", *words]
    vocabulary = [(piece, -2.0) for piece in dict.fromkeys([*pieces, *"abcdefghijklmnopqrstuvwxyz.()0123456789[]:"])]
    backend = Tokenizer(models.Unigram(vocabulary, unk_id=2))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    folder = tmp_path / "monot5"
    T5Tokenizer(vocab=vocabulary, extra_ids=0, model_max_length=512).save_pretrained(folder)
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=len(vocabulary),
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        decoder_start_token_id=0,
        pad_token_id=0,
        eos_token_id=1,
    )
    model = T5ForConditionalGeneration(config)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    return folder


@rank_llm
def test_monot5_gives_the_scores_of_rank_llms_own_reranker(monot5, tmp_path, capsys):
    from rank_llm.data import Candidate, Query, Request
    from rank_llm.rerank import Reranker
    from rank_llm.rerank.pointwise.monot5 import MonoT5

    found = system(f"rank-llm-pointwise:{monot5}", tmp_path)
    scores, work = score(found)
    captured = capsys.readouterr()
    assert captured.out == "" and "it/s" not in captured.err
    candidates = [Candidate(str(place), 0.0, {"text": PAIRS[place][1]}) for place in range(3)]
    theirs = Reranker(MonoT5(str(monot5), device="cpu")).rerank_batch([Request(Query(PAIRS[0][0], "q"), candidates)])
    by_docid = {candidate.docid: candidate.score for candidate in theirs[0].candidates}
    assert scores[:3] == pytest.approx([by_docid[str(place)] for place in range(3)], abs=1e-5)
    assert len(set(scores)) > 3 and all(0 <= value <= 1 for value in scores)
    assert work.cut == 0 and sum(work.pair_tokens) == work.tokens > 50


@rank_llm
def test_monot5_counts_what_it_cuts(monot5, tmp_path):
    _, work = score(
        system(f"rank-llm-pointwise:{monot5}", tmp_path, max_length=128), [("a cake", "flour " * 300, None)]
    )
    assert work.cut == 1 and work.cut_tokens > 200 and work.tokens < 128


@rank_llm
def test_monot5_without_a_tensor_is_refused(monot5, tmp_path):
    without(monot5, "decoder.block.1")
    with pytest.raises(InputError, match=r"lacks the tensors decoder\.block\.1"):
        system(f"rank-llm-pointwise:{monot5}", tmp_path).start()


@rank_llm
def test_a_query_that_leaves_no_room_is_one_clear_line(monot5, tmp_path):
    with pytest.raises(InputError, match="RankLLM cannot make a prompt of at most 512 tokens for the query 'cake"):
        score(system(f"rank-llm-pointwise:{monot5}", tmp_path), [("cake " * 600, "flour", None)])


# RankLLM's listwise method


def numbers(body):
    """The number behind each passage of a window, in its order."""
    return [int(number) for number in re.findall(r"\[\d+\] passage number (\d+)", body["messages"][-1]["content"])]


def by_number(body):
    """A perfect listwise model: the passage with the highest number is the best one."""
    found = numbers(body)
    order = sorted(range(len(found)), key=lambda place: -found[place])
    return chat_server.said(" > ".join(f"[{place + 1}]" for place in order))


PASSAGES = [("which is high?", f"passage number {number}", None) for number in (3, 1, 4, 15, 9, 2, 6, 5, 35, 8, 97)]
MANY = [("which is high?", f"passage number {number}", None) for number in range(30)]


@rank_llm
def test_listwise_scores_are_minus_ranks_and_answers_are_kept(tmp_path, caplog, capsys):
    with chat_server.serving(by_number) as server:
        found = system(f"rank-llm-listwise:{server.url}", tmp_path)
        assert (found.label, found.reads) == ("rank-llm-listwise-model", "query")
        scores, work = score(found, [*PASSAGES, *PAIRS[:1]])
        order = sorted(range(len(PASSAGES)), key=lambda place: -scores[place])
        assert [PASSAGES[place][1][15:] for place in order[:4]] == ["97", "35", "15", "9"]
        assert sorted(scores[:-1], reverse=True) == [-float(rank) for rank in range(1, 12)] and scores[-1] == -1
        assert (work.judged, work.forced, work.tokens) == (11, 0, 150)  # one candidate alone needs no question
        assert len(server.asked) == 1 and server.asked[0]["temperature"] == 0
        again, resumed = score(found, [*PASSAGES, *PAIRS[:1]])
        assert again == scores and len(server.asked) == 1 and resumed.judged == 0
        assert found.fresh()(PASSAGES, lambda count: None)[1].judged == 11 and len(server.asked) == 2
    assert caplog.messages == [] and capsys.readouterr().out == ""


@rank_llm
def test_windows_slide_from_the_end(tmp_path):
    with chat_server.serving(by_number) as server:
        scores, work = score(system(f"rank-llm-listwise:model@{server.url}", tmp_path), MANY)
        assert [len(numbers(body)) for body in server.asked] == [20, 20]
    assert sorted(range(30), key=lambda place: -scores[place])[:10] == list(range(29, 19, -1))
    assert work.judged == 30


@rank_llm
def test_malformed_answers_are_counted_and_said(tmp_path, caplog):
    answers = {"which is high?": "The best is [3].", "copy a file": "[2] > [2] > [1]", "flour for a cake": "[2]"}

    def answer(body):
        text = body["messages"][-1]["content"]
        return chat_server.said(next(said for query, said in answers.items() if f"Search Query: {query}." in text))

    with chat_server.serving(answer) as server:
        scores, work = score(system(f"rank-llm-listwise:{server.url}", tmp_path), [*PASSAGES, *PAIRS])
    assert scores[2] == -1 and scores[:2] == [-2, -3]  # what is not named keeps its order
    assert scores[11:] == [-2, -1, -3, -2, -1]
    assert work.forced == 16
    (message,) = caplog.messages
    assert message == "model: 3 of 3 answers are malformed (wrong format 1, repetition 1, missing documents 1)"


@rank_llm
def test_a_server_that_fails_is_an_error_and_never_an_order(tmp_path):
    def refuse(body):
        return {"error": {"message": "the context is full", "code": 400}}

    with chat_server.serving(refuse, status=400) as server, pytest.raises(InputError, match="the context is full"):
        score(system(f"rank-llm-listwise:{server.url}", tmp_path), PASSAGES)


@rank_llm
def test_passages_are_cut_to_fit_into_the_window(tmp_path):
    pairs = [("which is high?", f"passage number {number} " + "word " * 400, None) for number in range(10)]
    with chat_server.serving(by_number) as server:
        _, work = score(system(f"rank-llm-listwise:{server.url}", tmp_path, max_length=1024), pairs)
        (body,) = server.asked
    words = len(body["messages"][-1]["content"].split())
    assert 300 < words < 1024 * 0.75 and work.cut == 10 and work.cut_tokens > 3000


@rank_llm
def test_a_real_server_ranks_all_passages(tmp_path):
    """SmolLM2 does not follow RankLLM's instructions; what matters is that each passage has a rank, and it is said."""
    pytest.importorskip("xllamacpp")
    with llama_server.serving(_gguf()) as url:
        found = system(f"rank-llm-listwise:{url}", tmp_path, max_length=llama_server.CONTEXT)
        scores, work = score(found, PAIRS[:3])
    assert sorted(scores) == [-3, -2, -1]
    assert work.tokens > 150 and work.judged == 3


@rank_llm
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rank-llm-pointwise:nowhere", "no config.json in nowhere; give the folder of a MonoT5 or MonoELECTRA"),
        ("rank-llm-pointwise:{bert}", "BertForSequenceClassification in .*; RankLLM's pointwise models that run"),
        ("rank-llm-listwise:{bert}", "give the URL of an OpenAI-compatible server.*only with vLLM"),
        ("rank-llm-listwise:other@{server}", "the server has model; give rank-llm-listwise:MODEL@URL"),
        ("rank-llm-listwise:http://127.0.0.1:9/v1", r"http://127.0.0.1:9/v1/models: .*; start the server"),
        ("dense:nowhere", "no modules.json in nowhere; give the folder of a SentenceTransformer"),
    ],
)
def test_what_cannot_run_is_refused_at_once(name, message, tmp_path):
    bert = classifiers.make(tmp_path / "bert", "bert") if "{bert}" in name else None
    with chat_server.serving(by_number) as server, pytest.raises(InputError, match=message):
        system(name.format(bert=bert, server=server.url), tmp_path)


def test_without_rank_llm_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("limrank_ir.extras.installed", lambda package: package != "rank_llm")
    with pytest.raises(InputError, match=r"needs rank_llm; run: pip install 'limrank-ir\[rank-llm\]'"):
        system("rank-llm-pointwise:anything", tmp_path)


def test_one_model_at_a_time_is_loaded_and_systems_share_it(tmp_path, smol_folder, monkeypatch):
    def load(limrank):
        loads.append(weakref.ref(limrank.engine))
        whole(limrank)

    loads: list[weakref.ref] = []
    whole = LimRank.load
    monkeypatch.setattr(LimRank, "load", load)
    one, two = (str(tiny.make(tmp_path / name, smol_folder, seed=seed)) for seed, name in enumerate(("one", "two")))
    names = [one, f"{one}@pointwise", f"{one}@graded:rule=expected", two]
    systems = read_systems(names, ModelOptions(prompt_format="rank1", think="never"), tmp_path / "verdicts.sqlite")
    assert loads == []
    for found in systems[:3]:
        scores, _ = score(found)
        assert found.fresh()(PAIRS, [].append)[0] == pytest.approx(scores)
        assert len(loads) == 1
    assert score(systems[0])[0] != score(systems[3])[0]
    gc.collect()
    assert len(loads) == 2
    assert loads[0]() is None
    assert loads[1]() is not None
