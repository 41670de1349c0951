"""Topics: all formats, without losing a character."""

import html
import json
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from limrank_ir.formats.topics import Topic, read_topics
from tests.readers import message, written

JSON_TOPICS = """\
{"qid": "q1", "query": "cats", "instruction": "Pets only."}
{"qid": 2, "query": "dogs", "instruction": "", "answer": [1]}
"""
TOPICS = {"q1": Topic("q1", "cats", "Pets only."), "2": Topic("2", "dogs")}


@pytest.mark.parametrize("name", ["topics.jsonl", "topics.jsonl.gz", "queries.jsonl", "queries.jsonl.gz"])
def test_topics_in_a_folder(tmp_path, name):
    path = written(tmp_path / name, JSON_TOPICS)
    assert read_topics(tmp_path) == TOPICS
    assert read_topics(str(path)) == TOPICS


def test_topics_jsonl_comes_before_queries_jsonl(tmp_path):
    written(tmp_path / "queries.jsonl", '{"_id": "1", "text": "every query"}')
    written(tmp_path / "topics.jsonl.gz", JSON_TOPICS)
    assert read_topics(tmp_path) == TOPICS


@pytest.mark.parametrize("qid", ["qid", "id", "_id", "query_id"])
@pytest.mark.parametrize("query", ["query", "text", "title"])
def test_all_names_of_the_keys(tmp_path, qid, query):
    path = written(tmp_path / "t", json.dumps({"metadata": {"id": 1}, qid: 7, query: "words"}))
    assert read_topics(path) == {"7": Topic("7", "words")}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_tsv_topics(tmp_path, end, mark):
    rows = ["q1\tcats\tPets only.", "", "2\t\"dogs\" or 'wolves'\x0bor\u2028foxes", "3\tdogs\t"]
    path = written(tmp_path / "topics.tsv", mark + end.join(rows))
    assert list(read_topics(path).values()) == [
        Topic("q1", "cats", "Pets only."),
        Topic("2", "\"dogs\" or 'wolves'\x0bor\u2028foxes"),
        Topic("3", "dogs"),
    ]


TREC_OPEN = """

<top>

<num> Number: 301
<title> International Organized
Crime &amp; R&notes &lt; Q&A

<desc> Description:
Identify organizations.

<narr> Narrative:
A relevant document must name
one: the organization.

</top>

<!-- taken out:
<top><num> Number: 302 <title> Polio
</top> -->
<TOP>
<NUM> Number: 303
<TITLE>
<DESC> Description: Identify achievements.
</TOP>
"""
TREC_CLOSED = """\
<top lang='en'><num>1</num><title>
MEASUREMENT OF DIELECTRIC CONSTANT
</title>
</top>
<top><num>2</num><title>Topic: pressure</title><dom>Domain: physics</dom><narr>Narrative: Any.</narr></top>
"""
TREC_COVID = """\
<?xml version="1.0" encoding="UTF-8"?>
<topics task="COVIDSearch 2020" batch="4">
  <topic number="1">
    <query>coronavirus origin</query>
    <question>what is the origin of COVID-19</question>
    <narrative>seeking a range of information &#8212; all of it</narrative>
  </topic>
  <topic type="faceted" number='2'>
    <question>how does it spread</question>
    <subtopic number="1" type="nav">ignored</subtopic>
  </topic>
</topics>
"""
TREC_CT = """\
<topics task="2021 TREC Clinical Trials">
  <topic number="2013_1">
    Patient is a 45-year-old man, platelets &lt;50
    and a cough.
  </topic>
  <topic number="2">Another one.</topic>
</topics>
"""


