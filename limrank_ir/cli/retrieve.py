"""``limrank retrieve``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from limrank_ir.cli import console
from limrank_ir.cli import options as o
from limrank_ir.errors import InputError
from limrank_ir.formats.output import STDOUT, check_folder, check_places, output_name, save_run, write_json
from limrank_ir.formats.words import some


def retrieve(
    context: typer.Context,
    corpus: o.CorpusFile,
    topics: o.TopicsFile,
    output: o.OutputFile,
    k: o.Depth = 100,
    method: Annotated[
        Literal["bm25", "dense", "hybrid"], typer.Option(help="Words, embeddings, or both with rank fusion.")
    ] = "bm25",
    index: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Save the index here, or use the one saved here.")
    ] = None,
    stemmer: Annotated[Literal["porter2", "none"], typer.Option(help="BM25: how words are stemmed.")] = "porter2",
    k1: Annotated[float, typer.Option(min=0.0, metavar="X", help="BM25: term frequency saturation.")] = 0.9,
    b: Annotated[float, typer.Option(min=0.0, max=1.0, metavar="X", help="BM25: length normalization.")] = 0.4,
    encoder: Annotated[
        str, typer.Option(metavar="NAME", help="Dense: minilm, or a sentence-transformers folder or hub id.")
    ] = "minilm",
    hnsw: Annotated[bool, typer.Option("--hnsw", help="Dense: use an HNSW graph; faster but approximate.")] = False,
    device: o.Device = None,
    tag: Annotated[
        str | None, typer.Option(metavar="NAME", help="Run name, the last column of the run.  [default: the method]")
    ] = None,
    quiet: o.Quiet = False,
    as_json: o.Json = False,
) -> None:
    """Find candidates with BM25 or embeddings: a corpus and topics in, a TREC run out.

    BM25 uses PISA and needs no Java; it indexes only Latin letters, without accents, and digits. Dense uses
    pyterrier_dr's index with Faiss. Hybrid is reciprocal rank fusion of the two.

    For example:

        limrank retrieve --corpus corpus.jsonl --topics topics.tsv -o bm25.txt
    """
    from limrank_ir.cli.first_stage import check, search
    from limrank_ir.formats.trec import check_writable, read_topics
    from limrank_ir.retrieval.bm25 import Bm25Settings
    from limrank_ir.retrieval.dense import DenseSettings

    unused = {"bm25": ("encoder", "hnsw", "device"), "dense": ("stemmer", "k1", "b"), "hybrid": ()}
    for name in unused[method]:
        source = context.get_parameter_source(name)
        if source is not None and source.name != "DEFAULT":
            raise InputError(f"--{name} has no effect with --method {method}; leave it out, or choose another method")
    bm25_settings = Bm25Settings(stemmer, k1, b)
    dense_settings = DenseSettings(encoder, hnsw, device)
    check(method, dense_settings)
    if tag is None:
        tag = method
    check_writable("--tag", "tag", tag)
    check_places({"-o": output, "--json": STDOUT if as_json else None}, {"--corpus": corpus, "--topics": topics})
    if index is not None and not index.exists():
        check_folder(f"--index {index}", index)
    known = read_topics(topics)
    for qid in known:
        check_writable(topics, "qid", qid)
    run = search(corpus, list(known.values()), method, bm25_settings, dense_settings, k=k, index=index)
    if empty := [qid for qid, found in run.items() if not found]:
        if len(empty) == len(run):
            raise InputError(f"{topics}: no query shares a word with a passage of {corpus}; is the language the same?")
        console.log.warning(f"{len(empty)} of {len(run)} queries match nothing and are not in the run ({some(empty)})")
    save_run(output, run, tag)
    count = sum(map(len, run.values()))
    console.log.info(f"{count} documents of {len(run) - len(empty)} queries written to {output_name(output)}")
    if as_json:
        write_json({"run": str(output), "queries": len(run), "documents": count, "without_match": empty})
