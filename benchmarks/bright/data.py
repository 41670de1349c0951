"""A task of BRIGHT: queries, judgments, excluded ids, and documents, which are streamed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limrank_ir.errors import InputError
from limrank_ir.formats.corpus import Passage
from limrank_ir.formats.trec import check_writable
from limrank_ir.formats.words import some

from ..fingerprint import fingerprint
from ..parquet import column_names, stream
from .places import shards, task_folder
from .versions import TASKS, Expansion, Version

NOTHING = "N/A"  # BRIGHT's sentinel for "no excluded ids"


@dataclass(frozen=True)
class TaskData:
    """What is measured on.

    Attributes:
        task: its name.
        queries: qid to the original query, for the queries that have a relevant document. trec_eval leaves out the
            others: BRIGHT v1 has one, in theoremqa_questions.
        unjudged: the ids of those others.
        qrels: qid to docno to grade.
        excluded: qid to the docnos that are removed from every ranking.
        documents: the Parquet files of the corpus.
        count: how many documents they have.
        columns: their columns: id, text, and, if there is one, title.
        expanded: qid to the query of the first stage; the same as `queries` without an expansion.
        source: where the data come from: the data set with its revision, or a folder.
        fingerprint: a hash of the files' content, 32 hexadecimal digits.
        notes: what makes results on these data incomparable with published ones.
        renamed: docno to the id in the data set, for ids with spaces, which become ``%20``: TREC runs cannot have them.
    """

    task: str
    queries: dict[str, str]
    unjudged: set[str]
    qrels: dict[str, dict[str, int]]
    excluded: dict[str, set[str]]
    documents: list[Path]
    count: int
    columns: tuple[str, ...]
    expanded: dict[str, str]
    source: str
    fingerprint: str
    notes: list[str]
    renamed: dict[str, str]


def check_tasks(version: Version, tasks: Sequence[str], *, long: bool) -> None:
    """Check the names of tasks.

    Args:
        version: the version of BRIGHT.
        tasks: the names.
        long: whether they must have long documents.

    Raises:
        InputError: the version has no such task, or the task has no long documents.
    """
    for task in tasks:
        if task not in TASKS:
            raise InputError(f"--tasks: {task!r} is no task of BRIGHT; choose from {', '.join(version.sizes)}")
        if task not in version.sizes:
            raise InputError(f"--tasks: BRIGHT {version.name} has no {task}; choose from {', '.join(version.sizes)}")
        if long and version.sizes[task].long is None:
            having = [name for name, size in version.sizes.items() if size.long is not None]
            raise InputError(
                f"--long: {task} of BRIGHT {version.name} has no long documents; "
                + (f"choose from {', '.join(having)}" if having else "use --version v1 or v1.1")
            )


def read_tasks(
    version: Version, tasks: Sequence[str], folder: Path | None, *, long: bool, expansion: Expansion | None
) -> list[TaskData]:
    """Read and check tasks. No document is read, only their ids.

    Args:
        version: the version of BRIGHT.
        tasks: names of tasks, for which `check_tasks` was called.
        folder: a local copy, or None for the hub.
        long: long documents and their judgments instead of passages.
        expansion: whose chains of thought the first stage reads, or None.

    Returns:
        The tasks in the given order.

    Raises:
        InputError: something is missing, cannot be read, or does not fit together.
    """
    if version.layout == "mteb":
        if expansion:
            raise InputError(f"--expanded-queries: BRIGHT {version.name} has none; use --version v1, or leave it out")
        return [_read_mteb(version, task, folder) for task in tasks]
    return [_read_bright(version, task, folder, long, expansion) for task in tasks]


def _read_bright(version: Version, task: str, folder: Path | None, long: bool, expansion: Expansion | None) -> TaskData:
    """A task in the layout of xlangai/BRIGHT (github xlang-ai/BRIGHT: run.py)."""
    corpus, gold = ("long_documents", "gold_ids_long") if long else ("documents", "gold_ids")
    reason = [] if expansion is None else [f"{expansion}_reason"]
    place, source = task_folder(version, task, folder, ["examples", corpus, *reason])
    files = shards(place, "examples", version, task)
    rows = _rows(files, ["id", "query", gold, "excluded_ids"])
    queries = _texts(files[0], rows, "id", "query")
    qrels = {str(row["id"]): {as_docno(str(one)): 1 for one in row[gold] or ()} for row in rows}
    excluded = {str(row["id"]): {as_docno(str(one)) for one in row["excluded_ids"] or ()} - {NOTHING} for row in rows}
    for qid, docnos in excluded.items():
        if both := sorted(docnos & qrels[qid].keys()):
            raise InputError(f"{files[0]}: query {qid!r} excludes its gold documents ({some(both)}); check the data")
    expanded = dict(queries)
    for name in reason:
        more = shards(place, name, version, task)
        files = [*files, *more]
        expanded = _texts(more[0], _rows(more, ["id", "query"]), "id", "query")
        if expanded.keys() != queries.keys():
            raise InputError(
                f"{more[0]}: {len(expanded)} queries, which are not the {len(queries)} of examples; give both from "
                "the same revision of the data set"
            )
    documents = shards(place, corpus, version, task)
    return _checked(
        version, long, task, queries, qrels, excluded, documents, ("id", "content"), expanded, source, files
    )


def _read_mteb(version: Version, task: str, folder: Path | None) -> TaskData:
    """A task in the layout that mteb uploads (mteb/abstasks/retrieval_dataset_loaders.py)."""
    place, source = task_folder(version, task, folder, ["queries", "corpus", "qrels"])
    files = {name: shards(place, name, version, task) for name in ("queries", "corpus", "qrels")}
    query_id, document_id = (_id_column(files[name][0]) for name in ("queries", "corpus"))
    queries = _texts(files["queries"][0], _rows(files["queries"], [query_id, "text"]), query_id, "text")
    qrels: dict[str, dict[str, int]] = {}
    for row in _rows(files["qrels"], ["query-id", "corpus-id", "score"]):
        qrels.setdefault(str(row["query-id"]), {})[as_docno(str(row["corpus-id"]))] = int(row["score"])
    if unknown := [qid for qid in qrels if qid not in queries]:
        raise InputError(
            f"{files['qrels'][0]}: {len(unknown)} of {len(qrels)} judged queries are not in queries/ "
            f"({some(unknown)}); give both from the same revision of the data set"
        )
    title = ["title"] if "title" in column_names(files["corpus"][0]) else []
    columns = (document_id, "text", *title)
    judged = [*files["queries"], *files["qrels"]]
    return _checked(version, False, task, queries, qrels, {}, files["corpus"], columns, dict(queries), source, judged)


def _checked(
    version: Version,
    long: bool,
    task: str,
    queries: dict[str, str],
    qrels: dict[str, dict[str, int]],
    excluded: dict[str, set[str]],
    documents: list[Path],
    columns: tuple[str, ...],
    expanded: dict[str, str],
    source: str,
    files: list[Path],
) -> TaskData:
    size = version.sizes[task]
    ids = _ids(documents, columns[0])
    count = sum(_rows_of(file) for file in documents)
    expected = size.long if long else size.documents
    notes = []
    if len(queries) != size.queries or count != expected:
        notes.append(
            f"{task}: {len(queries):,} queries and {count:,} documents, where mteb counts {size.queries:,} and "
            f"{expected:,} in BRIGHT {version.name}: another revision, or a part of it, so scores do not compare"
        )
    judged = {qid: query for qid, query in queries.items() if any(grade > 0 for grade in qrels.get(qid, {}).values())}
    if not judged:
        raise InputError(f"{files[0]}: no query of {task} has a relevant document, so nothing can be measured")
    if left_out := len(queries) - len(judged):
        notes.append(f"{task}: queries without a relevant document are left out, as in trec_eval: {left_out}")
    for qid in judged:
        check_writable(files[0], "qid", qid)
    data = TaskData(
        task=task,
        queries=judged,
        unjudged=queries.keys() - judged.keys(),
        qrels={qid: qrels[qid] for qid in judged},
        excluded={qid: excluded.get(qid, set()) for qid in judged},
        documents=documents,
        count=count,
        columns=columns,
        expanded={qid: expanded[qid] for qid in judged},
        source=source,
        fingerprint=fingerprint([*files, *documents]),
        notes=notes,
        renamed={docno: name for docno, name in ids.items() if docno != name},
    )
    gold = {docno for grades in data.qrels.values() for docno, grade in grades.items() if grade > 0}
    if missing := sorted(gold - ids.keys()):
        if len(missing) == len(gold):
            raise InputError(
                f"{documents[0]}: none of the {len(gold)} relevant documents of {task} is in it; examples and "
                "documents must come from the same revision of the data set"
            )
        notes.append(
            f"{task}: {len(missing)} of {len(gold)} relevant documents are not in the corpus ({some(missing)})"
        )
    return data


def docnos(data: TaskData) -> set[str]:
    """The docnos of a task's documents."""
    return set(_ids(data.documents, data.columns[0]))


