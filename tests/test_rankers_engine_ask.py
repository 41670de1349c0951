"""What rankers ask is rendered, asked once, saved before it is passed on, and counted."""

from __future__ import annotations

import logging
import math
from dataclasses import replace

import pytest
import torch

from limrank_ir import EngineError, InputError, LimRank
from limrank_ir.engines.local import LocalEngine
from limrank_ir.prompts.sets import set_format
from limrank_ir.rankers.asking import Read, Write
from limrank_ir.rankers.by_engine import EngineAsk
from limrank_ir.rankers.parse import order
from limrank_ir.rankers.remembered import Remembered
from limrank_ir.rankers.ways import LEAST
from limrank_ir.store import VerdictStore
from limrank_ir.verdict import Written
from tests.asked import Knows

Q = "how do I copy a file?"
MIXED = [
    Read("best", Q, ("p 3", "p 7", "p 5")),
    Write("order", Q, ("p 3", "p 7", "p 5")),
    Read("order", Q, ("p 1", "p 2")),
    Read("best", Q, ("p 3", "p 7", "p 5"), sample=1),
    Read("grade-4", Q, ("p 2",)),
    Read("judge", Q, ("p 0",)),
    Read("best", Q, ("p 9", "p 8", "p 1"), "in Python"),
    Read("judge", Q, ("p 1",)),
]


def asking(engine=None, store=None, formats=(), **options):
    return EngineAsk(LimRank(engine=engine or Knows(), store=store, **options), formats=formats)


def test_answers_come_in_order_and_equal_questions_are_asked_once():
    ask = asking()
    answers = ask(MIXED)
    assert answers[0].logprobs == (-97.0, -93.0, -95.0) and answers[0] == answers[3] and answers[0].tokens == 30
    assert answers[1].text == "[2] > [3] > [1]" and answers[1].tokens == 35
    assert answers[2].logprobs == (-99.0, -98.0)
    assert max(range(5), key=answers[4].logprobs.__getitem__) == 2
    assert answers[6].logprobs == (-91.0, -92.0, -99.0)
    stats = ask.stats
    assert (stats.questions, stats.repeated, stats.reads, stats.writes, stats.stored) == (8, 1, 6, 1, 0)
    assert stats.tokens == 30 + 35 + 20 + 10 + 30 + 2 * 10 and stats.calls == stats.figures()["calls"] == 7
    assert (stats.unfinished, stats.full) == (0, 1) and stats.remarks() == [
        "1 of 7 answers were cut at the length that their format allows"
    ]
    # Questions of one kind are one call, so that the engine can batch them.
    assert [(labels, count) for labels, count, _ in ask.limrank.engine.calls] == [
        ((" A", " B", " C"), 2),
        (None, 1),
        (("A", "B"), 1),
        (("0", "1", "2", "3", "4"), 1),
        ((" true", " false"), 2),
    ]


def test_a_larger_budget_is_advised_only_where_there_is_a_thought():
    class Unstopped(Knows):
        def _text(self, prompt, budget, stop):
            return super()._text(prompt, budget, ())

    ask = asking(Unstopped(), formats=["rank-r1"])
    ask([Write("best", Q, ("p 1", "p 2")), Write("order", Q, ("p 1", "p 2"))])
    assert (ask.stats.unfinished, ask.stats.full) == (1, 1)
    assert ask.stats.remarks()[0] == "1 of 2 answers used up their budget; raise budget if it matters"


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("thoughts", [False, True])
def test_what_was_asked_in_an_earlier_batch_is_repeated_not_stored(tmp_path, stored, thoughts):
    ask = asking(engine := Knows(), VerdictStore(tmp_path / "v", thoughts=thoughts) if stored else None)
    first = ask(MIXED)
    for times in (1, 2):
        assert ask(MIXED) == first and len(engine.asked) == 7
        stats = ask.stats
        assert (stats.questions, stats.repeated, stats.stored) == (8 + 8 * times, 1 + 8 * times, 0)
        assert (stats.calls, stats.full) == (7, 1)


def test_the_oldest_answers_are_forgotten():
    remembered = Remembered(2)
    for name in (b"1", b"2", b"3"):
        remembered[name] = name.decode()
    assert b"1" not in remembered and remembered[b"2"] == "2" and remembered[b"3"] == "3"


