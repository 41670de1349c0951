"""Ray: the waves of a run on two workers. What is judged is what a single process judges, whatever is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from limrank_ir import EngineError, InputError, LimRank
from limrank_ir.ray import RayEngine, Workers, connect, on_ray
from limrank_ir.store import VerdictStore
from limrank_ir.verdict import Written

from .command_line import limrank, one_thread, process, rerank, write_broken_model, write_files
from .engines import reading
from .without import run_without

TWO = Workers(count=2, cpus=1)
QUERIES = 70  # three waves: 32, 32, 6
PAIRS = [(f"query {number}", "passage " * (number % 5 + 1)) for number in range(QUERIES)]


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """A Ray of our own on two cores, also where there is one core, and one thread as in each of its workers."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=200 << 20, log_to_driver=False)
    with one_thread():
        yield
    ray.shutdown()


class Stub:
    """Scores prompts by their lengths, notes what it judged, and kills its process at a query."""

    identity = "stub"

    def __init__(self, folder, *, fatal=None, times=1):
        self.folder, self.fatal, self.times = folder, fatal, times

    def read_labels(self, prompts, labels, *, think, budget, done=frozenset()):
        wanted = [index for index in range(len(prompts)) if index not in done]
        (self.folder / f"asked-{os.getpid()}-{time.time_ns()}").write_text(
            json.dumps([prompts[i].prefix for i in wanted])
        )
        deaths = len(list(self.folder.glob("death-*")))
        if self.fatal and deaths < self.times and any(self.fatal in prompts[index].prefix for index in wanted):
            (self.folder / f"death-{deaths}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        yield [(index, reading(float(len(prompts[index].prefix + prompts[index].passage)))) for index in wanted]

    def write(self, prompts, *, budget, stop=(), done=frozenset()):
        wanted = [index for index in range(len(prompts)) if index not in done]
        (self.folder / f"wrote-{os.getpid()}-{time.time_ns()}").touch()
        yield [(index, Written(f"{prompts[index].prefix} {budget} {stop}", 1, 1, "stop")) for index in wanted]

    def asked(self):
        """How often each prompt was asked."""
        return Counter(name for path in self.folder.glob("asked-*") for name in json.loads(path.read_text()))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def many_files(folder):
    """A topic for each of many queries, and a candidate for each."""
    (folder / "topics.tsv").write_text("".join(f"q{n}\thow do I copy file {n}?\n" for n in range(QUERIES)))
    (folder / "run.txt").write_text("".join(f"q{n} Q0 d{n % 6 + 1} 1 1 x\n" for n in range(QUERIES)))


def test_a_worker_that_is_killed_costs_its_wave_and_nothing_else(tmp_path):
    stub = Stub(tmp_path, fatal="query 40")
    store = VerdictStore(tmp_path / "store.db")
    limrank = on_ray(workers=TWO, engine=stub, store=store)
    verdicts = limrank.judge(PAIRS)
    asked = Counter(stub.asked().values())
    assert asked == {1: QUERIES - 32, 2: 32}  # twice in the wave of query 40
    assert verdicts == LimRank(engine=Stub(tmp_path)).judge(PAIRS)
    assert len(store) == QUERIES


def test_a_worker_that_is_killed_leaves_no_word_on_the_terminal_or_in_a_run_on_stdout(tmp_path):
    code = f"""
from pathlib import Path
from limrank_ir.ray import on_ray
from tests.test_ray import PAIRS, TWO, Stub
stub = Stub(Path({str(tmp_path)!r}), fatal="query 40")
print(len(on_ray(workers=TWO, engine=stub, store={str(tmp_path / "store.db")!r}).judge(PAIRS)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == (f"{QUERIES}\n", "")
    assert len(list(tmp_path.glob("death-*"))) == 1


def test_workers_write_what_is_not_written_yet(tmp_path):
    prompts = [LimRank().prompt(*pair) for pair in PAIRS]
    done = frozenset(range(0, QUERIES, 3)) | frozenset(range(32, 64))  # all of the second wave
    engine = on_ray(workers=TWO, engine=Stub(tmp_path)).engine
    written = dict(result for batch in engine.write(prompts, budget=7, stop=("\n",), done=done) for result in batch)
    alone = Stub(tmp_path).write(prompts, budget=7, stop=("\n",), done=done)
    assert written == dict(result for batch in alone for result in batch) and len(written) < QUERIES - 32
    assert len(list(tmp_path.glob("wrote-*"))) == 3  # two waves, and here


def test_workers_that_can_only_read_say_so_before_they_start(monkeypatch, tmp_path):
    monkeypatch.delattr(Stub, "write")
    with pytest.raises(InputError, match="only reads labels"):
        next(on_ray(address="10.255.255.1:6379", engine=Stub(tmp_path)).engine.write([], budget=1))


def test_workers_keep_their_models_from_chunk_to_chunk_of_a_long_run(tmp_path):
    limrank = on_ray(workers=TWO, engine=Stub(tmp_path))
    for chunk in (PAIRS, [(query + " again", passage) for query, passage in PAIRS]):
        limrank.judge(chunk)
    assert len({path.name.split("-")[1] for path in tmp_path.glob("asked-*")}) == 2


def test_a_wave_that_kills_every_worker_ends_the_run_with_one_line_and_the_rest_is_kept(tmp_path):
    store = VerdictStore(tmp_path / "store.db")
    stub = Stub(tmp_path, fatal="query 0", times=99)
    with pytest.raises(EngineError, match=r"^Ray workers died 3 times with the same batch, .*repeat the run") as error:
        on_ray(workers=TWO, engine=stub, store=store).judge(PAIRS)
    assert "\n" not in str(error.value)
    kept = len(store)
    assert 32 <= kept < QUERIES
    again = on_ray(workers=TWO, engine=Stub(tmp_path), store=store)
    assert len(again.judge(PAIRS)) == QUERIES
    assert (again.stats.stored, again.stats.judged) == (kept, QUERIES - kept)


def test_a_workers_error_is_passed_on_as_it_was_raised(folder):
    write_broken_model(folder)
    done = rerank("--model", folder / "model", "--prompt-format", "rank1", "--ray", "local", "--workers", 2)
    alone = rerank("--model", folder / "model", "--prompt-format", "rank1")
    assert done.exit_code == alone.exit_code == 2
    assert done.stderr == alone.stderr


def test_a_run_killed_with_minus_nine_continues_and_the_run_file_is_that_of_a_single_process(folder):
    many_files(folder)
    arguments = ("--store", "store.db", "--ray", "local", "--workers")
    command = ("rerank", "--run", "run.txt", "--topics", "topics.tsv", "--corpus", "corpus.jsonl", "-o", "out.txt")
    running = process(*command, *arguments, 1)
    deadline = time.monotonic() + 120
    store = None
    while store is None or len(store) == 0:
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
        store = VerdictStore("store.db") if Path("store.db").exists() else None
    os.kill(running.pid, signal.SIGKILL)
    running.communicate()
    kept = len(store)
    assert kept in (32, 64) and not Path("out.txt").exists()

    again = rerank(*arguments, 2)
    assert again.exit_code == 0, again.stderr
    assert f"({QUERIES - kept} judged, {kept} from the store)" in again.stderr
    whole = limrank(*command[:-1], "whole.txt")
    assert whole.exit_code == 0, whole.stderr
    assert Path("out.txt").read_bytes() == Path("whole.txt").read_bytes()


def test_options_of_workers_are_checked():
    with pytest.raises(InputError, match="count is 0; it must be at least 1"):
        Workers(count=0)
    with pytest.raises(InputError, match="a worker needs 2 GPUs; Ray has 0"):
        on_ray(workers=Workers(gpus=2), engine=Stub(Path())).judge(PAIRS)
    with pytest.raises(InputError, match="unknown option 'batchsize'"):
        RayEngine("limrank-smol", batchsize=3)


def test_workers_without_ray_have_no_effect_and_are_refused(folder):
    done = rerank("--workers", 2)
    assert done.exit_code == 2
    assert "no effect without --ray" in done.stderr


def test_ray_that_is_not_installed_is_one_line(folder):
    words = "rerank --run run.txt --topics topics.tsv --corpus corpus.jsonl -o out.txt --ray local"
    done = run_without(["ray"], words.split())
    assert done.returncode == 2
    assert done.stderr == "limrank: --ray needs ray; run: pip install 'limrank-ir[ray]'\n"


def test_a_second_connection_is_the_first():
    connect("10.255.255.1:6379")  # would be refused, or hang