def as_docno(name: str) -> str:
    """An id as TREC files can hold it: stackoverflow has ids with spaces.

    Example:
        >>> as_docno("pytorch/Memory Management_2_0.txt")
        'pytorch/Memory%20Management_2_0.txt'
    """
    return name.replace(" ", "%20")


def _ids(files: Sequence[Path], column: str) -> dict[str, str]:
    """The docnos, and the ids that they have in the data set."""
    ids = (str(row[column]) for file in files for row in stream(file, [column]))
    return {as_docno(name): name for name in ids}


def iter_documents(data: TaskData) -> Iterator[Passage]:
    """Stream a task's documents: leetcode has 413,932, of which a run needs a few thousand.

    Args:
        data: the task.

    Yields:
        The documents in the order of the files.
    """
    for file in data.documents:
        for row in stream(file, data.columns):
            docno, text, *title = (row[name] for name in data.columns)
            yield Passage(as_docno(str(docno)), text or "", (title[0] or None) if title else None)


def read_documents(data: TaskData, wanted: Collection[str]) -> dict[str, Passage]:
    """Read some documents of a task. The others are not kept in memory.

    Args:
        data: the task.
        wanted: their docnos, all in the corpus. A document without text is one: BRIGHT has them.

    Returns:
        docno to document.
    """
    chosen = set(wanted)
    return {document.docno: document for document in iter_documents(data) if document.docno in chosen}


def _rows(files: Sequence[Path], columns: Sequence[str]) -> list[dict[str, Any]]:
    return [row for file in files for row in stream(file, columns)]


def _rows_of(file: Path) -> int:
    import pyarrow.parquet

    return int(pyarrow.parquet.read_metadata(file).num_rows)


def _id_column(file: Path) -> str:
    """The column with the ids: ``id``, or ``_id`` in older uploads."""
    return "_id" if "_id" in column_names(file) else "id"


def _texts(file: Path, rows: Sequence[dict[str, Any]], name: str, text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for row in rows:
        qid = str(row[name])
        if not (row[text] or "").strip():
            raise InputError(f"{file}: query {qid!r} is empty; check the data")
        if qid in found:
            raise InputError(f"{file}: two queries have the id {qid!r}; check the data")
        found[qid] = row[text]
    return found
