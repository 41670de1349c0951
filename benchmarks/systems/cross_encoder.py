"""sentence-transformers' cross-encoders as systems: classifiers, and causal models with a LogitScore behind them."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from limrank_ir.errors import InputError
from limrank_ir.extras import need
from limrank_ir.formats.checkpoint import fingerprint
from limrank_ir.models import ModelOptions
from limrank_ir.retrieval.encoders import loading, token_counts

from .complete import check_complete, weights_folder
from .system import FUSION_WEIGHT, InstructedPair, Scorer, System, Work

CROSS_ENCODER = "cross-encoder:"  # before the folder
CHUNK = 256  # pairs between two steps of the progress bar
PROMPTS = ("chat_template.jinja", "config_sentence_transformers.json")  # they change a score, too


def cross_encoder_system(folder: Path, options: ModelOptions) -> System:
    """A cross-encoder in a folder, run by sentence-transformers itself with its own batches.

    It reads the query and the passage. A causal model (LogitScore) also reads the instruction, which takes the place
    of the folder's own prompt.

    Args:
        folder: what ``CrossEncoder.save_pretrained`` wrote.
        options: only `device` and `max_length` matter.

    Returns:
        The system.

    Raises:
        InputError: sentence-transformers is not installed, or the folder holds no model.
    """
    name = f"{CROSS_ENCODER}{folder}"
    who = f"--system {name}"
    need(who, "bench", "sentence_transformers")
    weights = weights_folder(folder)
    if not (weights / "config.json").is_file():
        raise InputError(f"{who}: no config.json in {weights}; give the folder of a CrossEncoder")
    limit = options.get("max_length")
    logit_score = _logit_score(folder, who)
    causal = logit_score is not None

    def start() -> Scorer:
        import torch
        from sentence_transformers import CrossEncoder

        with loading(who):
            model = CrossEncoder(
                str(folder),
                device=options.get("device"),
                local_files_only=True,
                activation_fn=torch.nn.Identity(),  # a sigmoid saturates and makes ties
            )
            check_complete(model[0].auto_model, weights, who)
        if model.num_labels != 1:
            raise InputError(f"{who}: has {model.num_labels} labels; give a model with a single score")
        lengths = [length for length in (limit, model.max_length) if length is not None]
        if lengths:
            model.max_length = min(lengths)
        model.predict([("warm-up", "warm-up")], show_progress_bar=False)
        return lambda pairs, advance: _score(model, pairs, advance, instructed=causal)

    return System(
        name=name,
        label=folder.resolve().name,
        identity=f"{fingerprint(folder)} {_prompts(folder)} max_length={limit}",
        weight=FUSION_WEIGHT,
        adapter=None,
        start=start,
        reads="query and instruction" if causal else "query",
        log_odds=logit_score is not None and logit_score.get("false_token_id") is not None,
    )


def _logit_score(folder: Path, who: str) -> dict[str, Any] | None:
    """The settings of the folder's LogitScore, which is behind a causal model; None for a classifier."""
    try:
        modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
        for module in modules:
            if module["type"].endswith(".LogitScore"):
                return dict(json.loads((folder / module["path"] / "config.json").read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(f"{who}: {folder} has a broken modules.json ({error}); save the model again") from error
    return None


def _prompts(folder: Path) -> str:
    """A hash of the files that say how a pair becomes text."""
    digest = hashlib.sha256()
    for name in PROMPTS:
        if (folder / name).is_file():
            digest.update(name.encode() + (folder / name).read_bytes())
    return f"prompts={digest.hexdigest()[:16]}"


def _score(
    model: Any, pairs: Sequence[InstructedPair], advance: Callable[[int], None], *, instructed: bool
) -> tuple[list[float], Work]:
    started = time.perf_counter()
    scores: list[float] = []
    for instruction, group in groupby(pairs, lambda pair: pair[2] if instructed else None):
        same = [(query, passage) for query, passage, _ in group]
        for first in range(0, len(same), CHUNK):
            chunk = same[first : first + CHUNK]
            scores += map(float, model.predict(chunk, prompt=instruction, show_progress_bar=False))
            advance(len(chunk))
    seconds = time.perf_counter() - started
    lengths = _lengths(model, pairs, instructed=instructed)
    limit = model.max_length or max(lengths)
    tokens = tuple(min(length, limit) for length in lengths)
    work = Work(
        pairs=len(pairs),
        judged=len(pairs),
        seconds=seconds,
        tokens=sum(tokens),
        cut=sum(length > limit for length in lengths),
        cut_tokens=sum(max(length - limit, 0) for length in lengths),
        pair_tokens=tokens,
    )
    return scores, work


def _lengths(model: Any, pairs: Sequence[InstructedPair], *, instructed: bool) -> list[int]:
    """The pairs' lengths in tokens with whatever the model puts around the two texts, before anything is cut."""
    default = model.prompts.get(model.default_prompt_name)
    bare = token_counts(model.tokenizer, ["a"], ["a"])[0]

    @cache
    def around(prompt: str | None) -> int:
        return int(model.preprocess([("a", "a")], prompt=prompt)["attention_mask"].sum()) - bare

    texts = [query for query, _, _ in pairs], [passage for _, passage, _ in pairs]
    prompts = [instruction if instructed and instruction is not None else default for _, _, instruction in pairs]
    return [
        length + around(prompt) for length, prompt in zip(token_counts(model.tokenizer, *texts), prompts, strict=True)
    ]
