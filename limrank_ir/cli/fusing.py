"""What ``limrank rerank`` fuses with the verdicts: other runs, and a sentence encoder's scores of the passages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from limrank_ir.cli import console
from limrank_ir.errors import InputError
from limrank_ir.formats.trec import read_run
from limrank_ir.ranking.candidates import Candidates
from limrank_ir.ranking.fusion import FIRST_STAGE, MODEL, Fuse, Scores, fusion_weights
from limrank_ir.retrieval import minilm

if TYPE_CHECKING:
    from limrank_ir.models import Model
    from limrank_ir.retrieval.similarity import DenseScorer

ENCODER = "dense:"  # a sentence-transformers folder or hub id follows


@dataclass(frozen=True)
class Fusing:
    """What is fused.

    Attributes:
        weights: the weights of the first stage, of each further score, and of the model, by name; None: no fusion.
        runs: further runs by name.
        encoders: sentence encoders by name.
    """

    weights: Mapping[str, float] | None
    runs: Mapping[str, Scores]
    encoders: Mapping[str, DenseScorer]

    def named(self, run: Path) -> dict[str, float] | None:
        """The weights, with the first stage under the name of its run."""
        if self.weights is None:
            return None
        return {str(run) if name == FIRST_STAGE else name: weight for name, weight in self.weights.items()}

    def scores(self, candidates: Candidates) -> dict[str, Scores]:
        """All further scores of the candidates, by name. What runs lack is logged.

        Raises:
            InputError: a run has none of the queries, or an encoder cannot be loaded.
        """
        candidates.check_fused(self.runs)
        found: dict[str, Scores] = dict(self.runs)
        pairs = [(query, text) for query, text, _ in candidates.pairs()] if self.encoders else []
        for name, scorer in self.encoders.items():
            with console.progress(name, len(pairs), "pairs") as advance:
                found[name] = candidates.best_scores(scorer.predict(pairs, progress=advance).tolist())
        return found


def read_fusing(
    run: Path, names: Sequence[str], option: bool | float, weights: str | None, model: Model, device: str | None
) -> Fusing:
    """Read what is fused with the verdicts. Encoders are not loaded.

    Args:
        run: the first-stage run.
        names: the values of ``--fuse-with``.
        option: ``--fuse`` or ``--fuse-weight``.
        weights: ``--fuse-weights``.
        model: the reranker, for its default weights.
        device: the device of the encoders.

    Returns:
        The runs, encoders, and weights.

    Raises:
        InputError: something is given twice, a run is malformed, an encoder is not installed, or the weights do not
            fit.
    """
    for place, name in enumerate(names):
        if name == str(run) or name in names[:place]:
            raise InputError(f"--fuse-with {name}: given twice; to count it more, use --fuse-weights")
    chosen: Fuse = option
    if weights is not None:
        values = read_weights("--fuse-weights", weights, [str(run), *names, model.name])
        chosen = dict(zip([FIRST_STAGE, *names, MODEL], values, strict=True))
    elif names and option is False:
        chosen = True
    shares = fusion_weights(chosen, [FIRST_STAGE, *names], model)
    encoders = {name: _scorer(name, device) for name in names if name == minilm.NAME or name.startswith(ENCODER)}
    return Fusing(shares, {name: read_scores(name) for name in names if name not in encoders}, encoders)


def read_scores(path: str | Path) -> Scores:
    """Read a TREC run as scores (`limrank_ir.formats.trec.read_run`)."""
    return {qid: {entry.docno: entry.score for entry in entries} for qid, entries in read_run(path).items()}


def read_weights(option: str, text: str, names: Sequence[str]) -> list[float]:
    """Read weights from the command line.

    Args:
        option: the option, for the message.
        text: numbers separated by commas, such as ``1,1,2``.
        names: what they belong to, in order.

    Returns:
        One weight for each name.

    Raises:
        InputError: one is not a number, or there are fewer or more than names.
    """
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(f"{option} {text}: not numbers separated by commas, such as 1,1,2") from error
    if len(found) != len(names):
        raise InputError(
            f"{option} {text}: {len(found)} weights for {len(names)} scores; give those of {', '.join(names)}"
        )
    return found


def _scorer(name: str, device: str | None) -> DenseScorer:
    from limrank_ir.retrieval.similarity import DenseScorer

    return DenseScorer(name.removeprefix(ENCODER), device=device)