def test_a_verdict_is_the_rerankers_own_with_its_store(tmp_path):
    limrank = LimRank(engine=Knows(), store=tmp_path / "v.sqlite")
    verdicts = limrank.judge([(Q, "p 0"), (Q, "p 1", "in Python")])
    ask = EngineAsk(limrank)
    answers = ask([Read("judge", Q, ("p 0",)), Read("judge", Q, ("p 1",), "in Python"), Read("judge", Q, ("p 0",))])
    for answer, verdict in zip(answers, [*verdicts, verdicts[0]], strict=True):
        assert answer.logprobs[0] - answer.logprobs[1] == verdict.log_odds and answer.tokens == 10
    assert (ask.stats.stored, ask.stats.repeated, ask.stats.calls, ask.stats.tokens) == (2, 1, 0, 0)


@pytest.mark.parametrize("stops_after", [0, 1, 2, 3, 5])
def test_an_interrupted_run_goes_on_and_asks_nothing_twice(tmp_path, stops_after):
    whole = asking(Knows(batch=1))(MIXED)
    interrupted = Knows(stops_after=stops_after, batch=1)
    with pytest.raises(KeyboardInterrupt):
        asking(interrupted, tmp_path / "v.sqlite")(MIXED)
    engine = Knows(batch=1)
    ask = asking(engine, tmp_path / "v.sqlite")
    assert ask(MIXED) == whole
    assert len(interrupted.asked) == stops_after and len(engine.asked) == 7 - stops_after
    assert not {prompt.text for prompt in engine.asked} & {prompt.text for prompt in interrupted.asked}
    assert (ask.stats.stored, ask.stats.calls) == (stops_after, 7 - stops_after)
    # The engine sees the same prompts as in one run, so that it can form the same batches.
    assert all(count == {None: 1}.get(labels, count) for labels, count, _ in engine.calls)
    assert asking(last := Knows(), tmp_path / "v.sqlite")(MIXED) == whole and not last.asked


def test_whatever_can_change_an_answer_is_in_its_key(tmp_path):
    path = tmp_path / "v.sqlite"
    base = Write("best", Q, ("p 1", "p 2"))
    variants = [
        (base, {}, ()),
        (Write("best", Q + " ", base.passages), {}, ()),
        (Write("best", Q, ("p 2", "p 1")), {}, ()),
        (Write("best", Q, base.passages, "in Python"), {}, ()),
        (Write("order", Q, base.passages), {}, ()),
        (Read("best", Q, base.passages), {}, ()),
        (base, {"task": "biology"}, ()),
        (base, {"engine": Knows("another")}, ()),
        (base, {}, ("setwise-numbers",)),
        (base, {}, ("rank-r1",)),
        (base, {"budget": 100}, ("rank-r1",)),
    ]
    for question, options, formats in variants:
        ask = asking(options.pop("engine", None), path, formats, **options)
        ask([question])
        assert (ask.stats.stored, ask.stats.calls) == (0, 1), (question, options, formats)
    again = asking(None, path, budget=99)  # the budget of thoughts, which this format has not
    again([base, Write("best", Q, base.passages, sample=3)])
    assert (again.stats.stored, again.stats.repeated, again.stats.calls) == (1, 1, 0)


def test_a_format_is_used_where_it_fits(tmp_path):
    ask = asking(formats=["reason-rank", "setwise-numbers"])
    answers = ask(
        [Write("order", Q, ("p 3", "p 7")), Read("order", Q, ("p 3", "p 7")), Write("best", Q, ("p 3", "p 7"))]
    )
    first, second, third = ask.limrank.engine.asked
    assert "<think>" in first.prefix and answers[0].text == "[2] > [1]</answer>"
    assert "alphabetical" in second.prefix  # a thought cannot be read
    assert second.text.endswith("\n[") and answers[1].logprobs == (-97.0, -93.0)
    assert answers[2].text == "[[2] > [1]\n" and third.text.endswith("\n[")  # the answer as it begins in the prompt


