"""RankLLM's pointwise rerankers that run from a folder, on a CPU, too: MonoT5 and MonoELECTRA."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from limrank_ir.errors import InputError
from limrank_ir.formats.checkpoint import check_files, fingerprint
from limrank_ir.models import ModelOptions
from limrank_ir.retrieval.encoders import loading

from .complete import check_complete
from .rank_llm import POINTWISE, need_rank_llm, rank_llm, version, without_prints
from .system import FUSION_WEIGHT, InstructedPair, Scorer, System, Work

CONTEXT = 512  # tokens; RankLLM's default for both
BATCH = 32  # pairs; RankLLM's default
KINDS = {  # the architecture in config.json to RankLLM's module and class
    "T5ForConditionalGeneration": ("monot5", "MonoT5"),
    "ElectraForSequenceClassification": ("monoelectra", "MonoELECTRA"),
}


def pointwise_system(name: str, options: ModelOptions) -> System:
    """A pointwise reranker of RankLLM. Its score is RankLLM's: P(true) of MonoT5, the logit of MonoELECTRA.

    RankLLM changes texts before they are read: white space is collapsed, ``[1]`` becomes ``(1)``, and passages are cut
    to fit `CONTEXT` tokens. The instruction is not read.

    Args:
        name: `POINTWISE` and the folder of a MonoT5 or MonoELECTRA.
        options: only `device` and `max_length` matter.

    Returns:
        The system.

    Raises:
        InputError: RankLLM is not installed, the folder holds none of these models, or files are broken.
    """
    who = f"--system {name}"
    need_rank_llm(who)
    folder = Path(name.removeprefix(POINTWISE)).expanduser()
    kind = _kind(folder, who)
    context = min(CONTEXT, options.get("max_length") or CONTEXT)

    def start() -> Scorer:
        import torch

        module, made = KINDS[kind]
        with loading(who), without_prints():
            reranker = getattr(rank_llm(f"rank_llm.rerank.pointwise.{module}"), made)(
                model=str(folder),
                context_size=context,
                device=options.get("device") or ("cuda" if torch.cuda.is_available() else "cpu"),
                batch_size=BATCH,
            )
            check_complete(reranker._llm, folder, who)
        return lambda pairs, advance: _score(reranker, pairs, advance, who)

    return System(
        name=name,
        label=folder.resolve().name,
        identity=f"{version()} {fingerprint(folder)} max_length={context}",
        weight=FUSION_WEIGHT,
        adapter=None,
        start=start,
    )


def _kind(folder: Path, who: str) -> str:
    """The model's architecture."""
    config = folder / "config.json"
    if not config.is_file():
        raise InputError(f"{who}: no config.json in {folder}; give the folder of a MonoT5 or MonoELECTRA")
    check_files(folder)
    try:
        settings = json.loads(config.read_text(encoding="utf-8"))
        kinds = settings.get("architectures") or []
    except (ValueError, AttributeError) as error:
        raise InputError(f"{config}: not a JSON object ({error}); download the file again") from error
    for kind in KINDS:
        if kind in kinds:
            return kind
    raise InputError(
        f"{who}: {', '.join(map(str, kinds)) or 'no architecture'} in {config}; RankLLM's pointwise models that run "
        f"from a folder are {' and '.join(KINDS)}"
    )


def _score(
    reranker: Any, pairs: Sequence[InstructedPair], advance: Callable[[int], None], who: str
) -> tuple[list[float], Work]:
    """Score pairs in RankLLM's batches, by the two methods that every reranker of its has.

    Its own ``rerank_batch`` gives the same scores, but it draws a progress bar of its own and searches all requests
    for each candidate.
    """
    data = rank_llm("rank_llm.data")
    started = time.perf_counter()
    scores: list[float] = []
    tokens: list[int] = []
    for first in range(0, len(pairs), BATCH):
        batch = pairs[first : first + BATCH]
        prompts = []
        for query, passage, _ in batch:
            result = data.Result(
                query=data.Query(query, "q"),
                candidates=[data.Candidate("d", 0.0, {"text": passage})],
                invocations_history=[],
            )
            try:
                prompt, count = reranker.create_prompt(result=result, index=0)
            except (AssertionError, ValueError, OverflowError, IndexError) as error:
                raise InputError(
                    f"{who}: RankLLM cannot make a prompt of at most {reranker._context_size} tokens for the query "
                    f"{query[:60]!r} ({str(error).splitlines()[0] if str(error) else type(error).__name__}); raise "
                    "--max-length if it is set, or leave this system out"
                ) from error
            prompts.append(prompt)
            tokens.append(count)
        _, _, batch_scores = reranker.run_llm_batched(prompts=prompts)
        scores += map(float, batch_scores)
        advance(len(batch))
    seconds = time.perf_counter() - started
    lost = [max(0, reranker.get_num_tokens(f"{query} {passage}") - _room(reranker)) for query, passage, _ in pairs]
    work = Work(
        pairs=len(pairs),
        judged=len(pairs),
        seconds=seconds,
        tokens=sum(tokens),
        cut=sum(count > 0 for count in lost),
        cut_tokens=sum(lost),
        pair_tokens=tuple(tokens),
    )
    return scores, work


def _room(reranker: Any) -> int:
    """The tokens that query and passage have together: MonoT5 keeps 64 for its template's words and the answer."""
    return int(reranker._context_size) - (64 if type(reranker).__name__ == "MonoT5" else 10)
