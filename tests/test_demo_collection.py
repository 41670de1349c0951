"""The demo's collection: what is in it, that it is the same everywhere, and that its judgments match."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time

import pytest

from limrank_ir.demo import docstrings
from limrank_ir.demo.collection import passages, qrels, queries
from limrank_ir.formats.corpus import Passage

LINUX_ONLY = {"os.fdatasync", "os.getrandom", "select.epoll", "select.epoll.poll"}


@pytest.fixture(scope="module")
def collection() -> dict[str, str]:
    built = passages()
    assert all(type(passage) is Passage and passage.title is None for passage in built)
    assert len({passage.docno for passage in built}) == len(built)
    return {passage.docno: passage.text for passage in built}


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


# --- passages -----------------------------------------------------------------------------------------------------


def test_size(collection: dict[str, str]) -> None:
    assert 5_000 < len(collection) < 6_000


def test_passages_are_distinct_and_say_something(collection: dict[str, str]) -> None:
    assert len(set(collection.values())) == len(collection)
    assert min(len(words(text)) for text in collection.values()) >= 8
    bodies = [text.partition("\n\n")[2] for text in collection.values()]
    assert len(set(bodies)) == len(bodies)  # inherited documentation appears once


def test_docnos_are_valid_in_a_run_file(collection: dict[str, str]) -> None:
    assert list(collection) == sorted(collection)
    assert not [docno for docno in collection if not re.fullmatch(r"[!-~]+", docno)]


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("os.fsync", "os.fsync(fd)\n\nForce write of fd to disk."),  # not posix.fsync
        ("os.path.join", "os.path.join(a, *p)\n\nJoin two or more pathname components"),  # not posixpath.join
        ("operator.add", "operator.add(a, b, /)\n\nSame as a + b."),  # not _operator.add
        ("asyncio.run", "asyncio.run("),  # not asyncio.runners.run
        ("array.array", "array.array"),  # not array.ArrayType
        ("random.choice", "random.choice(seq)"),  # a bound method of a hidden object
        ("pathlib.PurePath.with_suffix", "pathlib.PurePath.with_suffix(self, suffix)"),  # from a private base on 3.13
        ("io.IOBase.flush", "io.IOBase.flush"),  # from a private base, in C
        ("contextlib.ExitStack.enter_context", "contextlib.ExitStack.enter_context(self, cm)"),
        ("collections.abc.Mapping", "collections.abc.Mapping()"),
        ("topic:with", 'The "with" statement'),
        ("topic:compound/the-match-statement/guards", 'Compound statements: The "match" statement: Guards'),
        ("object.__hash__", "object.__hash__\n\nobject.__hash__(self)\n\nCalled by built-in function"),
    ],
)
def test_objects_have_the_names_that_people_use(collection: dict[str, str], name: str, start: str) -> None:
    assert collection[name].startswith(start)


@pytest.mark.parametrize(
    "name",
    ["posix.fsync", "posixpath.join", "io.open", "_operator.add", "os.error", "contextlib.AsyncExitStack.push", "this"],
)
def test_other_names_are_left_out(collection: dict[str, str], name: str) -> None:
    assert name not in collection


def test_the_language_reference_joins_the_docstring(collection: dict[str, str]) -> None:
    text = collection["dict.setdefault"]
    assert text.startswith("dict.setdefault(self, key, default=None, /)\n\nInsert key with a value of default")
    assert "If *key* is in the dictionary, return its value." in text


def test_nothing_depends_on_this_process(collection: dict[str, str]) -> None:
    assert not [docno for docno, text in collection.items() if re.search(r" at 0x[0-9a-fA-F]", text)]
    assert not [docno for docno, text in collection.items() if sys.prefix in text or sys.base_prefix in text]


def test_same_bytes_in_every_process_and_nothing_on_stderr() -> None:
    # Without -I, so that the seed matters: sets are ordered differently in each run.
    command = [sys.executable, "-P", docstrings.__file__]
    runs = [
        subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True)
        for seed in ("1", "2")
    ]
    assert runs[0].stdout == runs[1].stdout
    assert runs[0].stderr == b""
    assert runs[0].stdout.count(b"\n") == 2


def test_building_leaves_no_trace(
    collection: dict[str, str], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.fsync", print)
    monkeypatch.setenv("PYTHONOPTIMIZE", "2")
    loaded = set(sys.modules)
    start = time.perf_counter()
    assert {passage.docno: passage.text for passage in passages()} == collection
    assert time.perf_counter() - start < 30  # one second on an idle machine
    assert set(sys.modules) == loaded
    assert capfd.readouterr() == ("", "")


# --- questions and judgments --------------------------------------------------------------------------------------


def test_questions() -> None:
    asked = queries()
    assert len(asked) >= 60
    assert len({qid for qid, _ in asked}) == len(asked)
    assert len({query for _, query in asked}) == len(asked)
    assert all(query == query.strip() and query.isprintable() for _, query in asked)
    assert min(len(words(query)) for _, query in asked) >= 5
    assert max(len(words(query)) for _, query in asked) <= 60


def test_judgments_match_the_questions_and_the_collection(collection: dict[str, str]) -> None:
    judged = qrels()
    assert list(judged) == [qid for qid, _ in queries()]
    for qid, relevant in judged.items():
        assert set(relevant.values()) <= {1, 2}, qid
        assert 2 in relevant.values(), qid
        missing = relevant.keys() - collection.keys()
        assert not missing or (sys.platform != "linux" and missing <= LINUX_ONLY), qid


def test_questions_seldom_name_their_answer() -> None:
    judged = qrels()
    naming = [
        qid
        for qid, query in queries()
        if {docno.rpartition(".")[2].lower() for docno, grade in judged[qid].items() if grade == 2} & set(words(query))
    ]
    assert len(naming) <= len(judged) // 4, naming