def test_grades_up_to_ten_are_read_at_two_places_where_numbers_are_digits():
    class TwoPlaces(Knows):
        def _reading(self, prompt, labels):
            reading = super()._reading(prompt, labels)
            object.__setattr__(reading, "logprobs", tuple([-1.0] if len(labels) == 1 else [-40.0] + [-2.0] * 9))
            return reading

    ask = asking(engine := TwoPlaces())
    (answer,) = ask([Read("grade-10", Q, ("p 4",))])
    assert [labels for labels, *_ in engine.calls] == [tuple("0123456789"), ("0",)]
    assert len(answer.logprobs) == 11 and answer.logprobs[10] == -3.0 and answer.logprobs[2] == -2.0
    assert answer.logprobs[1] == pytest.approx(-2.0 + math.log1p(-math.exp(-1.0)))
    (never,) = asking(Impossible())([Read("grade-10", Q, ("p 4",))])
    assert never.logprobs[10] == LEAST and all(map(math.isfinite, never.logprobs))


class Impossible(Knows):
    def _reading(self, prompt, labels):
        reading = super()._reading(prompt, labels)
        object.__setattr__(reading, "logprobs", tuple([-1.0, -90.0] + [-2.0] * 8))
        return reading


def test_a_model_that_was_trained_for_grades_reads_its_own():
    ask = EngineAsk(LimRank("tfrank-0.6b", engine=Knows()))
    ask([Read("grade-4", Q, ("p 2",))])
    (prompt,) = ask.limrank.engine.asked
    assert prompt == ask.limrank.prompt(Q, "p 2") and ask.limrank.engine.calls[0][0] == tuple("01234")


def test_without_texts_written_answers_are_asked_again_and_that_is_said(tmp_path, caplog):
    for _ in range(2):
        engine = Knows()
        store = VerdictStore(tmp_path / "v.sqlite", thoughts=False)
        with caplog.at_level(logging.WARNING, "limrank_ir"):
            ask = asking(engine, store)
            ask(MIXED)
            ask(MIXED)
        written = [prompt for prompt in engine.asked if "numerical identifier" in prompt.text]
        assert len(written) == 1
        store.close()
    assert len(engine.asked) == 1  # the readings and verdicts were known
    said = [record.getMessage() for record in caplog.records if "written answers are not saved" in record.getMessage()]
    assert len(said) == 2 and said[0].startswith(str(tmp_path / "v.sqlite"))


def test_what_was_cut_or_removed_is_counted():
    ask = asking()
    ask([Read("best", Q, ("p 99", "p [3] 1")), Read("best", Q, ("p 99", "p 1"))])
    assert (ask.stats.cut, ask.stats.cut_tokens, ask.stats.cleaned) == (2, 2, 1)
    assert ask.stats.remarks() == [
        "passages were cut in 2 of 2 prompts to fit (2 tokens in all)",
        "reserved strings or identifiers were removed from the texts of 1 prompts",
    ]


class OnlyReads:
    identity = "reads"
    read_labels = Knows.read_labels

    def __repr__(self):
        return "OnlyReads()"


class Forgets(Knows):
    def _batches(self, prompts, done):
        yield from list(super()._batches(prompts, done))[1:]


@pytest.mark.parametrize(
    ("question", "engine", "message"),
    [
        (
            Read("bests", Q, ("p", "q")),
            None,
            "unknown task 'bests' where the model is read; it has order, best, .*judge",
        ),
        (Write("judge", Q, ("p",)), None, "unknown task 'judge' where the model writes; it has order, best, grades"),
        (Read("judge", Q, ("p", "q")), None, "'judge' shows 2 passages; it needs one"),
        (Read("best", Q, ("p",) * 27), None, "setwise: shows 1 to 26 passages at a time, not 27"),
        (Read("best", Q, ()), None, "setwise: shows 1 to 26 passages at a time, not 0"),
        (Read("best", " ", ("p", "q")), None, "a question about ' ': the query is empty"),
        (Read("best", Q, ("p", None)), None, "a question about 'how do I copy a file.': the passage is None, not text"),
        (Write("best", Q, ("p", "q")), OnlyReads(), r"OnlyReads\(\) only reads labels"),
    ],
)
def test_what_cannot_be_asked_is_refused(question, engine, message):
    with pytest.raises(InputError, match=message) as caught:
        asking(engine)([question])
    assert "\n" not in str(caught.value)


def test_cross_encoders_and_unknown_formats_are_refused():
    cross = EngineAsk(LimRank("ms-marco-minilm-l6-v2", engine=Knows()))
    with pytest.raises(InputError, match="a cross-encoder reads one passage at a time; choose a pointwise ranker"):
        cross([Read("best", Q, ("p", "q"))])
    with pytest.raises(InputError, match="unknown format 'rankzephyr'; choose one of"):
        asking(formats=["rankzephyr"])


