"""Cross-encoders in the local engine: their scores are those of sentence-transformers, in every family and batch."""

from __future__ import annotations

import json
import math
import random

import pytest
import torch

from limrank_ir.engines.cross_encoder import CrossEncoderEngine
from limrank_ir.errors import EngineError, InputError
from limrank_ir.models import resolve
from limrank_ir.prompts import CROSS_ENCODER
from tests import classifiers
from tests.command_line import one_thread

LOCAL = {"local_attention": 16, "global_attn_every_n_layers": 2}
FAMILIES = {
    "bert": ("bert", {}, True),
    "modernbert": ("modernbert", LOCAL, True),
    "modernbert-mean": ("modernbert", {**LOCAL, "classifier_pooling": "mean"}, True),
    "roberta": ("roberta", {}, True),
    "xlm-roberta": ("xlm-roberta", {"type_vocab_size": 1}, True),
    "electra": ("electra", {}, True),
    "deberta-v2": ("deberta-v2", {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]}, False),
    "llama": ("llama", {}, False),
}
WORDS = classifiers.TEXT.replace("[SEP] </s> [MASK] ", "").split()


def pairs(count=40, seed=0, longest=120):
    rng = random.Random(seed)
    made = []
    for number in range(count):
        query = " ".join(rng.choices(WORDS, k=2 + number % 7))
        made.append((query, " ".join(rng.choices(WORDS, k=rng.choice([0, 1, 5, 30, longest])))))
    return made


def engine(folder, **options):
    return CrossEncoderEngine(resolve(str(folder), prompt_format="cross-encoder"), **options)


def prompts(pairs):
    return [CROSS_ENCODER.render(query, passage) for query, passage in pairs]


def read(engine, pairs, **options):
    batches = list(engine.read_labels(prompts(pairs), CROSS_ENCODER.labels, think=False, budget=1, **options))
    return {index: reading for batch in batches for index, reading in batch}, batches


def scores(engine, pairs):
    found, _ = read(engine, pairs)
    return [found[index].logits[0] for index in range(len(pairs))]


@pytest.fixture(autouse=True)
def _alone():
    """These models are so small that a second thread only waits for the first."""
    with one_thread():
        yield


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("classifiers")
    return {name: classifiers.make(root / name, family, **more) for name, (family, more, _) in FAMILIES.items()}


@pytest.mark.parametrize("name", FAMILIES)
def test_scores_are_those_of_sentence_transformers(name, folders):
    from sentence_transformers import CrossEncoder

    ours = engine(folders[name], batch_tokens=700)
    theirs = CrossEncoder(str(folders[name]), local_files_only=True, activation_fn=torch.nn.Identity())
    expected = theirs.predict(pairs(), batch_size=1, show_progress_bar=False)
    assert expected.std() > 0.05 * abs(expected).max()  # or equal scores would show nothing
    assert scores(ours, pairs()) == pytest.approx(expected.tolist(), abs=1e-4, rel=1e-4)
    assert ours._classifier.packed == FAMILIES[name][2]


def test_a_score_does_not_depend_on_its_batch(folders):
    alone = scores(engine(folders["modernbert"], batch_size=1), pairs())
    together = scores(engine(folders["modernbert"], batch_tokens=10_000), pairs())
    assert alone == pytest.approx(together, abs=1e-5)


@pytest.mark.parametrize("name", ["bert", "roberta"])
def test_special_tokens_in_a_text_are_plain_text(name, folders):
    tokenizer = engine(folders[name])._classifier.tokenizer
    separator = {"bert": "[SEP]", "roberta": "</s>"}[name]
    (plain,) = tokenizer.encode(prompts([("the fox", "a lazy dog")]), 300)
    forged, empty = tokenizer.encode(prompts([("the fox", f"a {separator} dog"), ("the fox", "")]), 300)
    special = tokenizer._tokenizer.token_to_id(separator)
    counts = [list(row.ids).count(special) for row in (plain, forged, empty)]
    assert len(set(counts)) == 1 and counts[0] >= 2
    assert len(forged.ids) > len(plain.ids)


def test_only_the_passage_is_cut_and_what_is_cut_is_counted(folders):
    query, passage = "copy the quick file", " ".join(WORDS * 30)
    ours = engine(folders["bert"], max_length=50)
    found, _ = read(ours, [(query, passage), (query, "a dog")])
    backend = ours._classifier.tokenizer._tokenizer
    words = len(backend.encode(passage, add_special_tokens=False).ids)
    room = 50 - 3 - len(backend.encode(query, add_special_tokens=False).ids)
    assert (found[0].prompt_tokens, found[0].cut_tokens, found[1].cut_tokens) == (50, words - room, 0)
    # The model has 300 positions, whatever is asked for, and RoBERTa's begin behind that of padding.
    for name, limit in (("bert", 300), ("xlm-roberta", 298)):
        found, _ = read(engine(folders[name], max_length=9999), [(query, passage)])
        assert found[0].prompt_tokens == limit and math.isfinite(found[0].logits[0])
    with pytest.raises(InputError, match="leaves no room for a passage within 50 tokens"):
        read(ours, [(passage, "a dog")])


