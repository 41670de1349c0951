"""The demo's HTML page: what it says, that it is well-formed, and that no text in it can run or fetch anything."""

from __future__ import annotations

import html
import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from markupsafe import escape

from limrank_ir.demo.report import DemoReport, QueryReport, ReportedPassage, render

MINUS = "\u2212"
VOID = {"meta", "link", "input", "br", "hr", "img", "wbr"}
HOSTILE = "</script><script>alert(1)</script> <img src=\"https://x.test/a\" onerror='alert(1)'> &amp; {{ title }}"


class Page(HTMLParser):
    """A strict parser: every tag must be closed in order, and every attribute is collected."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]} at {self.getpos()}"
        self.open.pop()

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return "".join(self.words)

    def all(self, name: str, **wanted: str) -> list[dict[str, str | None]]:
        """The attributes of all tags of this name with this class (``kind``) and these attribute values."""
        kind = wanted.pop("kind", None)
        return [
            attrs
            for tag, attrs in self.tags
            if tag == name
            and (kind is None or kind in (attrs.get("class") or "").split())
            and all(attrs.get(key) == value for key, value in wanted.items())
        ]


def query(n: int, old: float, new: float, /, **changes) -> QueryReport:
    first = [
        ReportedPassage(f"mod.name_{n}.f{k}", f"Do {k} < {n} & more.\n\nDetails.", 9.5 - k, k % 3) for k in range(10)
    ]
    again = [ReportedPassage(row.docno, row.text, 6.0 - 2 * k, row.grade) for k, row in enumerate(reversed(first))]
    made = QueryReport(f"q{n}", f"how do I do {n}?", first, again, {"nDCG@10": (old, new), "RR@10": (0.5, 1.0)})
    return replace(made, **changes)


def report(*queries: QueryReport, **changes) -> DemoReport:
    made = DemoReport(
        title="A demo",
        first_stage="BM25",
        reranker="BM25 >> limrank-smol",
        collection="3,600 passages",
        measures={"nDCG@10": (0.4, 0.55), "RR@10": (0.5, 0.45)},
        seconds=(0.2, 81.4),
        pairs=3250,
        queries=list(queries),
        environment={"Python": "3.11", "Command": "limrank demo"},
    )
    return replace(made, **changes)


def test_the_page_says_everything():
    queries = [query(1, 0.2, 0.5), query(2, 0.7, 0.6), query(3, 0.3, 0.3)]
    page = Page(render(report(*queries)))
    for wanted in ("A demo", "3,600 passages", "BM25 >> limrank-smol", "limrank demo", "3,250 pairs", "25 ms per pair"):
        assert wanted in page.text
    for one in queries:
        assert one.query in page.text and one.qid in page.text
        for row in one.before + one.after:
            assert row.docno in page.text and row.text in page.text
            assert page.all("li", **{"data-d": row.docno})


def test_measures_and_differences_have_the_right_sign():
    page = Page(render(report(query(1, 0.2, 0.5), query(2, 0.7, 0.6), query(3, 0.3, 0.3))))
    assert "nDCG@10 rises from 0.400 to 0.550" in page.text
    assert "+0.150" in page.text and f"{MINUS}0.050" in page.text
    assert "better than BM25 on 1, the same on 1, and worse on 1" in page.text
    assert "+81.2 s" in page.text
    states = [(attrs["data-state"], attrs["data-delta"]) for attrs in page.all("article")]
    assert states == [("improved", "0.300000"), ("worsened", "-0.100000"), ("unchanged", "0.000000")]
    bars = [(attrs["href"], attrs["aria-label"]) for attrs in page.all("a") if "aria-label" in attrs]
    assert bars == [
        ("#q1", "+0.300  how do I do 1?"),
        ("#q3", "0.000  how do I do 3?"),
        ("#q2", f"{MINUS}0.100  how do I do 2?"),
    ]
    heights = [(float(attrs["y"] or 0), float(attrs["height"] or 0)) for attrs in page.all("rect") if "y" in attrs]
    zero = heights[0][0] + heights[0][1]
    assert heights[2][0] == pytest.approx(zero, abs=0.2) and heights[0][1] == pytest.approx(3 * heights[2][1], rel=0.02)


@pytest.mark.parametrize(
    ("means", "finding", "difference"),
    [
        ((0.5, 0.4), "nDCG@10 falls from 0.500 to 0.400", f"{MINUS}0.100"),
        ((0.5, 0.5002), "nDCG@10 stays at 0.500", "0.000"),
    ],
)
def test_a_loss_is_called_a_loss(means, finding, difference):
    page = Page(render(report(query(1, *means), measures={"nDCG@10": means})))
    assert finding in page.text and difference in page.text
    assert "rises" not in page.text


def test_hostile_text_stays_text():
    row = ReportedPassage(HOSTILE, HOSTILE, 1.0, 2)
    bad = QueryReport(HOSTILE, HOSTILE, [row], [row], {"nDCG@10": (0.1, 0.2), HOSTILE: (0.0, 1.0)})
    source = render(
        DemoReport(
            title=HOSTILE,
            first_stage=HOSTILE,
            reranker=HOSTILE,
            collection=HOSTILE,
            measures={"nDCG@10": (0.1, 0.2), HOSTILE: (0.0, 1.0)},
            seconds=(1.0, 2.0),
            pairs=1,
            queries=[bad],
            environment={HOSTILE: HOSTILE},
        )
    )
    page, usual = Page(source), Page(render(report(query(1, 0.1, 0.2))))
    assert len(page.all("script")) == 1 and not page.all("img")
    assert source.count("</script>") == 1 and escape(HOSTILE) in source
    assert page.text.count(HOSTILE) >= 10
    assert {name for _, attrs in page.tags for name in attrs} <= {name for _, attrs in usual.tags for name in attrs}


@pytest.mark.parametrize("bad", ["\x00", "\x1b", "\ud800", "\u202e", "\uffff"])
def test_characters_html_cannot_hold(bad):
    source = render(report(query(1, 0.1, 0.2, query=f"a{bad}b")))
    assert "a\ufffdb" in source and bad not in source
    source.encode("utf-8")


def test_the_page_fetches_nothing():
    source = render(report(query(1, 0.2, 0.5, query="see https://x.test/page")))
    page = Page(source)
    for tag, attrs in page.tags:
        for name in ("src", "href", "action", "srcset", "poster", "data", "xlink:href"):
            assert (attrs.get(name) or "#").startswith(("#", "data:,")), (tag, attrs)
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|import\(", source)
    policy = page.all("meta", **{"http-equiv": "Content-Security-Policy"})
    assert policy and "default-src 'none'" in (policy[0]["content"] or "")


def test_links_and_ids_match():
    page = Page(render(report(*(query(n, 0.1 * n, 0.5) for n in range(1, 9)))))
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {attrs["href"] for _, attrs in page.tags if (attrs.get("href") or "").startswith("#")} <= {
        f"#{i}" for i in ids
    }
    for _, attrs in page.tags:
        for name in ("aria-labelledby", "for"):
            assert attrs.get(name, ids[0]) in ids


def test_rank_changes_and_grades():
    a, b, c, d = (ReportedPassage(name, name, 1.0, grade) for name, grade in (("a", 0), ("b", 1), ("c", 2), ("d", 0)))
    source = render(report(QueryReport("1", "q", [a, b, c], [c, b, d], {"nDCG@10": (0.5, 0.8)})))
    page = Page(source)
    moves = [attrs["title"] for attrs in page.all("span", kind="c")]
    assert moves == [
        "not in the top after reranking",
        "same rank after reranking",
        "goes to rank 1",
        "up from rank 3",
        "same rank as before",
        "not in the top before reranking",
    ]
    for shown in ("▲2", "→1", "new", "out"):
        assert f">{shown}</span>" in source
    assert [attrs["class"] for attrs in page.all("li") if "data-d" in attrs] == [
        *("passage", "passage g1", "passage g2"),
        *("passage g2", "passage g1", "passage"),
    ]
    strips = [attrs["aria-label"] for attrs in page.all("svg", kind="mark") if "aria-label" in attrs]
    assert strips == ["grade 1 at rank 2, grade 2 at rank 3", "grade 2 at rank 1, grade 1 at rank 2"]


@pytest.mark.parametrize("after", [0, 1, 4])
def test_a_shorter_second_ranking(after):
    one = query(1, 0.2, 0.5)
    page = Page(render(report(replace(one, after=one.after[:after]))))
    assert len([attrs for attrs in page.all("li") if "data-d" in attrs]) == 10 + after
    assert ("No passages." in page.text) == (after == 0)


def test_no_queries_and_no_measures():
    page = Page(render(report()))
    assert "This run has no queries." in page.text and "There were no queries" in page.text
    page = Page(render(report(query(1, 0.1, 0.2, measures={}), measures={})))
    assert "Nothing was measured" in page.text and "better than" not in page.text


def test_other_measures_lead_when_ndcg_is_missing():
    one = query(1, 0.1, 0.2, measures={"RR@10": (0.25, 1.0)})
    page = Page(render(report(one, measures={"RR@10": (0.25, 1.0)})))
    assert "RR@10 rises from 0.250 to 1.000" in page.text and "Difference in RR@10" in page.text


def test_log_odds():
    scores = [1e9, 40.0, 8.0, 0.0, -4.0, -1e9, math.inf, -math.inf, math.nan]
    rows = [ReportedPassage(f"d{n}", "text", score, 0) for n, score in enumerate(scores)]
    source = render(report(query(1, 0.2, 0.5, after=rows)))
    page = Page(source)
    bars = re.findall(r'<span class="bar"><i( class="n")? style="--v:([\d.]+)"></i></span>', source)
    assert [(bool(side), float(size)) for side, size in bars] == [
        *((False, 1.0), (False, 1.0), (False, 0.5), (False, 0.0), (True, 0.25), (True, 1.0)),
        *((False, 1.0), (True, 1.0), (False, 0.0)),
    ]
    titles = [attrs["title"] for attrs in page.all("span", kind="s") if "title" in attrs]
    assert titles[:6] == [
        *("P(true) above 0.999", "P(true) above 0.999", "P(true) above 0.999"),
        *("P(true) 0.500", "P(true) 0.018", "P(true) below 0.001"),
    ]
    assert ">+8.00<" in source and f">{MINUS}4.00<" in source and "--v:nan" not in source and "--v:inf" not in source


def test_long_text_is_cut_and_the_page_stays_small():
    text = "First line.\n" + "Some words <of> a doc string. " * 100
    row = ReportedPassage("package.module.Class.method", text, 1.0, 1)
    many = [query(n, 0.2, 0.5, before=[row] * 10, after=[row] * 10) for n in range(65)]
    source = render(report(*many))
    assert len(source.encode("utf-8")) < 2_000_000  # the worst case: every passage is cut
    bodies = re.findall(r"<pre>(.*?)</pre>", source, re.DOTALL)
    assert len(bodies) == 1300 and all(len(html.unescape(body)) <= 702 for body in bodies)
    assert html.unescape(bodies[0]).endswith(" …") and text.startswith(html.unescape(bodies[0])[:-2])


def test_an_endless_word_is_cut_too():
    source = render(report(query(1, 0.2, 0.5, before=[ReportedPassage("d", "x" * 5000, 1.0, 0)], after=[])))
    assert "x" * 700 + " …</pre>" in source and "x" * 701 not in source


def test_real_doc_strings_stay_below_the_bound():
    import inspect
    import shutil
    import subprocess
    import typing

    docs = [doc for m in (shutil, subprocess, typing) for o in vars(m).values() if (doc := inspect.getdoc(o))]
    rows = [ReportedPassage(f"standard.library.name_{n}", doc, 3.0, n % 3) for n, doc in enumerate(docs)]
    tens = [[rows[(n * 7 + k) % len(rows)] for k in range(10)] for n in range(66)]
    source = render(report(*(query(n, 0.2, 0.5, before=tens[n], after=tens[n + 1]) for n in range(65))))
    Page(source)
    assert len(source.encode("utf-8")) < 1_500_000
