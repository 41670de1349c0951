"""The queue: batches that span requests, callers that leave, and whose fault a failure is."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from limrank_ir import EngineError, InputError
from limrank_ir.http.queueing import Full, Queue
from limrank_ir.rankers.setwise import Setwise
from limrank_ir.rankers.stats import AskStats
from tests.judges import Perfect, candidates, ideal


class Slow:
    """A model that judges pair by pair while its gate is open, and records the batches it was given."""

    def __init__(self, *, faults=frozenset(), seconds=0.0):
        self.batches = []
        self.judged = []
        self.gate = threading.Event()
        self.faults = faults
        self.seconds = seconds

    def judge(self, pairs, *, progress):
        self.batches.append(list(pairs))
        assert self.gate.wait(20)
        for query, text in pairs:
            if query == "bad":
                raise InputError("bad query")
            if query in self.faults:
                raise EngineError("out of memory")
            time.sleep(self.seconds)
            self.judged.append((query, text))
            progress(1)
        return list(pairs)


class Running:
    """A running queue."""

    def __init__(self, model, **options):
        self.judged = []
        self.dropped = []
        self.model = model
        self.queue = Queue(
            model,
            **{"capacity": 100, "batch": 10, **options},
            on_judged=lambda pairs, seconds: self.judged.append(pairs),
            on_dropped=self.dropped.append,
        )

    async def __aenter__(self):
        self.worker = asyncio.create_task(self.queue.run())
        return self

    async def __aexit__(self, *error):
        self.model.gate.set()
        self.queue.close()
        await asyncio.wait_for(self.worker, 10)

    async def ask(self, *jobs):
        tasks = []
        for pairs in jobs:
            tasks.append(asyncio.create_task(self.queue.judge(pairs)))
            await asyncio.sleep(0.02)
        return tasks

    async def until_judged(self, count):
        async with asyncio.timeout(10):
            while len(self.model.judged) < count:
                await asyncio.sleep(0.001)


def many(query, count):
    return [(query, str(number)) for number in range(count)]


def test_waiting_requests_are_judged_together():
    async def main():
        async with Running(Slow(), batch=4) as running:
            jobs = [many("a", 1), many("b", 2), many("c", 6), many("d", 1)]
            tasks = await running.ask(*jobs)
            assert running.queue.pairs == 10
            running.model.gate.set()
            assert await asyncio.gather(*tasks) == jobs
            # The first was already running alone. The long one is judged in parts, with the short one in between.
            expected = [jobs[0], [*jobs[1], *jobs[2][:2]], [*jobs[3], *jobs[2][2:5]], jobs[2][5:]]
            assert running.model.batches == expected
            assert running.queue.pairs == 0 and sum(running.judged) == 10 and not running.dropped

    asyncio.run(main())


def test_a_full_queue_says_when_to_try_again_and_a_long_request_is_accepted_alone():
    async def main():
        async with Running(Slow(), capacity=3) as running:
            (first,) = await running.ask(many("a", 5))
            with pytest.raises(Full, match="the queue is full; try again in 5 s"):
                await running.queue.judge(many("b", 1))
            running.model.gate.set()
            assert len(await first) == 5
            assert await running.queue.judge(many("b", 1)) == many("b", 1)

    asyncio.run(main())


def test_the_retry_time_follows_the_speed_of_the_model():
    async def main():
        async with Running(Slow(seconds=0.02), capacity=60) as running:
            running.model.gate.set()
            await running.queue.judge(many("a", 10))
            running.model.gate.clear()
            (held,) = await running.ask(many("a", 60))
            with pytest.raises(Full) as full:
                await running.queue.judge(many("b", 1))
            assert 2 <= full.value.retry_after <= 20  # 60 pairs of 0.02 s and a little more
            running.model.seconds = 0
            running.model.gate.set()
            await held

    asyncio.run(main())


def test_a_caller_that_leaves_before_its_turn_causes_no_work():
    async def main():
        async with Running(Slow()) as running:
            tasks = await running.ask(many("a", 1), many("gone", 7), many("c", 1))
            tasks[1].cancel()
            await asyncio.sleep(0.02)
            assert running.queue.pairs == 2 and running.dropped == [7]
            running.model.gate.set()
            assert await tasks[0] == many("a", 1) and await tasks[2] == many("c", 1)
            assert all(query != "gone" for query, _ in running.model.judged)

    asyncio.run(main())


def test_a_caller_that_leaves_ends_the_running_batch():
    async def main():
        async with Running(Slow(seconds=0.01), batch=1000, capacity=1000) as running:
            running.model.gate.set()
            tasks = await running.ask(many("gone", 900))
            await running.until_judged(3)
            tasks[0].cancel()
            assert await asyncio.wait_for(running.queue.judge(many("b", 2)), 5) == many("b", 2)
            assert len(running.model.judged) < 100 and running.dropped == [900]
            assert running.judged[-1] == 2 and sum(running.judged) == len(running.model.judged)

    asyncio.run(main())


@pytest.mark.parametrize(("gone", "restarts"), [(80, True), (2, False)])
def test_when_some_callers_leave_a_batch_restarts_only_if_that_is_less_work(gone, restarts):
    async def main():
        async with Running(Slow(seconds=0.005), batch=1000, capacity=1000) as running:
            tasks = await running.ask(many("first", 1), many("a", 5), many("gone", gone), many("b", 5))
            running.model.gate.set()
            await running.until_judged(3)
            tasks[2].cancel()
            assert await tasks[1] == many("a", 5) and await tasks[3] == many("b", 5)
            assert len(running.model.batches) == (3 if restarts else 2)
            assert len(running.model.judged) < 1 + 10 + 50

    asyncio.run(main())


def test_a_bad_request_fails_alone():
    async def main():
        async with Running(Slow()) as running:
            tasks = await running.ask(many("a", 1), many("b", 1), many("bad", 1), many("c", 1), many("bad", 2))
            running.queue.close()  # accepted requests are still answered
            running.model.gate.set()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert [type(result) for result in results] == [list, list, InputError, list, InputError]

    asyncio.run(main())


def test_a_request_on_which_the_machine_fails_affects_no_other():
    async def main():
        async with Running(Slow(faults={"huge"})) as running:
            tasks = await running.ask(many("a", 1), many("b", 1), many("huge", 1), many("c", 1))
            running.model.gate.set()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert [type(result) for result in results] == [list, list, EngineError, list]

    asyncio.run(main())


def test_a_machine_that_fails_on_everything_is_not_tried_for_each_request():
    async def main():
        async with Running(Slow(faults=set("bcdefghi"))) as running:
            tasks = await running.ask(many("a", 1), *(many(query, 1) for query in "bcdefghi"))
            running.model.gate.set()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert [type(result) for result in results] == [list, *[EngineError] * 8]
            assert len(running.model.batches) == 1 + 1 + 2  # the first, the batch, and two alone
            running.model.faults = set()
            assert await running.queue.judge(many("b", 1)) == many("b", 1)

    asyncio.run(main())


def test_a_long_request_that_fails_is_not_continued():
    async def main():
        async with Running(Slow(), batch=4) as running:
            (task,) = await running.ask([*many("bad", 4), *many("a", 20)])
            running.model.gate.set()
            with pytest.raises(InputError):
                await task
            assert len(running.model.batches) == 1 and running.queue.pairs == 0 and not running.dropped

    asyncio.run(main())


class Asked(Perfect):
    """Answers the questions of rankers."""

    stats = AskStats()

    def __call__(self, questions, *, progress):
        progress(len(questions))
        return super().__call__(questions)


@pytest.mark.parametrize(("batch", "together"), [(10, True), (7, False)])
def test_rounds_of_rankers_are_asked_together_as_far_as_their_passages_fit_into_a_batch(batch, together):
    grades = [2, 7, 1, 9, 4, 3, 5]

    async def main():
        async with Running(Slow(), batch=batch) as running:
            ask = Asked()
            (held,) = await running.ask(many("a", 1))
            rankings = [running.queue.rank(Setwise(top=2), ask, candidates(grades, query)) for query in "bc"]
            orders = [asyncio.create_task(ranking) for ranking in rankings]
            (verdicts,) = await running.ask(many("d", 2))
            async with asyncio.timeout(10):
                while len(running.queue._jobs) < 3:
                    await asyncio.sleep(0.001)
            running.model.gate.set()
            for order in await asyncio.gather(*orders):
                assert list(order.indices[:2]) == ideal(grades)[:2]
            assert await held == many("a", 1) and await verdicts == many("d", 2)
            assert running.model.batches == [many("a", 1), many("d", 2)]
            assert [question.query for question in ask.batches[0]] == (["b", "c"] if together else ["b"])
            assert running.queue.pairs == 0

    asyncio.run(main())
