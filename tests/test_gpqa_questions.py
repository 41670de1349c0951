"""``limrank bench gpqa``: questions, choices, the message to the reader, and the pool."""

from __future__ import annotations

import json

import pytest

from limrank_ir import InputError
from limrank_ir.benchmarks.gpqa.pool import iter_pool, pool_files, search
from limrank_ir.benchmarks.gpqa.questions import Question, read_questions
from limrank_ir.benchmarks.gpqa.secret import withheld
from limrank_ir.benchmarks.gpqa.wording import boxed_choice, judgment, reader_message
from limrank_ir.errors import EngineError
from tests.gpqa_data import CANARY, POOL, QUESTIONS, SECRET, questions_csv, write_data


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_data(tmp_path)


def test_the_csv_file_and_jsonl_are_the_same_questions(data):
    found = read_questions(data / "gpqa.csv")
    assert [question.qid for question in found.questions] == ["rec1", "rec2", "rec3", "rec4"]
    assert found.questions[0].text.count("\n") == 1 and found.canaries == {CANARY.split(":")[2]}
    rows = [
        {"id": row[0], "question": row[1], "correct_answer": row[2]}
        | {f"incorrect_answer_{n}": text for n, text in enumerate([*row[3:], f"other {row[0]}"], 1)}
        for row in QUESTIONS
    ]
    (data / "gpqa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read_questions(data / "gpqa.jsonl").questions == found.questions
    assert read_questions(data / "gpqa.jsonl").fingerprint == found.fingerprint


def test_the_order_of_the_choices_depends_on_the_seed_and_the_question_alone(data):
    orders = {seed: [q.order for q in read_questions(data / "gpqa.csv", seed=seed).questions] for seed in range(20)}
    assert orders[3] == [q.order for q in read_questions(data / "gpqa.csv", seed=3).questions]
    assert {
        question.answer for seed in range(20) for question in read_questions(data / "gpqa.csv", seed=seed).questions
    } == set("ABCD")
    lines = questions_csv().split("\r\n")
    (data / "last.csv").write_text("\r\n".join([lines[0], lines[-2], ""]))
    (last,) = read_questions(data / "last.csv", seed=3).questions
    assert last.order == orders[3][-1]
    for question in read_questions(data / "gpqa.csv").questions:
        right = next(row[2] for row in QUESTIONS if row[0] == question.qid)
        assert f"({question.answer}) {right}" in question.shown


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Record ID,Question\nr1,Zorblatt\n", r"gpqa.csv:2: 0 columns 'Incorrect Answer 1'"),
        (
            "Question,Correct Answer,Incorrect Answer 1\nZorblatt,,quixal\n",
            "gpqa.csv:2: no 'Correct Answer' in this row",
        ),
        ("Question,Correct Answer,Incorrect Answer 1\nZorblatt,quixal, quixal\n", "gpqa.csv:2: a wrong choice has"),
        ("Question,Correct Answer,Incorrect Answer 1\nZorblatt,quixal\n", "gpqa.csv:2: not as many columns"),
        ("Question,Correct Answer,Incorrect Answer 1\nZorblatt,quixal,a,b\n", "gpqa.csv:2: not as many columns"),
        ("Question,Correct Answer,Incorrect Answer 1\nZ,q,a\nZ,q,b\n", "gpqa.csv:3: a second question '"),
        ("Question,Correct Answer,Incorrect Answer 1\n", "gpqa.csv: only a header"),
        ("Record ID,Question,Correct Answer,Incorrect Answer 1\nr 1,Z,q,a\n", "Record ID 'r 1' is empty, or has white"),
        ('{"question": "Zorblatt", "correct_answer": ["quixal"], "incorrect_answer_1": "x"}', "no 'Correct Answer'"),
        ('{"question": "Zorblatt quixal', "gpqa.csv:1: malformed JSON"),
        ("", "the file is empty"),
    ],
)
def test_bad_questions_are_one_line_that_repeats_nothing(text, message, tmp_path):
    (tmp_path / "gpqa.csv").write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_questions(tmp_path / "gpqa.csv")
    assert not SECRET.search(str(caught.value)) and "\n" not in str(caught.value)


ONE = Question("q", "?", ("heat", "cold rain", "B minor", "5 \u03a9"), (1, 0, 2, 3))