@pytest.mark.parametrize("name", ["topics", "topics.gz"])
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            TREC_OPEN,
            [
                Topic(
                    "301",
                    "International Organized Crime & R&notes < Q&A",
                    "A relevant document must name one: the organization.",
                ),
                Topic("303", "Identify achievements."),
            ],
        ),
        (TREC_CLOSED, [Topic("1", "MEASUREMENT OF DIELECTRIC CONSTANT"), Topic("2", "pressure", "Any.")]),
        (
            TREC_COVID,
            [
                Topic("1", "coronavirus origin", "seeking a range of information \u2014 all of it"),
                Topic("2", "how does it spread"),
            ],
        ),
        (
            TREC_CT,
            [Topic("2013_1", "Patient is a 45-year-old man, platelets <50 and a cough."), Topic("2", "Another one.")],
        ),
    ],
    ids=["open tags", "closed tags", "TREC-COVID", "TREC CT"],
)
def test_trec_topics(tmp_path, name, content, expected):
    assert list(read_topics(written(tmp_path / name, content)).values()) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            '{"qid": "1", "query": "x"}\n\n{"qid": 1, "query": "y"}',
            ":3: duplicate topic '1'; give every topic its own",
        ),
        ('{"query": "x"}', ":1: no 'qid' or 'id' or '_id' or 'query_id' or "),
        ('{"qid": "1"}', ":1: no 'query' or 'text' or 'title' or "),
        ('{"qid": "1", "query": " "}', ":1: topic '1' has no query; add one or remove the topic"),
        ('{"qid": "", "query": "x"}', ":1: topic without an id; add one"),
        ('{"qid": "1", "query": "x"}\n{"qid": "2", query: "y"}', ":2: malformed JSON (Expecting property name"),
        ('{"qid": "1", "query": "x", "instruction": ["y"]}', ":1: 'instruction' holds a list; make it a string"),
        (
            "1\tx\n2 y\n",
            ":2: 1 tab-separated columns, not 2 or 3; write 'qid<TAB>query' or 'qid<TAB>query<TAB>instruction'",
        ),
        ("1\tx\ty\tz\n", ":1: 4 tab-separated columns"),
        ("1\tx\n\ty\n", ":2: topic without an id"),
        ("1\tx\n2\t\n", ":2: topic '2' has no query"),
        ("1\tx\n1\tx\n", ":2: duplicate topic '1'"),
        ("qid\tquery\n", ":1: only a header; check how the file was made"),
        ("qid\tquery\n1\tx\ty\n", ":2: 3 tab-separated columns, but the header has 2; write 'qid<TAB>query'"),
        ("1\tx\nqid\tquery\n1\ty\n", ":3: duplicate topic '1'"),  # only the first line can be a header
        ("[]", ": no rows; check how it was made"),
        ('[{"qid": "1", "query": "x"}, 2]', ": row 2: JSON, but not an object; write one object per row"),
        (
            '[{"qid": "1", "query": "x"},\n\n {"qid": 2 "query": "x"}]',
            ":3: malformed JSON (Expecting ',' delimiter, column 12)",
        ),
        ("[" * 100_000, ": malformed JSON (nested too deep)"),
        ("<top>\n<num> 1\n<title> x\n</top>\n\n<top>\n<title> y\n</top>", ":6: topic without an id; add one"),
        ("<topics>\n<!-- a\n b --><topic id='1'><query/></topic></topics>", ":3: topic '1' has no query"),
        ("<top><num>1<title>x</top>\n<top><num>1<title>y</top>", ":2: duplicate topic '1'"),
        ("<html>\n<p>No such page</p></html>", ": no <top> or <topic> in it; give TREC topics, JSONL, or"),
        ("", ": the file is empty; check how it was made"),
    ],
)
def test_errors_in_topics(tmp_path, content, expected):
    path = written(tmp_path / "topics.jsonl", content)
    assert message(read_topics, tmp_path).startswith(f"{path}{expected}")


FILLED = st.text(min_size=1).filter(str.strip)
LISTED = st.lists(st.builds(Topic, FILLED, FILLED, st.none() | FILLED), min_size=1, unique_by=lambda topic: topic.qid)


@given(LISTED, st.booleans(), st.sampled_from(["t.jsonl", "t.jsonl.gz"]))
@settings(deadline=None, max_examples=60)
def test_jsonl_topics_keep_every_character(topics, escaped, name):
    rows = [json.dumps(topic._asdict(), ensure_ascii=escaped) + "\n" for topic in topics]
    with tempfile.TemporaryDirectory() as folder:
        assert list(read_topics(written(Path(folder) / name, "".join(rows))).values()) == topics


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\t\n\r\ufeff"), min_size=1).filter(str.strip)


