"""The journal: answers are kept, each for its server, in bounded memory, and without stopping the event loop."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
import time
import tracemalloc

import pytest

from limrank_ir import EngineError, LimRankError
from limrank_ir.llm.chat import Server
from limrank_ir.llm.journal import Answered, Journal, request_key
from limrank_ir.llm.saving import Saver
from tests.chat_server import said

BODY = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
KEY = request_key(BODY)
OLD = """
    CREATE TABLE answers (key TEXT PRIMARY KEY, request TEXT NOT NULL, answer TEXT NOT NULL) WITHOUT ROWID;
    PRAGMA application_id=0x4C696D4A;
"""


def test_answers_are_kept(tmp_path):
    journal = Journal(tmp_path / "deep" / "a.sqlite")
    key = journal.put(BODY, said("é\ud83d"))
    assert journal.put(BODY, said("another")) == key == request_key(dict(reversed(BODY.items())))
    journal.close()
    again = Journal(tmp_path / "deep" / "a.sqlite")
    assert again.get(key) == said("é\ud83d") and len(again) == 1
    assert again.get("0" * 32) is None and again.known([key, "x"]) == {key}
    assert list(again) == [(BODY, said("é\ud83d"))]


def test_many_answers_at_once_are_kept_like_one_by_one(tmp_path):
    bodies = [{**BODY, "seed": number} for number in range(3)]
    journal = Journal(tmp_path / "a.sqlite")
    journal.put(bodies[0], said("kept"))
    journal.put(bodies[1], {"error": "no"})
    journal.put_all(Answered(body, said("new")) for body in bodies)
    assert [journal.get(request_key(body)) for body in bodies] == [said("kept"), said("new"), said("new")]
    journal.put_all([])
    assert len(journal) == 3


def test_an_answer_replaces_a_fault(tmp_path):
    journal = Journal(tmp_path / "a.sqlite")
    for fault in ({"error": "no"}, {"choices": [None]}, {"choices": [{"message": None}]}):  # from older versions
        journal.put(BODY, fault)
        assert journal.get(request_key(BODY)) == fault
    journal.put(BODY, said("hi"))
    journal.put(BODY, {"error": "no"})
    assert journal.get(request_key(BODY)) == said("hi") and len(journal) == 1


def test_a_file_of_another_kind_is_left_unchanged(tmp_path):
    (tmp_path / "notes.txt").write_text("my notes, which are longer than a header " * 10)
    with sqlite3.connect(tmp_path / "other.sqlite") as database:
        database.execute("CREATE TABLE mine (x)")
    kinds = {"notes.txt": "is not a LimRank journal", "other.sqlite": "is not a LimRank journal", ".": "is a folder"}
    for name, message in kinds.items():
        before = (tmp_path / name).read_bytes() if name != "." else None
        with pytest.raises(LimRankError, match=message):
            Journal(tmp_path / name)
        assert before is None or (tmp_path / name).read_bytes() == before


def test_an_answer_survives_a_kill(tmp_path):
    code = (
        "import os, signal; from limrank_ir.llm.journal import Journal; "
        f"journal = Journal({str(tmp_path / 'a.sqlite')!r}); "
        "assert journal._database.execute('PRAGMA synchronous').fetchone() == (2,); "  # waits for the disk
        f"journal.put({BODY!r}, {{'choices': [1]}}); "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    assert Journal(tmp_path / "a.sqlite").get(request_key(BODY)) == {"choices": [1]}


def test_an_answer_belongs_to_its_server(tmp_path):
    journal = Journal(tmp_path / "a.sqlite")
    assert journal.put(BODY, said("one"), "http://one/v1") == KEY
    assert journal.get(KEY, "http://one/v1") == said("one")
    assert journal.get(KEY, "http://two/v1") is None and journal.get(KEY) is None
    journal.put(BODY, said("two"), "http://two/v1")
    journal.put({**BODY, "model": "n"}, said("x"))
    assert [journal.get(KEY, f"http://{name}/v1") for name in ("one", "two")] == [said("one"), said("two")]
    assert journal.servers("m") == {"http://one/v1": 1, "http://two/v1": 1} and journal.servers("n") == {"": 1}


def test_an_answer_without_a_server_counts_for_all_until_they_have_their_own(tmp_path):
    with sqlite3.connect(tmp_path / "a.sqlite") as database:  # as version 0.1.0 made it
        database.executescript(OLD)
        database.execute("INSERT INTO answers VALUES (?, ?, ?)", (KEY, '{"model": "m"}', '{"choices": [1]}'))
    database.close()
    journal = Journal(tmp_path / "a.sqlite")
    assert journal.get(KEY, "http://one/v1") == journal.get(KEY) == {"choices": [1]} and journal.known([KEY]) == {KEY}
    journal.put(BODY, said("own"), "http://one/v1")
    assert journal.get(KEY, "http://one/v1") == said("own") and journal.get(KEY, "http://two/v1") == {"choices": [1]}
    assert journal.servers("m") == {"": 1, "http://one/v1": 1} and len(list(journal)) == 2


@pytest.mark.parametrize(
    ("url", "address"),
    {
        None: "https://api.openai.com/v1",
        "https://API.openai.com:443/v1/": "https://api.openai.com/v1",
        "HTTP://me:secret@Host:80/v1": "http://host/v1",
        "http://host:8000/V1": "http://host:8000/V1",
        "http://[::1]:8000/v1?version=2": "http://[::1]:8000/v1?version=2",
    }.items(),
)
def test_an_address_has_one_spelling_and_no_password(url, address, monkeypatch):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert Server(url).address == address
    monkeypatch.setenv("OPENAI_BASE_URL", "http://else/v1")  # the client of openai obeys it
    assert Server(url).address == ("http://else/v1" if url is None else address)


def test_a_large_journal_is_read_piece_by_piece(tmp_path):
    journal = Journal(tmp_path / "a.sqlite")
    bodies = [{"model": "m", "number": number} for number in range(5_000)]
    answer = said("x" * 4_000)
    journal.put_all(Answered(body, answer) for body in bodies)
    keys = list(map(request_key, bodies))
    tracemalloc.start()
    try:
        count = 0
        for number, _ in enumerate(journal):
            if number == 1_000:
                journal.put({"model": "n"}, answer)  # nothing is locked in between
            count += 1
        assert count >= 5_000 and tracemalloc.get_traced_memory()[1] < 5e6  # 20 MB of text
        assert len(journal.known([*keys[::2], "x"])) == 2_500 and tracemalloc.get_traced_memory()[1] < 5e6
    finally:
        tracemalloc.stop()


# From an event loop


class SlowDisk(Journal):
    """A journal whose commits take a third of a second."""

    commits = 0

    def put_all(self, answered):
        self.commits += 1
        with self._lock:
            time.sleep(0.3)
        super().put_all(answered)


async def longest_stall(work):
    """The longest time for which the event loop did nothing while `work` ran."""
    stall, last = 0.0, time.monotonic()
    task = asyncio.ensure_future(work)
    while not task.done():
        await asyncio.sleep(0.005)
        stall, last = max(stall, time.monotonic() - last), time.monotonic()
    await task
    return stall


def test_the_loop_goes_on_while_answers_are_saved_together(tmp_path):
    async def main():
        saver = Saver(journal)

        async def one(number):
            body = {**BODY, "seed": number}
            assert await saver.get(request_key(body), "s") is None
            await asyncio.sleep(0.01 * (number % 4))
            await saver.put(body, said("hi"), "s")
            # It is on disk before it is used.
            with sqlite3.connect(tmp_path / "a.sqlite") as other:
                assert other.execute("SELECT count(*) FROM answers WHERE request = ?", (json.dumps(body),)).fetchone()[
                    0
                ]
            assert await saver.get(request_key(body), "s") == said("hi")

        return await longest_stall(asyncio.gather(*map(one, range(64))))

    journal = SlowDisk(tmp_path / "a.sqlite")
    assert asyncio.run(main()) < 0.25
    assert journal.commits <= 3 and len(journal) == 64


def test_an_interrupted_run_saves_what_has_arrived(tmp_path):
    async def main():
        saver = Saver(journal)
        tasks = [asyncio.create_task(saver.put({**BODY, "seed": n}, said("hi"), "s")) for n in range(8)]
        await asyncio.sleep(0.05)  # the first commit has begun
        tasks.append(asyncio.create_task(saver.put(BODY, said("late"), "s")))
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await saver.close()

    journal = SlowDisk(tmp_path / "a.sqlite")
    asyncio.run(main())
    assert len(journal) == 9


def test_a_journal_that_cannot_be_written_fails_every_answer(tmp_path):
    async def main():
        saver = Saver(journal)
        found = await asyncio.gather(*(saver.put(BODY, said("hi"), str(n)) for n in range(3)), return_exceptions=True)
        await saver.close()
        return found

    journal = Journal(tmp_path / "a.sqlite")
    journal._database.execute("DROP TABLE answers")
    assert [type(error) for error in asyncio.run(main())] == [EngineError] * 3
