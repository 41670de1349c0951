"""A first stage without Java: BM25 with PISA (pyterrier_pisa), over a saved or a temporary index."""

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

LABEL = "limrank.json"  # file in a saved index that says what it was made from
STEP = 100  # passages per call of `advance`, which costs more than indexing a passage
_NOT_PRINTABLE_ASCII = re.compile(r"[^\x20-\x7e]+")


@dataclass(frozen=True)
class Bm25Settings:
    """Settings of BM25.

    Attributes:
        stemmer: ``"porter2"`` or ``"none"``; an index can only be searched with the stemmer it was made with.
        k1: term frequency saturation.
        b: length normalization.
    """

    stemmer: str = "porter2"
    k1: float = 0.9
    b: float = 0.4


def plain(text: str) -> str:
    """Convert a text to printable ASCII, which is all that PISA's tokenizer knows: é becomes e, others end a word.

    Args:
        text: a passage or a query; both must be converted.

    Returns:
        The text on one line.
    """
    if text.isascii() and text.isprintable():
        return text
    decomposed = unicodedata.normalize("NFKD", text.replace("\u2019", "'"))
    return _NOT_PRINTABLE_ASCII.sub(" ", "".join(mark for mark in decomposed if not unicodedata.combining(mark)))


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
        bm25: the stemmer, and k1 and b, for which files are prepared.
        advance: called with the number of passages done since the last call.
        source: where the passages come from, for error messages.

    Raises:
        InputError: a docno that no run can contain, or no words in any passage.
        EngineError: PISA failed.
    """
    sent = 0
    has_words = False
    with _Pisa(folder, bm25, task="index") as process:
        for passage in passages:
            check_writable(f"{source}", "docno", passage.docno)
            text = plain(passage.reader_text)
            has_words = has_words or any(map(str.isalnum, text))
            process.send([passage.docno, text])
            sent += 1
            if not sent % STEP:
                advance(STEP)
        if not has_words:  # PISA would crash
            raise InputError(f"{source}: no passage has a Latin letter or a digit, which is all that PISA can index")
        advance(sent % STEP)
        indexed = process.receive(last=True)
    if indexed != sent:
        raise InputError(f"{source}: PISA indexed {indexed} of {sent} passages; look for odd characters in docnos")


def ensure_index(
    corpus: Path, folder: Path, settings: Mapping[str, str], make: Callable[[Iterator[Passage], Path], None]
) -> None:
    """Save an index of a corpus in a folder, unless it already exists.

    Args:
        corpus: the corpus (`limrank_ir.formats.corpus.iter_corpus`).
        folder: the folder of the index; it appears when the index is complete.
        settings: the settings of the index, such as the stemmer.
        make: builds an index of passages in a folder that does not exist yet.

    Raises:
        InputError: the folder contains something else, or an index of another corpus or with other settings, or cannot
            be written; the corpus is malformed; or as for `make`.
    """
    label = {"corpus": _fingerprint(corpus), **settings}
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        if _label(folder) != label:
            raise InputError(
                f"{folder}: has an index of another corpus than {corpus}, or with other settings than "
                f"{', '.join(settings.values())}; remove it, or choose another --index"
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
        raise InputError(f"{folder}: cannot save the index here ({error.strerror}); choose another --index") from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
    log.info("index saved in %s", folder)


def search(
    folder: Path, topics: Iterable[Topic], bm25: Bm25Settings, *, k: int
) -> Iterator[tuple[str, list[tuple[str, float]]]]:
    """Search for topics.

    Args:
        folder: the index, which is not changed.
        topics: the topics with the queries.
        bm25: the weighting, with the stemmer of the index.
        k: the number of documents per topic.

    Yields:
        (qid, (docno, score) pairs, best first) for each topic; without pairs if no word matches.

    Raises:
        EngineError: PISA failed.
    """
    # PISA writes files for new values of k1 and b into the folder of the index, so give it a temporary one with links.
    with tempfile.TemporaryDirectory(prefix="limrank-search-") as links:
        for file in folder.iterdir():
            Path(links, file.name).symlink_to(file.resolve())
        with _Pisa(Path(links), bm25, task="search", k=k) as process:
            for topic in topics:
                process.send(plain(topic.query))
                yield topic.qid, [(docno, score) for docno, score in process.receive()]


def _label(folder: Path) -> Any:
    """What a saved index was made from."""
    try:
        return json.loads((folder / LABEL).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: exists, but is not an index made by limrank; choose another --index") from error


def _fingerprint(corpus: Path) -> str:
    """A hash of the content of a corpus."""
    file = find(corpus, ("corpus.jsonl", "corpus.jsonl.gz"))
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); check the path") from error


class _Pisa:
    """A process that runs `limrank_ir.retrieval.pisa` and ends with the ``with`` block."""

    def __init__(self, folder: Path, bm25: Bm25Settings, **options: object) -> None:
        settings = json.dumps({**asdict(bm25), **options})
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._process = subprocess.Popen(
            # -P: modules in the folder of the program and in the current folder cannot shadow others.
            [sys.executable, "-P", pisa.__file__, str(folder), settings],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env={**os.environ, "PYTHONUTF8": "1"},
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._requests, self._results = self._process.stdin, self._process.stdout

    def __enter__(self) -> _Pisa:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait()
        for file in (self._results, self._stderr):
            file.close()
        with suppress(BrokenPipeError):  # with unsent data
            self._requests.close()

    def send(self, value: object) -> None:
        """Send a passage or a query."""
        with self._pisa_errors():
            self._requests.write(json.dumps(value).encode() + b"\n")

    def receive(self, *, last: bool = False) -> Any:
        """Wait for a result; ``last`` says that nothing more will be sent."""
        with self._pisa_errors():
            if last:
                self._requests.close()
            else:
                self._requests.flush()
            line = self._results.readline()
            if not line:
                raise BrokenPipeError
            return json.loads(line)

    @contextmanager
    def _pisa_errors(self) -> Iterator[None]:
        """Report the last line that PISA printed when its process ended."""
        try:
            yield
        except BrokenPipeError:
            self._process.wait()
            self._stderr.seek(0)
            lines = self._stderr.read().decode("utf-8", "replace").strip().splitlines() or ["no message"]
            raise EngineError(f"PISA failed ({lines[-1].strip()}); is the disk full?") from None
