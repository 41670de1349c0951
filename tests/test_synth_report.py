"""The report and the audit page: what they count, that they load nothing, and that they escape everything."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from limrank_ir import LimRankError
from limrank_ir.cli.app import app
from limrank_ir.llm.journal import Journal
from limrank_ir.synth.audit import BLIND, QUESTIONS, Audit, Marks, audit_page, fingerprint, read_audit, samples, wilson
from limrank_ir.synth.config import SynthConfig
from limrank_ir.synth.pipeline import Synthesis
from limrank_ir.synth.prices import read_prices
from limrank_ir.synth.records import Brief, JudgedPair, Judgment, WrittenPassage, WrittenQuery
from limrank_ir.synth.report import report
from limrank_ir.synth.report_page import report_page
from tests.chat_server import serving, write
from tests.synthesis import write_config, write_sources


def synth(*arguments):
    return CliRunner().invoke(app, ["synth", *map(str, arguments)])


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    write_sources(folder)
    with serving(write) as server:
        config = write_config(folder, server.url)
        assert synth("run", config).exit_code == 0
    return folder


def pairs(count=4, text="a <script>alert(1)</script> & text"):
    brief = Brief(domain="law", difficulty="direct", form="post", negatives=(), documents=())
    query = WrittenQuery(id="q", kind="daily", brief=brief, text=text, seed="s", persona="p", request="r")
    return [
        JudgedPair(
            query=query,
            need=text,
            passage=WrittenPassage(id=f"q-p{number}", query="q", kind="positive", text=text, document="blog"),
            judgments=(Judgment(label=True, reasoning=text, request="r"),),
            label=number % 2 == 0,
        )
        for number in range(count)
    ]


def test_the_report(home):
    result = synth("report", home / "synth.yaml")
    assert result.exit_code == 0, result.output
    page = (home / "out/report.html").read_text()
    assert "160 judged pairs for 40 queries" in page and "40 of these are relevant (25%)" in page
    assert "Nobody has audited it yet" in page and "Whether negatives are hard was not measured" in page
    leaks = re.search(r"planned contents.*?passages.*?</table>", page, re.DOTALL)[0]
    assert len(re.findall(r"0\.\d\d \(0\.\d\d to 0\.\d\d\)", leaks)) == 2
    assert re.search(r"keywords</div>.*?12 \(30%, target 30%\)", page, re.DOTALL)
    assert re.search(r"minimal pair</t.>.*?23.*?23.*?100%", page, re.DOTALL)
    assert re.search(r"traces: multi-hop.*?traces: constrained", page, re.DOTALL)
    assert re.search(r"health</div>.*?2 \(10%, target 10%\)", page, re.DOTALL)
    assert "deepseek-reasoner" in page and ">0.05<" in page  # 320 answers of 100 and 50 tokens
    (home / "prices.yaml").write_text("deepseek: [1000, 2000]\n")
    assert synth("report", home / "synth.yaml", "--prices", home / "prices.yaml").exit_code == 0
    page = (home / "out/report.html").read_text()
    assert ">64.00<" in page and ">unknown<" in page  # the generator has no price there
    assert (
        not re.search(r"""(?:src|href)=["'](?!data:)""", page) and "http:" not in page and "default-src 'none'" in page
    )


def test_the_report_shows_the_audit(home):
    result = synth("audit", home / "synth.yaml", "-n", 10)
    assert result.exit_code == 0, result.output
    page = (home / "out/audit.html").read_text()
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])
    assert len(data["samples"]) == 10 and sum(sample["label"] for sample in data["samples"]) == 5
    assert data["questions"] == QUESTIONS and data["blind"] == BLIND
    assert synth("audit", home / "synth.yaml", "-n", 10, "--show-labels").exit_code == 0
    assert '"blind": null' in (home / "out/audit.html").read_text()
    marks = [{"id": each["id"], "answers": dict.fromkeys(QUESTIONS, True), "note": ""} for each in data["samples"]]
    marks[0]["answers"] = {"label": False}
    saved = home / "out/audit.json"
    saved.write_text(json.dumps({"auditor": "A & B", "samples": 10, "marks": marks, "blind": True}))
    assert synth("report", home / "synth.yaml").exit_code == 0
    assert "judged before the label was shown" in (home / "out/report.html").read_text()
    saved.write_text(json.dumps({"auditor": "A & B", "samples": 10, "marks": marks}))
    assert synth("report", home / "synth.yaml").exit_code == 0
    page = (home / "out/report.html").read_text()
    assert "marked with the label in sight" in page
    assert "By A &amp; B." in page and "9 of 10" in page and "9 of 9" in page and "60% to 98%" in page
    for text, message in (
        ("{", "not an audit"),
        ('{"samples": 1, "marks": [{"id": "x", "answers": {}}]}', "marks 'x'"),
    ):
        saved.write_text(text)
        result = synth("report", home / "synth.yaml")
        assert result.exit_code == 2 and message in result.stderr
    saved.unlink()