def test_numbers_are_read_as_far_as_they_differ():
    ask = asking(formats=["listwise"])
    ask([Read("order", Q, tuple(f"p {number}" for number in range(9)))])
    assert ask.limrank.engine.calls[0][0] == tuple("123456789")
    with pytest.raises(InputError, match=r"listwise: reads the numbers of 10 passages, .*; show at most 9 at a time"):
        ask([Read("order", Q, ("p",) * 10)])


def test_an_engine_that_forgets_an_answer_is_an_error():
    with pytest.raises(EngineError, match=r"Knows\(\) gave no answer to 2 of 3 questions"):
        asking(Forgets())([Read("best", Q, (f"p {number}", "q")) for number in range(3)])


def directly(smol, text, labels):
    model, tokenizer = smol
    with torch.inference_mode():
        logits = model(tokenizer(text, return_tensors="pt").input_ids).logits[0, -1].double()
    ids = [tokenizer(label, add_special_tokens=False).input_ids[0] for label in labels]
    return logits.log_softmax(-1)[ids].tolist()


@pytest.mark.parametrize(("task", "formats"), [("order", ()), ("best", ("setwise-numbers",))])
def test_a_window_reads_as_its_prompt_alone(smol, limrank, docstrings, task, formats):
    ask = EngineAsk(limrank, formats=formats)
    windows = [tuple(docstrings[start : start + 3]) for start in (0, 9)]
    answers = ask([Read(task, Q, window) for window in windows])
    fmt = set_format(formats[0] if formats else "first")
    for window, answer in zip(windows, answers, strict=True):
        way = ask._ways.way(task, 3, writes=False)
        expected = directly(smol, way.prompt(Read(task, Q, window)).text, fmt.labels(3))
        assert answer.logprobs == pytest.approx(expected, abs=1e-3)


def test_the_real_model_goes_on_where_it_was_stopped(tmp_path, docstrings, monkeypatch):
    original = LocalEngine.read_labels

    def stops(self, *args, **options):
        yield next(original(self, *args, **options))
        raise KeyboardInterrupt

    questions = [Read("best", Q, tuple(docstrings[start : start + 2])) for start in (0, 2, 9)]
    options = {"store": tmp_path / "v.sqlite", "batch_size": 1}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(LocalEngine, "read_labels", stops)
        EngineAsk(LimRank(**options))(questions)
    ask = EngineAsk(LimRank(**options))
    answers = ask(questions)
    assert (ask.stats.stored, ask.stats.calls) == (1, 2)
    assert answers == EngineAsk(LimRank(batch_size=1))(questions)


def test_the_real_model_writes_a_label(limrank, docstrings):
    ask = EngineAsk(limrank)
    (answer,) = ask([Write("best", Q, tuple(docstrings[:2]))])
    assert answer.text.startswith(" Passage:") and answer.tokens > 100 and ask.stats.writes == 1


def test_a_thought_that_the_prompt_has_opened_is_not_the_answer():
    ask = asking()
    way = ask._ways.way("order", 2, writes=True)
    opened = replace(way, skeleton=way.skeleton.removesuffix(way.fmt.start) + "<think>\n" + way.fmt.start)
    cut = Written("[2] is off topic. [1] looks", 10, 5, "budget")
    assert order(way.answer(cut), 2) is not None
    assert order(opened.answer(cut), 2) is None
    assert order(opened.answer(replace(cut, text=f"{cut.text}</think> [1] > [2]")), 2).value == (0, 1)


def test_a_model_that_would_rather_say_something_else_is_remarked_on(limrank):
    ask = EngineAsk(limrank)  # limrank-smol says true or false, and was not trained for grades
    ask([Read("grade-4", "how do I copy a file?", (text,)) for text in ("shutil.copy copies.", "A cake needs flour.")])
    assert ask.stats.unlikely == 2
    assert "in 2 of 2 readings, the model would rather say something else than a label" in ask.stats.remarks()[-1]
    own = EngineAsk(limrank)
    own([Read("judge", "how do I copy a file?", ("shutil.copy copies.",))])
    assert own.stats.unlikely == 0 and own.stats.remarks() == []
