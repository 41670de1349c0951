"""The store: verdicts survive a kill, processes can share it, and other files are never touched."""

from __future__ import annotations

import json
import math
import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limrank_ir import LimRank, Verdict
from limrank_ir.errors import EngineError, InputError
from limrank_ir.store import VerdictStore, key
from limrank_ir.verdict import Reading, Written
from tests import tiny

VERDICT = Verdict(0.1 + 0.2, "a thought\n", 12, 3, "budget", 4)
WRITTEN = Written("<think>\n</think> [2] > [1]\ufffd", 40, 9, "stop", 3)
READING = Reading((-0.1 - 0.2, -1e-300, -math.inf), None, 30, 0, "verdict", 2)


def test_verdicts_are_read_back_unchanged(tmp_path):
    with_reason, without = key("a"), key("b")
    store = VerdictStore(tmp_path / "deep" / "v.sqlite")
    store.put([(with_reason, VERDICT), (without, Verdict(-1e-300, None, 1, 0, "verdict"))])
    store.put([(with_reason, Verdict(9.0, None, 1, 0, "verdict"))])  # the first verdict stays
    store.close()
    again = VerdictStore(tmp_path / "deep" / "v.sqlite")
    assert again.get([with_reason, key("c"), without]) == {
        with_reason: VERDICT,
        without: Verdict(-1e-300, None, 1, 0, "verdict"),
    }
    assert len(again) == 2
    assert again._database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_answers_about_sets_are_read_back_unchanged(tmp_path):
    store = VerdictStore(tmp_path / "v.sqlite")
    store.put_answers([(key("a"), WRITTEN), (key("b"), READING)])
    store.put_answers([(key("a"), replace(WRITTEN, text="another"))])  # the first answer stays
    store.put([(key("a"), VERDICT)])
    store.close()
    again = VerdictStore(tmp_path / "v.sqlite")
    assert again.get_answers([key("b"), key("c"), key("a")]) == {key("a"): WRITTEN, key("b"): READING}
    assert again.get([key("a"), key("b")]) == {key("a"): VERDICT} and len(again) == 1


def test_without_texts_there_are_only_hashes_and_numbers(tmp_path):
    store = VerdictStore(tmp_path / "v.sqlite", thoughts=False)
    store.put_answers([(key("a"), WRITTEN), (key("b"), READING)])
    store.put([(key("a"), VERDICT)])
    assert store.get_answers([key("a"), key("b")]) == {key("b"): READING} and not store.keeps_texts
    assert store.get([key("a")])[key("a")].reasoning is None
    store.close()
    assert not any(word in (tmp_path / "v.sqlite").read_bytes() for word in (b"think", b"thought", b"[2]"))


def test_many_keys_at_once(tmp_path):
    store = VerdictStore(tmp_path / "v")
    keys = [key(str(number)) for number in range(2345)]
    store.put((name, VERDICT) for name in keys)
    assert store.get(keys) == dict.fromkeys(keys, VERDICT)


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_keys_differ_when_their_parts_do(first, second):
    assert (key(*first) == key(*second)) == (first == second)


def _damaged(path: Path) -> None:
    store = VerdictStore(path)
    store.put((key(str(n)), Verdict(1.0, "x" * 500, 1, 1, "verdict")) for n in range(200))
    store.close()
    data = bytearray(path.read_bytes())
    data[8192:16384] = b"\xa5" * 8192
    path.write_bytes(data)


def _cut_short(path: Path) -> None:
    _damaged(path)
    path.write_bytes(path.read_bytes()[:4096])


def _without_its_table(path: Path) -> None:
    VerdictStore(path).close()
    with sqlite3.connect(path) as database:
        database.execute("DROP TABLE verdicts")
    database.close()


def _without_its_second_table(path: Path) -> None:
    VerdictStore(path).close()
    with sqlite3.connect(path) as database:
        database.execute("DROP TABLE answers")
    database.close()