def test_pairs_that_an_audit_marks_as_wrong_can_be_taken_out(home, tmp_path):
    settings = json.loads((home / "synth.yaml").read_text())
    for name in ("seeds", "personas"):
        settings[name] = str(home / settings[name])
    settings["filters"]["audit"] = ["marks.json"]
    config, marks = tmp_path / "synth.yaml", tmp_path / "marks.json"
    config.write_text(json.dumps(settings))
    (tmp_path / "out").mkdir()
    shutil.copy(home / "out/answers.sqlite", tmp_path / "out")
    before = [json.loads(line) for line in (home / "out/dataset/pairs.jsonl").read_text().splitlines()]
    (wrong, positive) = (next(row["id"] for row in before if row["label"] is label) for label in (False, True))
    lost = [row["id"] for row in before if row["id"].rpartition("-")[0] == positive.rpartition("-")[0]]

    def build(questions):
        found = [{"id": name, "answers": {asked: False}} for name, asked in questions.items()]
        marks.write_text(json.dumps({"samples": 100, "marks": found}))
        return synth("batch-write", config, tmp_path / "requests.jsonl")  # all is answered: it writes the data set

    assert synth("batch-write", config, tmp_path / "r.jsonl").exit_code == 2  # before anything else
    result = build({wrong: "label", before[-1]["id"]: "query"})
    assert result.exit_code == 0, result.output
    after = [json.loads(line) for line in (tmp_path / "out/dataset/pairs.jsonl").read_text().splitlines()]
    assert after == [row for row in before if row["id"] != wrong]
    card = (tmp_path / "out/dataset/README.md").read_text()
    assert "| pairs: audit | the label is marked as wrong | 1 |" in card
    assert "pairs: audit" not in (home / "out/dataset/README.md").read_text()
    # Without its only positive, a query goes, too; the report knows the marks of what was taken out.
    assert build({positive: "reasoning"}).exit_code == 0
    after = [json.loads(line) for line in (tmp_path / "out/dataset/pairs.jsonl").read_text().splitlines()]
    assert after == [row for row in before if row["id"] not in lost] and len(lost) == 4
    shutil.copy(marks, tmp_path / "out/audit.json")
    assert synth("report", config).exit_code == 0
    page = (tmp_path / "out/report.html").read_text()
    assert "0 of 1" in page and "the reasoning is marked as wrong" in page
    result = build({"c99999-daily-p0": "label"})
    assert result.exit_code == 2 and "marks 'c99999-daily-p0', which is not in this synthesis" in result.stderr


def test_an_unfinished_synthesis_has_no_report(home, tmp_path):
    write_sources(tmp_path)
    config = write_config(tmp_path, "http://127.0.0.1:9/v1")
    result = synth("report", config)
    assert result.exit_code == 2 and "first run: limrank synth run" in result.stderr
    with serving(write) as server:
        config = write_config(tmp_path, server.url)
        synth("run", config, "--max-requests", 3)
    result = synth("audit", config)
    assert result.exit_code == 2 and "answers for the queries are missing" in result.stderr


def test_a_synthesis_without_pairs_has_a_report(tmp_path):
    config = SynthConfig(seeds="s", personas="p", couples=1, output="o")
    losses = [("pairs: both kinds", "the query has no other passage left", 3)]
    result = Synthesis(ranks={"BM25": {"q": {"q-p0": 1}}}, losses=losses)
    found = report(result, config, Journal(tmp_path / "a.sqlite"), read_prices())
    page = report_page(found, "none", [])
    assert "0 judged pairs for 0 queries" in page and "the query has no other passage left" in page