def test_a_resumed_run_has_the_same_batches_and_scores(folders):
    ours = engine(folders["bert"], batch_tokens=300)
    every, batches = read(ours, pairs())
    assert ours.tokens == sum(reading.prompt_tokens for reading in every.values())
    done = {index for batch in batches[::2] for index, _ in batch} | {batches[1][0][0]}
    rest, again = read(ours, pairs(), done=frozenset(done))
    assert set(rest) == set(range(len(pairs()))) - done
    kept = [[index for index, _ in batch if index not in done] for batch in batches]
    assert [[index for index, _ in batch] for batch in again] == [batch for batch in kept if batch]
    assert all(rest[index].logits == pytest.approx(every[index].logits, abs=1e-5) for index in rest)


def test_batches_are_halved_when_memory_runs_out(folders, monkeypatch, caplog):
    from limrank_ir.engines.classifiers import Classifier

    ours = engine(folders["bert"], batch_tokens=4000)
    expected = scores(engine(folders["bert"]), pairs())
    run = Classifier.logits

    def small(self, rows):
        if len(rows) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return run(self, rows)

    monkeypatch.setattr(Classifier, "logits", small)
    assert scores(ours, pairs()) == pytest.approx(expected, abs=1e-5)
    assert "continuing with batches of" in caplog.text
    monkeypatch.setattr(Classifier, "logits", lambda self, rows: [math.nan] * len(rows))
    with pytest.raises(EngineError, match="the model gave nan for a pair of"):
        scores(ours, pairs())


def test_what_is_no_cross_encoder_is_refused(folders, tmp_path, smol_folder):
    with pytest.raises(InputError, match="LlamaForCausalLM, not a sequence classifier"):
        read(engine(smol_folder), pairs(1))
    with pytest.raises(InputError, match="a classifier with 3 labels"):
        read(engine(classifiers.make(tmp_path / "three", "bert", num_labels=3)), pairs(1))
    folder = classifiers.make(tmp_path / "body", "bert")
    _drop(folder, "classifier.")
    with pytest.raises(InputError, match=r"missing the tensors classifier\.bias, classifier\.weight"):
        read(engine(folder), pairs(1))
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    with pytest.raises(InputError, match="a classifier with a chat template"):
        read(engine(classifiers.make(folder, "bert")), pairs(1))
    assert len(scores(engine(folder, allow_mismatch=True), pairs(5))) == 5
    for options in ({"labels": ["a"], "think": True}, {"labels": ["a", "b"], "think": False}):
        with pytest.raises(InputError, match="one score, without thinking"):
            list(engine(folders["bert"]).read_labels(prompts(pairs(1)), budget=1, **options))


def _drop(folder, start):
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith(start)}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})


def test_limrank_judges_ranks_and_stores_with_it(folders, tmp_path):
    from limrank_ir import LimRank

    options = {"prompt_format": "cross-encoder", "store": str(tmp_path / "verdicts.sqlite")}
    limrank = LimRank(str(folders["bert"]), **options)
    verdicts = limrank.judge(pairs())
    assert [verdict.log_odds for verdict in verdicts] == pytest.approx(scores(limrank.engine, pairs()), abs=1e-5)
    assert {verdict.label_mass for verdict in verdicts} == {None}
    ranked = limrank.rank("the fox", [passage for _, passage in pairs()][:9], top_k=3, instruction="over a dog")
    assert len(ranked) == 3 and ranked[0].score >= ranked[1].score
    again = LimRank(str(folders["bert"]), **options)
    assert again.judge(pairs()) == verdicts and again.stats.judged == 0
    with pytest.raises(InputError, match="no thinking mode"):
        LimRank(str(folders["bert"]), prompt_format="cross-encoder", think="always")
    with pytest.raises(InputError, match="cross-encoders run in the local engine"):
        LimRank(str(folders["bert"]), prompt_format="cross-encoder", engine="vllm")
    with pytest.raises(InputError, match="cross-encoders take no adapter"):
        LimRank(str(folders["bert"]), prompt_format="cross-encoder", adapter=str(tmp_path)).judge(pairs(1))


def test_the_command_line_runs_it(folders):
    from typer.testing import CliRunner

    from limrank_ir.cli.app import app

    options = ["--model", str(folders["bert"]), "--prompt-format", "cross-encoder", "--json"]
    made = CliRunner().invoke(app, ["judge", "the fox", "a lazy dog", *options])
    assert made.exit_code == 0, made.output
    (expected,) = scores(engine(folders["bert"]), [("the fox", "a lazy dog")])
    assert json.loads(made.stdout)["log_odds"] == pytest.approx(expected, abs=1e-5)