@given(st.lists(st.builds(Topic, CELL, CELL, st.none() | CELL), unique_by=lambda topic: topic.qid))
@settings(deadline=None, max_examples=60)
def test_tsv_topics_keep_every_character(topics):
    first = Topic("first", "keeps the others from looking like JSON or XML")
    topics = [first, *(topic for topic in topics if topic.qid != "first")]
    rows = ["\t".join(part for part in topic if part is not None) for topic in topics]
    with tempfile.TemporaryDirectory() as folder:
        assert list(read_topics(written(Path(folder) / "t.tsv", "\n".join(rows))).values()) == topics


# Files in the wild


@pytest.mark.parametrize("qid", ["qid", "id", "_id", "query_id", "query-id", "topic_id", "number"])
@pytest.mark.parametrize("query", ["query", "text", "title", "question", "description"])
def test_a_header_or_a_key_names_a_column(tmp_path, qid, query):
    expected = {"1": Topic("1", "copy a file")}
    assert read_topics(written(tmp_path / "t", f"{qid}\t{query}\n1\tcopy a file\n")) == expected
    assert read_topics(written(tmp_path / "t", f"{query.upper()}\t {qid} \ncopy a file\t1\n")) == expected
    assert read_topics(written(tmp_path / "t", json.dumps({qid: 1, query: "copy a file"}))) == expected


def test_a_header_may_have_unused_columns(tmp_path):
    path = written(tmp_path / "t", "id\tdomain\tquery\tnarrative\n1\tfiles\tcopy\tany system\n2\t\tmove\t\n")
    assert list(read_topics(path).values()) == [Topic("1", "copy", "any system"), Topic("2", "move")]


@pytest.mark.parametrize("row", ["id\thow do I find an id", "qid\tqid", "7\tquery", "query\ttext", "id\tid"])
def test_a_topic_with_an_odd_id_or_a_short_query_is_not_a_header(tmp_path, row):
    qid, query = row.split("\t")
    assert read_topics(written(tmp_path / "t", f"{row}\n2\tother\n"))[qid] == Topic(qid, query)


def test_concatenated_files_repeat_header_and_byte_order_mark(tmp_path):
    path = written(tmp_path / "t", "\ufeffqid\tquery\n1\tx\n\ufeffqid\tquery\n2\ty\n\ufeff\ufeff3\tz\n")
    assert list(read_topics(path).values()) == [Topic("1", "x"), Topic("2", "y"), Topic("3", "z")]


def test_one_json_list(tmp_path):
    listed = [{"number": 1, "title": "", "description": "cats"}, {"number": "2", "title": "dogs", "narrative": "Any."}]
    for indent in (None, 2):
        path = written(tmp_path / "t.json", json.dumps(listed, indent=indent))
        assert list(read_topics(path).values()) == [Topic("1", "cats"), Topic("2", "dogs", "Any.")]


MARKUP = {
    "an unknown tag": (
        "<num> Number: 1\n<title> Map<K, V> and List<String>[] to array\n",
        "Map<K, V> and List<String>[] to array",
    ),
    "a tag that others use": (
        "<num> Number: 1\n<title> sum of List<Number> or <Query>\n",
        "sum of List<Number> or <Query>",
    ),
    "its own tag": ("<num> 1 </num>\n<title> what does <title> do\n<desc> x\n", "what does <title> do"),
    "a field's tag where the field is closed": (
        "<num>1</num><title>the <desc> of a topic</title>",
        "the <desc> of a topic",
    ),
    "markup": ("<num>1</num><title>a <b>bold</b> <i>x</title>", "a <b>bold</b> <i>x"),
    "a closing tag": ("<num> 1\n<title> when is </div> written\n<desc> x\n", "when is </div> written"),
    "comparison": ("<num> 1\n<title> x <y and y> z\n<desc> x\n", "x <y and y> z"),
    "CDATA": (
        "<num>1</num><title><![CDATA[if (a < b && c <desc> d) &amp;]]></title>",
        "if (a < b && c <desc> d) &amp;",
    ),
    "CDATA in part": ("<num>1</num><title>the <![CDATA[<top>]]> tag &lt;x&gt;</title>", "the <top> tag <x>"),
    "CDATA without closing tags": ("<num> 1\n<title> <![CDATA[<num> 2]]>\n<desc> x\n", "<num> 2"),
    "lines": ("<num> 1\n<title> one\n<two> three\n\n<desc> x\n", "one <two> three"),
    "one line": ("<num>1 <title> one two <desc> x <narr> y", "one two"),
    "a comment that never ends": ("<num> 1\n<title> the <!-- of XML\n<desc> x\n", "the <!-- of XML"),
    "a comment in CDATA": ("<num>1</num><title><![CDATA[<!-- x -->]]> y</title>", "<!-- x --> y"),
    "CDATA in a comment": ("<num>1</num><title><!-- <![CDATA[ --> y</title>", "y"),
    "a comment": ("<num> 1\n<title> one <!-- <desc> x --> two\n", "one two"),
    "Touché": ("<number>1</number><title>Should x be y?</title><description>x</description>", "Should x be y?"),
    "CLEF": ("<identifier>1</identifier><title lang='en'>oil &amp; gas</title>", "oil & gas"),
    "CLEF of old": ("<num> 1 </num>\n<EN-title> oil </EN-title>\n<EN-desc> x </EN-desc>", "oil"),
    "CLEF of old, not closed": ("<num> 1\n<EN-title> oil\n<EN-desc> x\n", "oil"),
    "only a description": ("<number>1</number>\n<description>\nall of\nit</description>", "all of it"),
    "TREC-1": ("<head> Topic\n<num> Number: 1\n<dom> Domain: x\n<title> Topic: trade\n<desc> Description:\nx", "trade"),
}