def test_texts_cannot_break_out_of_the_page():
    page = audit_page(pairs(), "</title><script>")
    assert "<script>alert" not in page and "</title><script>" not in page
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])
    assert data["samples"][0]["query"] == "a <script>alert(1)</script> & text" and data["name"] == "</title><script>"


def browsed(folder, page, script=""):
    """What a page shows after a script has run on it: labels, statements to mark, and what will be saved."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium")
    script = f"<script>{script}; document.title = JSON.stringify(state.answers)</script></body>"
    (folder / "page.html").write_text(page.replace("</body>", script))
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", f"file://{folder}/page.html"]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    shown = dom[dom.index('<div id="samples">') : dom.index('<script type="application/json"')]
    title = html.unescape(re.search("<title>(.*?)</title>", dom, re.DOTALL)[1])
    return re.findall('class="label">(.*?)<', shown), re.findall("<legend>(.*?)</legend>", shown), json.loads(title)


def test_the_label_appears_after_the_passage_is_judged(tmp_path):
    page = audit_page(pairs(2), "n")
    click = "const box = document.getElementById('sample-{}'); box.querySelectorAll('[type=radio]')[{}].click();"
    others = [QUESTIONS["query"], QUESTIONS["passage"]]
    labels, statements, saved = browsed(tmp_path, page)
    assert labels == [] and statements == [BLIND, *others] * 2 and saved == {}
    labels, _, saved = browsed(tmp_path, page, "document.querySelector('article button').click()")
    assert labels == [] and saved == {}  # not judged yet
    for sample, choice, right, label in (
        (0, 0, True, "true: relevant"),
        (0, 1, False, "true: relevant"),
        (1, 1, True, "false: not relevant"),
    ):
        show = "box.querySelector('button').click(); box.querySelector('[type=radio]').click()"
        labels, statements, saved = browsed(tmp_path, page, f"{click.format(sample, choice)} {show}")
        assert labels == [label] and saved == {f"q-p{sample}": {"label": right}}  # the judgment is final
        assert statements.count(QUESTIONS["reasoning"]) == 1
    labels, statements, _ = browsed(tmp_path, audit_page(pairs(2), "n", show_labels=True))
    assert labels == ["true: relevant", "false: not relevant"] and statements[:2] == [
        QUESTIONS["label"],
        QUESTIONS["reasoning"],
    ]


def test_samples_are_half_relevant_as_far_as_possible():
    assert sum(each.label for each in samples(pairs(40), 10, seed=0)) == 5
    few = [each for each in pairs(40) if not each.label or each.id == "q-p0"]
    assert sum(each.label for each in samples(few, 10, seed=0)) == 1 and len(samples(few, 10, seed=0)) == 10
    assert len(samples(pairs(4), 10, seed=0)) == 4
    assert samples(pairs(40), 10, seed=0) == samples(pairs(40), 10, seed=0) != samples(pairs(40), 10, seed=1)


@given(st.integers(0, 50), st.integers(0, 50))
def test_the_interval_contains_the_share(yes, no):
    low, high = wilson(yes, yes + no)
    assert 0 <= low <= (yes / (yes + no) if yes + no else 0.5) + 1e-12 and high <= 1
    assert high >= (yes / (yes + no) if yes + no else 0.5) - 1e-12


def test_agreement_counts_answered_questions_only():
    audit = Audit(samples=3, marks=[Marks(id="a", answers={"label": True}), Marks(id="b", answers={"label": False})])
    assert audit.agreement()["label"][:2] == (1, 2)
    assert audit.agreement()["query"] == (0, 0, 0.0, 1.0)


def test_an_audit_of_another_synthesis_is_refused(tmp_path):
    (tmp_path / "a.json").write_text('{"samples": 1, "marks": [{"id": "q-p0", "answers": {"taste": true}}]}')
    with pytest.raises(LimRankError, match="marks 'q-p0', which is not in this synthesis"):
        read_audit(tmp_path / "a.json", pairs())
    # Another run has the same ids, but not the same texts.
    mark = {"id": "q-p0", "answers": {"label": False}, "texts": fingerprint(pairs()[0])}
    (tmp_path / "a.json").write_text(json.dumps({"samples": 1, "marks": [mark]}))
    assert read_audit(tmp_path / "a.json", pairs()).marks[0].denied == ["label"]
    with pytest.raises(LimRankError, match="marks 'q-p0', whose texts are others now"):
        read_audit(tmp_path / "a.json", pairs(text="another"))
