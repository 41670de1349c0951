"""FollowIR's three tasks, through mteb: from the hub at the revision that mteb pins, or from a local folder."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from limrank_ir.errors import InputError
from limrank_ir.formats.corpus import Passage
from limrank_ir.formats.topics import Topic
from limrank_ir.formats.trec import check_writable
from limrank_ir.formats.words import some

from .p_mrr import InstructionPair
from .task import MAP, NDCG, InstructionTask, sample

log = logging.getLogger("limrank_ir")

OFFICIAL = {
    "robust04": ("Robust04InstructionRetrieval", MAP),
    "news21": ("News21InstructionRetrieval", NDCG),
    "core17": ("Core17InstructionRetrieval", MAP),
}
"""Name to mteb's task and the measure of quality (FollowIR, arXiv 2403.15246, section 4)."""

CONFIGS = ("default", "corpus", "queries", "instruction", "qrel_diff", "top_ranked")
FEW_MISSING = 0.1  # of the queries may lack one of their instructions
ORIGINAL, CHANGED = "-og", "-changed"  # how qids end


def official_name(given: str) -> str:
    """Which task a name or a local folder means.

    Args:
        given: one of `OFFICIAL`, or a folder whose name contains one, such as ``core17-instructions``.

    Returns:
        The key in `OFFICIAL`.

    Raises:
        InputError: it is none of these, or names several.
    """
    found = [name for name in OFFICIAL if name in Path(given).resolve().name.lower()]
    if len(found) != 1:
        raise InputError(
            f"{given}: which task is it? Rename the folder so that it has one of {', '.join(OFFICIAL)} in it"
        )
    return found[0]


def is_dataset(folder: Path) -> bool:
    """Whether a folder is a data set of the hub: the head of its README.md says where the configurations are."""
    readme = folder / "README.md"
    return readme.is_file() and "config_name:" in readme.read_text(encoding="utf-8", errors="replace")


def read_official(given: str, *, k: int, queries: int | None = None, seed: int = 0) -> InstructionTask:
    """Read a task.

    Args:
        given: as for `official_name`; an existing folder is read, a name is fetched from the hub.
        k: candidates of each query, from the first in the data set's order.
        queries: how many base queries to sample; None: all.
        seed: seed of the sample.

    Returns:
        The task.

    Raises:
        InputError: the data cannot be had or are incomplete.
    """
    import mteb
    from datasets import disable_progress_bars, load_dataset

    disable_progress_bars()  # one for each step of each small file
    name = official_name(given)
    class_name, measure = OFFICIAL[name]
    task = mteb.get_task(class_name)
    folder = Path(given) if Path(given).is_dir() else None
    if folder is not None:
        source = {**task.metadata.dataset, "path": str(folder.resolve())}
        task.metadata = task.metadata.model_copy(update={"dataset": source})
    place = str(folder or task.metadata.dataset["path"])
    with _loading(place, None if folder else task.metadata.dataset["revision"]):
        task.load_data()
        rows = load_dataset(
            task.metadata.dataset["path"], "qrel_diff", split="qrel_diff", revision=task.metadata.dataset["revision"]
        )
        data = task.dataset["default"]["test"]
        changed = {row["query-id"]: row["corpus-ids"] for row in rows}
        columns = ["id", "text", "instruction"]
        topics = {
            row["id"]: Topic(row["id"], row["text"], row["instruction"])
            for row in data["queries"].select_columns(columns)
        }
        top_ranked: Mapping[str, Sequence[str]] = data["top_ranked"] or {}
    pairs = _pairs(place, changed, topics, top_ranked)
    pairs = [pair for pair in pairs if pair.name in set(sample([pair.name for pair in pairs], queries, seed))]
    qids = [qid for pair in pairs for qid in (pair.original, pair.changed)]
    candidates = {qid: list(top_ranked[qid])[:k] for qid in qids}
    return InstructionTask(
        name=name,
        kind=f"FollowIR ({class_name})",
        topics={qid: topics[qid] for qid in qids},
        passages=_passages(place, data["corpus"], candidates),
        candidates=candidates,
        given=max(len(top_ranked[qid]) for qid in qids),
        qrels={qid: data["relevant_docs"][qid] for qid in qids if qid in data["relevant_docs"]},
        pairs=pairs,
        measure=measure,
        files=() if folder is None else sorted(file for file in folder.rglob("*") if file.is_file()),
        revision=None if folder else f"{task.metadata.dataset['path']}@{task.metadata.dataset['revision']}",
        mteb=task,
    )


@contextmanager
def _loading(place: str, revision: str | None) -> Iterator[None]:
    """Turn whatever `datasets` and mteb raise into one line; `revision` is the hub's, None for a folder."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # hub, network, and file formats each have errors of their own
        what = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if revision is None:
            advice = f"give the data set's folder as it is on the hub, with README.md and {', '.join(CONFIGS)}"
        else:
            advice = (
                f"where there is a network, run `hf download {place} --repo-type dataset --revision {revision} "
                f"--local-dir {place.rpartition('/')[2]}`, and give that folder"
            )
        raise InputError(f"{place}: cannot be loaded ({what}); {advice}") from error


def _pairs(
    place: str,
    changed: Mapping[str, Sequence[str]],
    topics: Mapping[str, Topic],
    top_ranked: Mapping[str, Sequence[str]],
) -> list[InstructionPair]:
    """The queries with both instructions, in the order of the queries; checked against each other."""
    bases = list(dict.fromkeys(qid.removesuffix(ORIGINAL).removesuffix(CHANGED) for qid in topics))
    if unknown := [name for name in changed if name not in bases]:
        raise InputError(
            f"{place}: {len(unknown)} of {len(changed)} queries in qrel_diff are not among the queries "
            f"({some(unknown)}); get the whole data set of one revision"
        )
    missing = [
        name
        for name in bases
        if any(qid not in topics or not top_ranked.get(qid) for qid in (f"{name}{ORIGINAL}", f"{name}{CHANGED}"))
    ]
    if len(missing) > FEW_MISSING * len(bases):
        raise InputError(
            f"{place}: {len(missing)} of {len(bases)} queries lack a text or candidates for one of their two "
            f"instructions ({some(missing)}); get the whole data set of one revision"
        )
    if missing:  # mteb leaves them out of p-MRR, too
        log.warning("%s: %d queries lack one of their two instructions (%s)", place, len(missing), some(missing))
    pairs = [
        InstructionPair(name, f"{name}{ORIGINAL}", f"{name}{CHANGED}", tuple(changed.get(name, ())))
        for name in bases
        if name not in missing
    ]
    for pair in pairs:
        check_writable(place, "qid", pair.original)
    return pairs


def _passages(place: str, corpus: Any, candidates: Mapping[str, Sequence[str]]) -> dict[str, Passage]:
    """The candidates' texts, as mteb joins title and text (mteb/_create_dataloaders.py: _corpus_to_dict)."""
    wanted = {docno for docnos in candidates.values() for docno in docnos}
    titled = "title" in corpus.column_names
    passages = {}
    for row in corpus:
        if row["id"] in wanted:
            title = (row["title"] or "") if titled else ""
            check_writable(place, "docno", row["id"])
            passages[row["id"]] = Passage(row["id"], f"{title} {row['text']}".strip() if title else row["text"].strip())
    if missing := sorted(wanted - passages.keys()):
        raise InputError(
            f"{place}: {len(missing)} of {len(wanted)} candidates are not in the corpus ({some(missing)}); "
            "get the whole data set of one revision"
        )
    return passages
