import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limrank_ir.errors import LimRankError
from limrank_ir.formats.corpus import Passage, iter_corpus, read_passages
from limrank_ir.formats.records import DOCUMENT_ID, TEXT
from tests.readers import message, written

SEPARATORS = "a\x0bb\x0cc\x1cd\x85e\u2028f\u2029g"


JSONL = """\
{"docno": "d1", "title": "Cats", "text": "They purr."}
{"docno": "d2", "text": "No title."}

{"docno": "d3", "title": "", "text": ""}
{"docno": "d4", "title": "Only a title", "text": ""}
"""
PASSAGES = [
    Passage("d1", "They purr.", "Cats"),
    Passage("d2", "No title."),
    Passage("d3", ""),
    Passage("d4", "", "Only a title"),
]


def test_the_reranker_reads_title_and_text():
    assert [passage.reader_text for passage in PASSAGES] == ["Cats They purr.", "No title.", "", "Only a title"]
    assert Passage("d", " kept \n as it is ", "T").reader_text == "T  kept \n as it is "


@pytest.mark.parametrize("name", ["c.jsonl", "c.jsonl.gz", "any name", "corpus.jsonl", "corpus.jsonl.gz"])
def test_jsonl_corpus(tmp_path, name):
    path = written(tmp_path / "folder" / name, JSONL)
    assert list(iter_corpus(path)) == PASSAGES
    assert list(iter_corpus(str(path))) == PASSAGES
    if name.startswith("corpus."):
        assert list(iter_corpus(path.parent)) == PASSAGES


@pytest.mark.parametrize("docno", DOCUMENT_ID)
@pytest.mark.parametrize("text", TEXT)
def test_all_names_of_keys_and_columns(tmp_path, docno, text):
    path = written(tmp_path / "c", json.dumps({docno: 7, text: "words", "metadata": {"x": [1]}}))
    assert list(iter_corpus(path)) == [Passage("7", "words")]
    path = written(tmp_path / "c", f"url\t{text}\t{docno}\tTitle\nhttp:\twords\t7\thead\n")
    assert list(iter_corpus(path)) == [Passage("7", "words", "head")]


def test_of_two_ids_the_one_of_the_passage_counts(tmp_path):
    """MS MARCO v2 has the ids of both the document and the passage."""
    path = written(tmp_path / "c", '{"pid": "p_1", "docid": "d_1", "passage": "words", "spans": "(0,4)"}')
    assert list(iter_corpus(path)) == [Passage("p_1", "words")]


@pytest.mark.parametrize("empty", ["", " ", "\\n"])
def test_an_empty_text_does_not_hide_another(tmp_path, empty):
    path = written(
        tmp_path / "c", f'{{"id": "1", "text": "{empty}", "contents": null, "segment": "", "body": "words"}}'
    )
    assert list(iter_corpus(path)) == [Passage("1", "words")]


def test_the_column_order_of_dpr(tmp_path):
    path = written(tmp_path / "c", "id\ttext\ttitle\n1\tthe text\tthe title\n2\tonly text\t\n")
    assert list(iter_corpus(path)) == [Passage("1", "the text", "the title"), Passage("2", "only text")]


@pytest.mark.parametrize("row", ["id\tthe text of it", "docid\tdocid", "7\ttext"])
def test_a_passage_with_an_odd_id_or_text_is_not_a_header(tmp_path, row):
    docno, *_, text = row.split("\t")
    first, second = iter_corpus(written(tmp_path / "c", f"{row}\n2\tother\n"))
    assert (first.docno, first.text, second.docno) == (docno, text, "2")


def test_concatenated_files_have_marks_and_headers_inside(tmp_path):
    part = "\ufeffid\ttext\n{}\twords\n"
    path = written(tmp_path / "c", part.format(1) + part.format(2))
    assert list(iter_corpus(path)) == [Passage("1", "words"), Passage("2", "words")]
    path = written(tmp_path / "c", '\ufeff{"id": 1, "text": "a"}\n\ufeff{"id": 2, "text": "b"}\n')
    assert list(iter_corpus(path)) == [Passage("1", "a"), Passage("2", "b")]