@pytest.mark.parametrize(
    ("answer", "choice"),
    [
        (r"so \boxed{B}", "B"),
        (r"\boxed{(C)}", "C"),
        (r"$\boxed{\text{A}}$", "A"),
        (r"\boxed{\textbf{(D)}}", "D"),
        (r"\boxed{\mathrm{B}.}", "B"),
        (r"\boxed{B) cold rain}", "B"),
        (r"\boxed{\text{Cold  rain}}", "B"),
        (r"\boxed{B minor}", "C"),  # the text of a choice, not the letter B
        (r"\boxed{$A$}", "A"),
        (r"first \boxed{A}, no: \boxed {D}", "D"),
        (r"\boxed{A} and then \boxed{42}", "A"),
        (r"\fboxed{C}", "C"),
        (r"\boxed{letter}", None),
        (r"\boxed{E}", None),
        (r"\boxed{a}", None),
        (r"\boxed{AB}", None),
        (r"\boxed{}", None),
        (r"\boxed{B", None),
        ("The answer is B.", None),
        ("", None),
    ],
)
def test_the_choice_is_read_from_the_last_box_and_never_guessed(answer, choice):
    assert boxed_choice(answer, ONE) == choice


def test_judgments():
    assert [judgment(text) for text in ("Yes.", "**no**", "YES, because", "Perhaps", "", "1")] == [
        *(True, False, True, None, None, None)
    ]


def test_the_message_has_the_question_then_the_passages_then_the_task():
    message = reader_message(ONE, ["one", "two"])
    places = [
        message.index(part) for part in ("?\n\nChoices:\n(A) heat\n", "Passage 1: one", "Passage 2: two", "boxed")
    ]
    assert places == sorted(places) and "assage" not in reader_message(ONE, [])


def test_the_pool_is_searched_without_copies_and_without_the_benchmark_itself(data):
    from collections import Counter

    found = read_questions(data / "gpqa.csv")
    left_out = Counter()
    docnos = [passage.docno for passage in iter_pool(pool_files(data / "pool.jsonl"), found.canaries, left_out)]
    assert docnos == ["p1", "p2", "p3", "p4", "p5"]
    assert left_out == {"copies of others": 1, "with the canary string": 1, "without text": 1}
    topics = [question.topic(choices=False) for question in found.questions]
    run = search(pool_files(data / "pool.jsonl"), topics, found.canaries, k=100)
    assert [ranked[0][0] for ranked in run.values()] == ["p1", "p2", "p3", "p4"]
    assert all(len(ranked) == 5 for ranked in run.values())
    (data / "parts").mkdir()
    (data / "parts" / "b.jsonl").write_text(json.dumps(POOL[1]) + "\n")
    (data / "parts" / "a.jsonl").write_text(json.dumps(POOL[0]) + "\n")
    assert [file.name for file in pool_files(data / "parts")] == ["a.jsonl", "b.jsonl"]
    (data / "parts" / "c.jsonl").write_text(json.dumps({**POOL[0], "text": "other"}) + "\n")
    with pytest.raises(InputError, match=r"c.jsonl: docno 'p1' is also in another file"):
        search(pool_files(data / "parts"), topics, (), k=3)


def test_bm25_is_that_of_the_released_script(data):
    import bm25s

    found = read_questions(data / "gpqa.csv")
    topics = [question.topic(choices=True) for question in found.questions]
    texts = [" ".join(filter(None, (record.get("title"), record["text"]))) for record in POOL[:5]]
    index = bm25s.BM25(k1=1.5, b=0.75, method="lucene")
    index.index(bm25s.tokenize(texts, stopwords="en", show_progress=False), show_progress=False)
    query = bm25s.tokenize([topic.query for topic in topics], stopwords="en", show_progress=False)
    _, scores = index.retrieve(query, k=3, show_progress=False)
    run = search(pool_files(data / "pool.jsonl"), topics, found.canaries, k=3)
    assert [[score for _, score in ranked] for ranked in run.values()] == [
        pytest.approx(row) for row in scores.tolist()
    ]


def test_only_errors_that_repeat_a_question_are_withheld():
    with pytest.raises(EngineError, match="the maximum length is 8192"), withheld(["is the maximum of two?"]):
        raise EngineError("the maximum length is 8192")
    with pytest.raises(EngineError, match="not shown"), withheld(["Where does Zorblatt live?"]):
        raise EngineError("invalid: {'content': 'where DOES zorblatt...'}")
