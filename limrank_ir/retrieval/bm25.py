"""A first stage without Java: BM25 by PISA (pyterrier_pisa), over an index that is kept or made for the occasion."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from limrank_ir.errors import EngineError, InputError
from limrank_ir.formats.corpus import Passage, iter_corpus
from limrank_ir.formats.files import find
from limrank_ir.formats.trec import Topic, check_writable
from limrank_ir.retrieval import pisa

log = logging.getLogger("limrank_ir")

LABEL = "limrank.json"  # in an index that is kept: what it was made from
STEP = 100  # passages between two calls of `advance`, which costs more than a passage
_NOT_PLAIN = re.compile(r"[^\x20-\x7e]+")


@dataclass(frozen=True)
class Bm25Settings:
    """How to weight terms.

    Attributes:
        stemmer: ``"porter2"`` or ``"none"``; an index has the stemmer that it was made with.
        k1: saturation of term frequency.
        b: normalization by length.
    """

    stemmer: str = "porter2"
    k1: float = 0.9
    b: float = 0.4


def plain(text: str) -> str:
    """Write a text in what PISA's tokenizer knows, printable ASCII: é becomes e, other characters end a word.

    Args:
        text: a passage or a query; both must be written like this.

    Returns:
        The text on one line.
    """
    if text.isascii() and text.isprintable():
        return text
    decomposed = unicodedata.normalize("NFKD", text.replace("\u2019", "'"))
    return _NOT_PLAIN.sub(" ", "".join(mark for mark in decomposed if not unicodedata.combining(mark)))


def build(
    passages: Iterable[Passage],
    folder: Path,
    bm25: Bm25Settings,
    advance: Callable[[int], None] = lambda count: None,
    *,
    source: object = "passages",
) -> None:
    """Index passages.

    Args:
        passages: the passages; title and text are indexed.
        folder: an empty folder.
        bm25: the stemmer; the files for these k1 and b are made, too.
        advance: called with the number of passages done since it was called last.
        source: where they come from, for error messages.

    Raises:
        InputError: a docno that no run can hold, no words in any passage, or a failure of PISA.
    """
    sent = 0
    words = False
    with _Pisa(folder, bm25, task="index") as process:
        for passage in passages:
            check_writable(f"{source}", "docno", passage.docno)
            text = plain(passage.reader_text)
            words = words or any(map(str.isalnum, text))
            process.send([passage.docno, text])
            sent += 1
            if not sent % STEP:
                advance(STEP)
        if not words:  # PISA would crash
            raise InputError(f"{source}: no passage holds a Latin letter or a digit, which is all that PISA can index")
        advance(sent % STEP)
        indexed = process.receive(last=True)
    if indexed != sent:
        raise InputError(f"{source}: PISA indexed {indexed} of {sent} passages; look for odd characters in docnos")


def ensure_index(
    corpus: Path, folder: Path, settings: Mapping[str, str], make: Callable[[Iterator[Passage], Path], None]
) -> None:
    """Index a corpus in a folder to be kept, unless the index is already there.

    Args:
        corpus: the corpus (`limrank_ir.formats.corpus.iter_corpus`).
        folder: where the index is or shall be; it appears when the index is whole.
        settings: what it is made with, such as the stemmer.
        make: makes an index of passages in a folder that is not there yet.

    Raises:
        InputError: the folder holds something else, or an index of another corpus or other settings, or cannot be
            written; the corpus is wrong; or as for `make`.
    """
    label = {"corpus": _fingerprint(corpus), **settings}
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        if _label(folder) != label:
            raise InputError(
                f"{folder}: holds an index of another corpus than {corpus}, or with other settings than "
                f"{', '.join(settings.values())}; remove it, or give another --index"
            )
        log.info("using the index in %s", folder)
        return
    building = folder.absolute().with_name(f".{folder.name}.{secrets.token_hex(4)}")
    try:
        building.parent.mkdir(parents=True, exist_ok=True)
        make(iter_corpus(corpus), building)
        (building / LABEL).write_text(json.dumps(label), encoding="utf-8")
        building.replace(folder)
    except OSError as error:
        raise InputError(f"{folder}: cannot keep the index here ({error.strerror}); give another --index") from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
    log.info("the index is kept in %s", folder)


def search(
    folder: Path, topics: Iterable[Topic], bm25: Bm25Settings, *, k: int
) -> Iterator[tuple[str, list[tuple[str, float]]]]:
    """Search for topics.

    Args:
        folder: the index; nothing in it changes.
        topics: the topics; their queries are searched for.
        bm25: the weighting, with the stemmer of the index.
        k: how many documents of each topic.

    Yields:
        (qid, (docno, score) pairs, best first), topic by topic; no pairs where no word matches.

    Raises:
        InputError: a failure of PISA.
    """
    # PISA writes files for new values of k1 and b beside the index: into this folder, which goes away with them.
    with tempfile.TemporaryDirectory(prefix="limrank-search-") as links:
        for file in folder.iterdir():
            Path(links, file.name).symlink_to(file.resolve())
        with _Pisa(Path(links), bm25, task="search", k=k) as process:
            for topic in topics:
                process.send(plain(topic.query))
                yield topic.qid, [(docno, score) for docno, score in process.receive()]


def _label(folder: Path) -> Any:
    """What a kept index was made from."""
    try:
        return json.loads((folder / LABEL).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: is there, but no index that limrank made; give another --index") from error


def _fingerprint(corpus: Path) -> str:
    """Name a corpus by its content."""
    file = find(corpus, ("corpus.jsonl", "corpus.jsonl.gz"))
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); check the path") from error


class _Pisa:
    """A process of `limrank_ir.retrieval.pisa`, which ends with the ``with`` block."""

    def __init__(self, folder: Path, bm25: Bm25Settings, **options: object) -> None:
        settings = json.dumps({**asdict(bm25), **options})
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._process = subprocess.Popen(
            # -P: modules in the program's own folder and in the current one shadow nothing.
            [sys.executable, "-P", pisa.__file__, str(folder), settings],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env={**os.environ, "PYTHONUTF8": "1"},
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._requests, self._results = self._process.stdin, self._process.stdout

    def __enter__(self) -> _Pisa:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait()
        for file in (self._results, self._said):
            file.close()
        with suppress(BrokenPipeError):  # of what was still to be sent
            self._requests.close()

    def send(self, value: object) -> None:
        """Hand over a passage or a query."""
        with self._explained():
            self._requests.write(json.dumps(value).encode() + b"\n")

    def receive(self, *, last: bool = False) -> Any:
        """Wait for a result; the last one comes when nothing more is to be sent."""
        with self._explained():
            self._requests.close() if last else self._requests.flush()
            if line := self._results.readline():
                return json.loads(line)
            raise BrokenPipeError

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            self._process.wait()
            self._said.seek(0)
            lines = self._said.read().decode("utf-8", "replace").strip().splitlines() or ["without a word"]
            raise EngineError(f"PISA failed ({lines[-1].strip()}); is there room on the disk?") from None