def test_one_json_list(tmp_path):
    path = written(
        tmp_path / "c.json.gz", json.dumps([{"id": 10**25, "content": "a"}, {"id": 2.50, "text": "b"}], indent=1)
    )
    assert list(iter_corpus(path)) == [Passage(str(10**25), "a"), Passage("2.5", "b")]
    assert message(iter_corpus, written(tmp_path / "c", '[{"id": 1, "text": "a"}, {"id": 1, "text": "b"}]')) == (
        f"{tmp_path}/c: row 2: duplicate docno '1'; give every passage its own"
    )


@pytest.mark.parametrize("name", ["c.tsv", "c.tsv.gz"])
def test_tsv_corpus(tmp_path, name):
    path = written(tmp_path / name, f'd1\t"quoted" \'text\r\nd2\tTitle\t{SEPARATORS}\nd3\t\tuntitled\nd4\t\n')
    assert list(iter_corpus(path)) == [
        Passage("d1", '"quoted" \'text'),
        Passage("d2", SEPARATORS, "Title"),
        Passage("d3", "untitled"),
        Passage("d4", ""),
    ]


def test_a_byte_order_mark_is_not_part_of_the_first_docno(tmp_path):
    assert next(iter_corpus(written(tmp_path / "c.tsv", "\ufeffd1\ttext\n"))) == Passage("d1", "text")
    assert next(iter_corpus(written(tmp_path / "c.jsonl", "\ufeff" + JSONL))) == PASSAGES[0]


IDS = st.text(min_size=1).filter(str.strip)
PASSAGE = st.builds(Passage, IDS, st.text(), st.none() | st.text(min_size=1))


@given(st.lists(PASSAGE, min_size=1, unique_by=lambda passage: passage.docno), st.booleans(), st.booleans())
@settings(deadline=None, max_examples=60)
def test_jsonl_keeps_every_character(passages, escaped, crlf):
    rows = [json.dumps(passage._asdict(), ensure_ascii=escaped) for passage in passages]
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder) / "corpus.jsonl.gz", ("\r\n" if crlf else "\n").join(rows))
        assert list(iter_corpus(folder)) == passages
        wanted = {passage.docno: passage for passage in passages if passage.reader_text.strip()}
        assert read_passages(path, wanted) == wanted


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\t\n\r\ufeff"))


@given(
    st.lists(
        st.builds(Passage, CELL.filter(str.strip), CELL, st.none() | CELL.filter(bool)),
        min_size=1,
        unique_by=lambda passage: passage.docno,
    )
)
@settings(deadline=None, max_examples=60)
def test_tsv_keeps_every_character(passages):
    first = Passage("first", "keeps the others from looking like JSON")
    passages = [first, *(passage for passage in passages if passage.docno != "first")]
    rows = ["\t".join(part for part in (p.docno, p.title, p.text) if part is not None) for p in passages]
    with tempfile.TemporaryDirectory() as folder:
        assert list(iter_corpus(written(Path(folder) / "c.tsv", "\n".join(rows)))) == passages


