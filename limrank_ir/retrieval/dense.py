"""A dense first stage: embeddings in a pyterrier_dr index, searched with Faiss."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limrank_ir.formats.corpus import Passage
from limrank_ir.formats.trec import Run, Topic, check_writable
from limrank_ir.retrieval import minilm
from limrank_ir.retrieval.encoders import loading

BATCH = 64  # queries or passages encoded per step of the progress bar


@dataclass(frozen=True)
class DenseSettings:
    """How to embed and search.

    Attributes:
        encoder: ``"minilm"``, or a sentence-transformers model: a folder or a hub id.
        hnsw: search an HNSW graph, which is approximate but faster on large corpora, instead of all vectors.
        device: the device of the encoder; None: a GPU if available.
    """

    encoder: str = minilm.NAME
    hnsw: bool = False
    device: str | None = None


def build(
    passages: Iterable[Passage],
    folder: Path,
    dense: DenseSettings,
    advance: Callable[[int], None] = lambda count: None,
    *,
    source: object = "passages",
) -> None:
    """Embed passages into an index.

    Args:
        passages: the passages; title and text are embedded.
        folder: the folder of the index, which must not exist.
        dense: the encoder.
        advance: called with the number of passages done since the last call.
        source: where the passages come from, for error messages.

    Raises:
        InputError: a docno that no run can contain, no passages, or the encoder cannot be loaded.
    """
    from pyterrier_dr import FlexIndex

    def stream() -> Iterator[dict[str, str]]:
        for passage in passages:
            check_writable(f"{source}", "docno", passage.docno)
            yield {"docno": passage.docno, "text": passage.reader_text}
            advance(1)

    (_encoder(dense) >> FlexIndex(str(folder), verbose=False)).index(stream())


def search(
    folder: Path,
    topics: Sequence[Topic],
    dense: DenseSettings,
    *,
    k: int,
    advance: Callable[[int], None] = lambda count: None,
) -> Run:
    """Search for topics.

    Args:
        folder: the index; an HNSW graph is saved in it.
        topics: the topics with the queries.
        dense: the encoder of the index, and how to search.
        k: the number of documents per topic.
        advance: called with the number of topics done since the last call.

    Returns:
        qid to (docno, inner product), best first.

    Raises:
        InputError: the encoder cannot be loaded.
    """
    import pandas as pd
    from pyterrier_dr import FlexIndex

    index = FlexIndex(str(folder), verbose=False)
    depth = min(k, len(index))
    if dense.hnsw:
        retriever = index.faiss_hnsw_retriever(num_results=depth, ef_search=max(64, 2 * depth))
    else:
        retriever = index.faiss_flat_retriever()
    pipeline = _encoder(dense) >> retriever % depth
    run: dict[str, list[tuple[str, float]]] = {}
    for first in range(0, len(topics), BATCH):
        batch = topics[first : first + BATCH]
        found = pipeline(pd.DataFrame([(topic.qid, topic.query) for topic in batch], columns=["qid", "query"]))
        found = found.sort_values(["qid", "rank"])
        documents = {
            qid: list(zip(rows["docno"], map(float, rows["score"]), strict=True)) for qid, rows in found.groupby("qid")
        }
        run.update({topic.qid: documents.get(topic.qid, []) for topic in batch})
        advance(len(batch))
    return run


def _encoder(dense: DenseSettings) -> Any:
    from pyterrier_dr import SBertBiEncoder

    name = str(minilm.folder("--encoder minilm")) if dense.encoder == minilm.NAME else dense.encoder
    with loading(f"--encoder {dense.encoder}"):
        return SBertBiEncoder(name, batch_size=BATCH, device=dense.device)
