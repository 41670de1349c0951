"""Page templates: everything is escaped, and on a phone no table is wider than the screen."""

from __future__ import annotations

import re
from pathlib import Path

import jinja2
import pytest

from limrank_ir.workshop import page

STYLE = Path(page.__file__).with_name("page.css").read_text()


@pytest.fixture
def rendered(tmp_path):
    """A function that renders the text of a template."""

    def render(text: str, **values: object) -> str:
        template = tmp_path / "template.html"
        template.write_text('{% from "macros.html" import table, fold, facts %}' + text)
        return page.render(template, **values)

    return render


@pytest.mark.parametrize(("columns", "blocks"), [(2, False), (4, False), (5, True), (12, True)])
def test_rows_with_many_columns_become_blocks_whose_cells_name_their_column(columns, blocks, rendered):
    header = ["", *(f"measure <{n}>" for n in range(1, columns))]
    drawn = rendered("{{ table(header, rows) }}", header=header, rows=[["system", *map(str, range(1, columns))]])
    assert ('<table class="many">' in drawn) == blocks
    named = re.findall(r'<td data-name="([^"]*)">(\d+)</td>', drawn)
    assert named == ([(f"measure &lt;{n}&gt;", str(n)) for n in range(1, columns)] if blocks else [])
    assert "<1>" not in drawn


def test_cells_may_have_a_class_and_rows_may_be_set_apart(rendered):
    drawn = rendered(
        "{{ table(header, rows, left=[0, 4], bound=[false, true]) }}",
        header=list("abcde"),
        rows=[["x", ("1", "up"), "2", ("3", "down"), "t"], ["y", "", "", "", ""]],
    )
    assert re.findall(r'<td(?: class="(\w+)")? data-name="(\w)">', drawn)[:4] == [
        *(("up", "b"), ("", "c"), ("down", "d"), ("text", "e"))
    ]
    assert '<th scope="col" class="text">e</th>' in drawn
    assert '<tr><th scope="row">x</th>' in drawn and '<tr class="bound"><th scope="row">y</th>' in drawn


def test_values_are_escaped_and_a_missing_one_is_an_error(rendered):
    hostile = "<script>&\"'"
    escaped = "&lt;script&gt;&amp;&#34;&#39;"
    drawn = rendered(
        "{% call fold(x) %}{{ x }}{% endcall %}{{ facts([(x, x)]) }}{{ table([x], [[x], [(x, '')]]) }}", x=hostile
    )
    assert "<script>" not in drawn and drawn.count(escaped) == 7
    with pytest.raises(jinja2.UndefinedError, match="'nothing' is undefined"):
        rendered("{{ nothing }}")


def test_the_style_sheet_makes_blocks_only_on_narrow_screens():
    narrow = STYLE.partition("@media screen and (max-width: 40rem)")[2].partition("\n}")[0]
    assert "attr(data-name)" in narrow and ".many" not in STYLE.replace(narrow, "")
