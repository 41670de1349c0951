"""RankLLM's listwise reranking with the model of an OpenAI-compatible server."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import httpx

from limrank_ir.errors import InputError
from limrank_ir.extras import need
from limrank_ir.llm.chat import Server, check_key
from limrank_ir.models import BUDGET, ModelOptions

from .rank_llm import LISTWISE, need_rank_llm, rank_llm, version, without_prints
from .system import FUSION_WEIGHT, InstructedPair, Scorer, System, Work, by_query

if TYPE_CHECKING:
    from .rank_llm_windows import Windows

log = logging.getLogger("limrank_ir")

CONTEXT = 4096  # tokens of a window's prompt and answer; RankLLM's default
ANSWERS = "rank-llm.sqlite"  # beside LimRank's verdicts
SECONDS = 10.0  # to wait for the list of the server's models


def listwise_system(name: str, options: ModelOptions, store: Path) -> System:
    """A listwise reranker: RankLLM's prompt, sliding windows of 20 passages, and reading of answers.

    It gives an order, so scores are minus ranks. RankLLM reads an answer in the wrong form as well as it can, and
    passages that the answer leaves out come last, in their order; the pairs in such windows count as `Work.forced`.
    The instruction is not read. All answers are kept, so that a second call resumes.

    Args:
        name: `LISTWISE` and the URL of an OpenAI-compatible server, which may follow the name of its model, as in
            ``MODEL@URL``.
        options: only `max_length` (tokens of a window's prompt and answer), `think`, and `budget` matter.
        store: the file for LimRank's verdicts; answers are kept in `ANSWERS` beside it.

    Returns:
        The system.

    Raises:
        InputError: RankLLM or openai is not installed, there is no URL, the server cannot be reached, or it has no
            such model.
    """
    who = f"--system {name}"
    need_rank_llm(who)
    need(who, "bench", "openai")
    model, _, url = name.removeprefix(LISTWISE).rpartition("@")
    if not url.startswith(("http://", "https://")):
        raise InputError(
            f"{who}: give the URL of an OpenAI-compatible server, as in {LISTWISE}http://localhost:8000/v1 (RankLLM "
            "itself runs a folder only with vLLM: start `vllm serve FOLDER`)"
        )
    url = url.rstrip("/")
    if not httpx.URL(url).path.strip("/"):
        url += "/v1"
    server = Server(base_url=url)
    check_key(server, who)
    chosen = _model(who, server, model or None)
    label = f"{LISTWISE.rstrip(':')}-{Path(chosen).name.removesuffix('.gguf')}"
    context = options.get("max_length") or CONTEXT
    thought = (options.get("budget") or BUDGET) if options.get("think") == "always" else 0

    def ranking(answers: Path) -> Scorer:
        from .rank_llm_windows import Windows

        def score(pairs: Sequence[InstructedPair], advance: Callable[[int], None]) -> tuple[list[float], Work]:
            with without_prints():
                windows = Windows(chosen, server, answers, context=context, thought=thought)
            return asyncio.run(_score(windows, pairs, advance))

        return score

    def fresh() -> Scorer:
        def score(pairs: Sequence[InstructedPair], advance: Callable[[int], None]) -> tuple[list[float], Work]:
            with TemporaryDirectory() as folder:
                return ranking(Path(folder, ANSWERS))(pairs, advance)

        return score

    return System(
        name=name,
        label=label,
        identity=f"{version()} {chosen} at {url} max_length={context} thought={thought}",
        weight=FUSION_WEIGHT,
        adapter=None,
        start=lambda: ranking(store.with_name(ANSWERS)),
        fresh=fresh,
    )


def _model(who: str, server: Server, model: str | None) -> str:
    """The name that the server has for its model."""
    key = os.environ.get(server.key_env)
    try:
        answer = httpx.get(
            f"{server.base_url}/models",
            timeout=SECONDS,
            headers={"Authorization": f"Bearer {key}"} if key else {},
        ).raise_for_status()
        names = [str(entry["id"]) for entry in answer.json()["data"]]
    except httpx.HTTPError as error:
        raise InputError(
            f"{who}: {server.base_url}/models: {error or type(error).__name__}; start the server"
        ) from error
    except (ValueError, LookupError, TypeError) as error:
        raise InputError(f"{who}: {server.base_url}/models: not a list of models; check the URL") from error
    if model is None and len(names) == 1:
        return names[0]
    if model not in names:
        raise InputError(f"{who}: the server has {', '.join(names[:20]) or 'no model'}; give {LISTWISE}MODEL@URL")
    return model


async def _score(
    windows: Windows, pairs: Sequence[InstructedPair], advance: Callable[[int], None]
) -> tuple[list[float], Work]:
    data = rank_llm("rank_llm.data")
    started = time.perf_counter()
    queries = [(pairs[places[0]][0], list(places)) for places in by_query(pairs) if places]
    scores = [0.0] * len(pairs)
    loop = asyncio.get_running_loop()

    async def order(query: str, places: list[int]) -> None:
        candidates = [data.Candidate(str(place), 0.0, {"text": pairs[place][1]}) for place in places]
        docids = await loop.run_in_executor(threads, windows.rank, data.Request(data.Query(query, "q"), candidates))
        for rank, docid in enumerate(docids, start=1):
            scores[int(docid)] = -float(rank)
        advance(len(places))

    with ThreadPoolExecutor(windows.server.most) as threads:
        async with windows:
            try:
                async with asyncio.TaskGroup() as group:
                    for query, places in queries:
                        group.create_task(order(query, places))
            except BaseExceptionGroup as failed:
                raise failed.exceptions[0] from None
    if malformed := sum(windows.faults.values()):
        kinds = ", ".join(f"{kind.replace('_', ' ')} {count}" for kind, count in windows.faults.items() if count)
        log.warning(
            "%s: %d of %d answers are malformed (%s)", Path(windows.model).name, malformed, windows.answers, kinds
        )
    lost = [
        max(0, len(pairs[place][1].split()) - windows.words(min(windows.most, len(places))))
        for _, places in queries
        for place in places
    ]
    work = Work(
        pairs=len(pairs),
        judged=len(windows.read),
        seconds=time.perf_counter() - started,
        tokens=windows.tokens,
        cut=sum(words > 0 for words in lost),
        cut_tokens=sum(lost),
        forced=len(windows.repaired),
    )
    return scores, work