def _other_database(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE verdicts (key TEXT)")
    database.close()


def _other_layout(path: Path) -> None:
    VerdictStore(path).close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA journal_mode=DELETE")
        database.execute("PRAGMA user_version=99")
    database.close()


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (
            lambda path: path.write_text("q1 Q0 d1 1 2.5 bm25\n" * 9),
            InputError,
            "not a LimRank store and is left unchanged; use",
        ),
        (lambda path: path.write_bytes(b"SQLite format 3\0"), InputError, "is not a LimRank store"),
        (_other_database, InputError, "is not a LimRank store"),
        (_other_layout, InputError, "is a store of layout 99, but this version reads 3"),
        (_damaged, EngineError, "the store is damaged.*; move it away to start a new one"),
        (_cut_short, EngineError, "the store is damaged"),
        (_without_its_table, EngineError, "the store failed.*no such table: verdicts"),
        (_without_its_second_table, EngineError, "the store failed.*no such table: answers"),
    ],
    ids=[
        "text",
        "a header alone",
        "another database",
        "another layout",
        "damaged",
        "cut short",
        "without its table",
        "without its second table",
    ],
)
def test_other_and_damaged_files_are_refused_and_left_unchanged(tmp_path, make, kind, message):
    path = tmp_path / "v.sqlite"
    make(path)
    before = path.read_bytes()
    with pytest.raises(kind, match=message) as caught:
        VerdictStore(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["v.sqlite"]


def test_a_newer_layout_in_the_write_ahead_log_is_refused(tmp_path):
    VerdictStore(tmp_path / "v").close()
    newer = sqlite3.connect(tmp_path / "v")
    newer.execute("PRAGMA user_version=4")
    assert (tmp_path / "v").read_bytes()[60:64] == (3).to_bytes(4, "big")  # the file's own header lags behind
    with pytest.raises(InputError, match="is a store of layout 4, but this version reads 3"):
        VerdictStore(tmp_path / "v")
    newer.close()


@pytest.mark.parametrize("openings", [1, 2])
@pytest.mark.parametrize("layout", [1, 2])
def test_a_store_of_an_older_layout_is_brought_up_to_date(tmp_path, layout, openings):
    path = tmp_path / "v.sqlite"
    VerdictStore(path).close()
    with sqlite3.connect(path) as database:
        database.execute("DROP TABLE answers")
        if layout == 1:
            database.execute("ALTER TABLE verdicts DROP COLUMN label_mass")
        values = "?, 2.5, NULL, 7, 0, 'verdict', 1" + ", NULL" * (layout - 1)
        database.execute(f"INSERT INTO verdicts VALUES ({values})", (key("old"),))
        database.execute(f"PRAGMA user_version={layout}")
    database.close()
    stores = [VerdictStore(path) for _ in range(openings)]
    new = Verdict(1.5, None, 3, 0, "verdict", 0, 0.25)
    stores[0].put([(key("new"), new)])
    for store in stores:
        assert store.get([key("old"), key("new")]) == {
            key("old"): Verdict(2.5, None, 7, 0, "verdict", 1),
            key("new"): new,
        }
        assert store.get_answers([key("old")]) == {}
    stores[0].put_answers([(key("old"), WRITTEN)])
    assert stores[-1].get_answers([key("old")]) == {key("old"): WRITTEN}


def test_a_folder_or_an_unwritable_place(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        VerdictStore(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match=r"cannot be a store .*; choose another place"):
        VerdictStore(tmp_path / "file" / "v.sqlite")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anything")
def test_opening_a_store_that_cannot_be_written_is_an_error(tmp_path):
    VerdictStore(tmp_path / "v").close()
    (tmp_path / "v").chmod(0o400)
    with pytest.raises(InputError, match="the store cannot be written; check the file's permissions"):
        VerdictStore(tmp_path / "v")


def test_the_home_folder_may_be_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    VerdictStore("~/deep/v.sqlite").put([(key("a"), VERDICT)])
    assert len(VerdictStore(Path("~/deep/v.sqlite"))) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]


def test_a_store_that_another_process_keeps_locked_is_an_engine_error(tmp_path, monkeypatch):
    monkeypatch.setattr("limrank_ir.formats.sqlite.LOCK_TIMEOUT", 0.05)
    store = VerdictStore(tmp_path / "v")
    store.put([(key("a"), VERDICT)])
    other = sqlite3.connect(tmp_path / "v", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for wants_to_write in (lambda: VerdictStore(tmp_path / "v"), lambda: store.put([(key("b"), VERDICT)])):
        with pytest.raises(EngineError, match="v: another process keeps the store locked; wait for it, or use"):
            wants_to_write()
    assert store.get([key("a")]) == {key("a"): VERDICT}  # reading does not wait
    other.execute("ROLLBACK")
    store.put([(key("b"), VERDICT)])
    assert len(store) == 2


def test_an_empty_file_becomes_a_store(tmp_path):
    (tmp_path / "v").touch()
    VerdictStore(tmp_path / "v").put([(key("a"), VERDICT)])
    assert len(VerdictStore(tmp_path / "v")) == 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory, smol_folder):
    return tiny.make(tmp_path_factory.mktemp("tiny"), smol_folder)


PAIRS = [(f"query {n % 7} about something", f"passage {n} " * (1 + n % 13)) for n in range(120)]

SCRIPT = """
import json, sys, time
from limrank_ir import LimRank
from limrank_ir.engines.loading import Loaded
folder, store, slow = sys.argv[1:]
run = Loaded.run
def slowly(self, *args):
    time.sleep(float(slow))
    return run(self, *args)
Loaded.run = slowly
pairs = [(f"query {n % 7} about something", f"passage {n} " * (1 + n % 13)) for n in range(120)]
limrank = LimRank(folder, prompt_format="rank1", think="never", store=store, batch_size=6)
print("ready", flush=True)
scores = limrank.predict(pairs).tolist()
print(json.dumps([scores, limrank.stats.judged, limrank.stats.stored]))
"""


def start(folder: Path, store: Path, slow: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT, str(folder), str(store), str(slow)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def rows(store: Path) -> int:
    if not store.exists():
        return 0
    with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as database:
        return database.execute("SELECT COUNT(*) FROM verdicts").fetchone()[0]


def test_kill_and_resume(folder, tmp_path):
    """After a real kill -9, a second run continues, and its scores are identical, bit for bit."""
    whole = start(folder, tmp_path / "whole.sqlite", 0)
    expected, judged, _ = json.loads(whole.communicate()[0].splitlines()[-1])
    assert judged == len(PAIRS)

    store = tmp_path / "killed.sqlite"
    process = start(folder, store, 0.3)
    deadline = time.monotonic() + 60
    while rows(store) < 30 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = rows(store)
    assert 30 <= kept < len(PAIRS)

    again = start(folder, store, 0)
    scores, judged, stored = json.loads(again.communicate()[0].splitlines()[-1])
    assert (stored, judged) == (kept, len(PAIRS) - kept)  # nothing that was finished is judged again
    assert scores == expected


def test_two_processes_share_a_store(folder, tmp_path):
    both = [start(folder, tmp_path / "shared.sqlite", 0.01) for _ in range(2)]
    results = [json.loads(process.communicate()[0].splitlines()[-1])[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert results[0] == pytest.approx(results[1], abs=1e-3)
    assert rows(tmp_path / "shared.sqlite") == len(PAIRS)


def test_cut_passages_are_reported_again_for_stored_verdicts(folder, tmp_path, caplog):
    for judged in (1, 0):
        limrank = LimRank(str(folder), prompt_format="rank1", think="never", store=tmp_path / "v", max_length=60)
        limrank.judge([("q", "word " * 300)])
        assert (limrank.stats.judged, limrank.stats.cut) == (judged, 1)
    assert len(caplog.records) == 2 and caplog.records[0].getMessage() == caplog.records[1].getMessage()


def test_everything_that_changes_a_verdict_is_in_the_key(folder, tmp_path, smol_folder):
    other = tiny.make(tmp_path / "other", smol_folder, seed=9)
    store = VerdictStore(tmp_path / "v")

    def judged(name=folder, pair=("q", "p"), **options) -> int:
        limrank = LimRank(str(name), prompt_format="rank1", store=store, **{"think": "never", **options})
        limrank.judge([pair])
        return limrank.stats.judged

    assert [judged(), judged()] == [1, 0]
    for change in (
        {"name": other},
        {"think": "always", "budget": 3},
        {"think": "always", "budget": 4},
        {"dtype": "bfloat16"},
        {"max_length": 99},
        {"task": "pony"},
        {"pair": ("q", "p2")},
        {"pair": ("q2", "p")},
        {"pair": ("q", "p", "only recipes")},
    ):
        assert [judged(**change), judged(**change)] == [1, 0], change
    assert judged(batch_size=3) == 0 and judged(device="cpu") == 0 and judged(pair=("q", "p", None)) == 0
