"""Find the files of one system on one collection in a folder that ``limrank bench suite`` wrote."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from limrank_ir.errors import InputError
from limrank_ir.formats.files import find

from ..folder import read_json
from ..suite.collection import CORPUS, QRELS, TOPICS
from ..systems.system import FIRST_STAGE


class Files(NamedTuple):
    """What the page is made from.

    Attributes:
        run: the first stage's run.
        reranked: the run after reranking.
        topics: the topics.
        corpus: the corpus.
        qrels: the judgments.
    """

    run: Path
    reranked: Path
    topics: Path
    corpus: Path
    qrels: Path


def suite_files(folder: Path, collection: str | None, system: str | None) -> Files:
    """Find the files.

    Args:
        folder: the suite's output folder.
        collection: the collection's name; None if there is only one.
        system: the system's label, or its label with ``-fused``; None if there is only one.

    Returns:
        The files, which exist.

    Raises:
        InputError: the folder is not the suite's, the choice is not clear, or the collection has moved.
    """
    results = folder / "results.json"
    if not results.is_file():
        raise InputError(
            f"{folder}: no results.json; give a folder that `limrank bench suite` wrote, or --run and others"
        )
    report = read_json(results)
    if not isinstance(report, dict) or "collections" not in report:
        raise InputError(f"{results}: not of `limrank bench suite`; give --run, --reranked, and the others instead")
    name = _choice("--collection", collection, report["collections"], results)
    runs = next((place for place in (folder / "runs" / name, folder / "work/runs" / name) if place.is_dir()), None)
    if runs is None:
        raise InputError(f"{folder}: its runs are not in it; run the suite again with --runs")
    labels = [file.name.removesuffix(".run.gz") for file in sorted(runs.glob("*.run.gz"))]
    alone = [label for label in labels if label != FIRST_STAGE and not label.endswith("-fused")]
    label = _choice("--system", system, alone if system is None else labels, runs)
    home = Path(report["collections"][name]["folder"])
    if not home.is_dir():
        raise InputError(f"{results}: {name} was in {home}, which is not there; run this command from the same folder")
    topics, corpus, qrels = (find(home, names) for names in (TOPICS, CORPUS, QRELS))
    return Files(runs / f"{FIRST_STAGE}.run.gz", runs / f"{label}.run.gz", topics, corpus, qrels)


def _choice(option: str, given: str | None, names: Collection[str], where: Path) -> str:
    """The given name, or the only one."""
    if given in names:
        return str(given)
    if given is None and len(names) == 1:
        return next(iter(names))
    problem = "choose one" if given is None else f"{given} is unknown; choose one"
    raise InputError(f"{where}: {option}: {problem} of: {', '.join(names)}")