@given(
    st.lists(
        st.builds(Passage, CELL.filter(str.strip), CELL, st.none() | CELL.filter(bool)),
        min_size=1,
        unique_by=lambda passage: passage.docno,
    ),
    st.permutations(["docno", "text", "title"]),
)
@settings(deadline=None, max_examples=60)
def test_columns_under_a_header_keep_every_character_in_any_order(passages, names):
    rows = [names, *([passage._asdict()[name] or "" for name in names] for passage in passages)]
    lines = ["\t".join(row) for row in rows]
    kept = [passage for passage, line in zip(passages, lines[1:], strict=True) if not line.isspace()]
    with tempfile.TemporaryDirectory() as folder:
        assert list(iter_corpus(written(Path(folder) / "c.tsv", "\n".join(lines)))) == kept


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            '{"docno": "d1", "text": "x"}\n\n{"docno": "d1", "text": "y"}',
            ":3: duplicate docno 'd1'; give every passage its",
        ),
        ('{"text": "x"}', ":1: no 'docno' or 'id' or '_id' or "),
        ('{"docno": "d1", "title": "x"}', ":1: no 'text' or 'segment' or 'contents' or "),
        ('{"docno": "d1", "text": null}', ":1: no 'text' or 'segment' or 'contents' or "),
        ('{"docno": " ", "text": "x"}', ":1: empty docno; give the passage an id"),
        ('{"docno": "d1", "text": "x"}\n{"docno": "d2"', ":2: malformed JSON (Expecting ',' delimiter"),
        ('{"docno": "d1", "text": ["x"]}', ":1: 'text' holds a list; make it a string"),
        ('{"docno": "d1", "text": "x", "title": {}}', ":1: 'title' holds an object; make it a string"),
        (r'{"docno": "d1", "text": "\udc00"}', ":1: 'text' holds half a character"),
        (
            "d1\tx\nd2 y\n",
            ":2: 1 tab-separated columns, not 2 or 3; write 'docno<TAB>text' or 'docno<TAB>title<TAB>text'",
        ),
        ("id\ttext\nd1\tx\ty\n", ":2: 3 tab-separated columns, but the header has 2; write 'id<TAB>text'"),
        ("id\ttext\n", ":1: only a header"),
        ("id\ttext\n\tx\n", ":2: empty docno"),
        ("d1\tx\ty\tz\n", ":1: 4 tab-separated columns"),
        ("d1\tx\n\ttext\n", ":2: empty docno"),
        ("d1\tx\nd1\tx\n", ":2: duplicate docno 'd1'"),
        ("\n \n", ": the file is empty; check how it was made"),
    ],
)
def test_errors_say_where_and_what_to_do(tmp_path, content, expected):
    path = written(tmp_path / "corpus.jsonl", content)
    assert message(iter_corpus, path).startswith(f"{path}{expected}")
    assert message(iter_corpus, tmp_path).startswith(f"{path}{expected}")


def test_the_corpus_is_a_stream(tmp_path):
    stream = iter_corpus(written(tmp_path / "c", JSONL + "{broken"))
    assert [next(stream) for _ in PASSAGES] == PASSAGES
    with pytest.raises(LimRankError, match=r"c:6: malformed JSON"):
        next(stream)


def test_read_passages_keeps_only_the_wanted_passages(tmp_path):
    path = written(tmp_path / "c", JSONL)
    expected = {"d1": Passage("d1", "They purr.", "Cats"), "d4": Passage("d4", "", "Only a title")}
    assert read_passages(path, ["d4", "d1", "d4"]) == expected
    assert read_passages(path, {"d1": 0, "d4": 0}.keys()) == expected
    assert read_passages(path, []) == {}


def test_read_passages_names_missing_passages(tmp_path):
    path = written(tmp_path / "corpus.jsonl", JSONL)
    assert message(read_passages, path, ["x", "d1", "x"]) == (
        f"{path}: 1 of 2 passages are not in this corpus ('x'); give the corpus that they come from"
    )
    assert "4 of 5 passages are not in this corpus ('w', 'x', 'y', ...);" in message(
        read_passages, tmp_path, ["w", "d1", "x", "y", "z"]
    )


def test_read_passages_refuses_a_wanted_passage_without_text(tmp_path):
    path = written(tmp_path / "c", JSONL + '{"docno": "d5", "text": " \\n"}')
    for docno, line in (("d3", 4), ("d5", 6)):
        assert message(read_passages, path, ["d1", docno]) == (
            f"{path}:{line}: passage {docno!r} has no text; add it or leave the passage out"
        )


def test_read_passages_refuses_a_duplicate_of_a_wanted_passage(tmp_path):
    path = written(tmp_path / "c", "d1\tx\nd2\tx\nd2\ty\n")
    assert read_passages(path, ["d1"]) == {"d1": Passage("d1", "x")}
    assert message(read_passages, path, ["d2"]) == f"{path}:3: duplicate docno 'd2'; give every passage its own"


def test_a_folder_without_a_corpus(tmp_path):
    assert message(iter_corpus, tmp_path) == (
        f"{tmp_path}: the folder has no corpus.jsonl or corpus.jsonl.gz; name the file itself"
    )