@pytest.mark.parametrize("name", MARKUP)
@pytest.mark.parametrize("wrapped", ["<top>\n{}</top>", "<topics><topic>{}</topic></topics>", "<top>{}"])
def test_the_content_of_a_field_is_text(tmp_path, name, wrapped):
    content, query = MARKUP[name]
    (topic,) = read_topics(written(tmp_path / "t", wrapped.format(content))).values()
    assert (topic.qid, topic.query) == ("1", query)


def test_bare_text_keeps_its_tags(tmp_path):
    path = written(tmp_path / "t", "<topics><topic number='1'> List<Number> to <b>array</b> </topic></topics>")
    assert read_topics(path) == {"1": Topic("1", "List<Number> to <b>array</b>")}


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1).map(
    lambda text: " ".join(text.split())
)
PIECES = st.lists(
    st.sampled_from(["<b>", "</b>", "<desc>", "</num>", "&amp;", "&", "]]", "<!-", "List<Number>", "<top>"]) | TEXT
)
PIECED = PIECES.map(lambda pieces: " ".join("".join(pieces).split())).filter(bool)


@given(st.lists(PIECED, min_size=1), st.booleans())
@example(["<title> </title>"], True)
@settings(deadline=None, max_examples=80)
def test_xml_keeps_every_character(queries, cdata):
    def field(text):
        return f"<![CDATA[{text}]]>" if cdata and "]]>" not in text else html.escape(text)

    queries = [query for query in queries if not query.startswith("Topic:")]
    topics = "".join(
        f"<topic number='{number}'>\n<query>{field(q)}</query></topic>" for number, q in enumerate(queries)
    )
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder) / "t.xml", f"<topics>{topics}<topic number='x'><query>y</query></topic></topics>")
        assert [topic.query for topic in read_topics(path).values()] == [*queries, "y"]


# No field name begins with one of these letters.
UNKNOWN = st.from_regex(r"</?[abeghjklmopruvwxyzABEGHJKLMOPRUVWXYZ][a-zA-Z0-9 =]{0,8}>", fullmatch=True)


@given(st.lists(UNKNOWN | st.sampled_from(["word", "x < y", "a>b"]), min_size=1))
@settings(deadline=None, max_examples=80)
def test_no_unknown_tag_ends_a_field(pieces):
    query = " ".join(["begin", *" ".join(pieces).split(), "end"])
    for content in (
        f"<top>\n<num> 1\n<title> {query}\n<desc> x\n</top>",
        f"<top><num>1</num><title>{query}</title></top>",
    ):
        with tempfile.TemporaryDirectory() as folder:
            assert read_topics(written(Path(folder) / "t", content)) == {"1": Topic("1", query)}


@pytest.mark.parametrize("piece", ["<!-- ", "<![CDATA[ ", "<title> ", "</title> ", "<desc ", "a <", "&", "\n\t"])
def test_odd_markup_is_read_quickly(tmp_path, piece):
    path = written(tmp_path / "t", f"<top><num>1\n<title> x {piece * 20_000}")
    before = time.process_time()
    assert read_topics(path)["1"].query.startswith("x")
    assert time.process_time() - before < 1
