"""Tables of our pages: everything is escaped, and on a phone nothing lies beyond the edge."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from limrank_ir.workshop import page

STYLE = (Path(page.__file__).with_name("page.css")).read_text()


@pytest.mark.parametrize(("columns", "blocks"), [(2, False), (4, False), (5, True), (12, True)])
def test_rows_of_many_columns_become_blocks_whose_cells_say_their_column(columns, blocks):
    header = ["", *(f"measure <{n}>" for n in range(1, columns))]
    drawn = page.plain(header, [["system", *map(str, range(1, columns))]])
    assert ('<table class="many">' in drawn) == blocks
    named = re.findall(r'<td data-name="([^"]*)">(\d+)</td>', drawn)
    assert named == ([(f"measure &lt;{n}&gt;", str(n)) for n in range(1, columns)] if blocks else [])
    assert "<1>" not in drawn


def test_the_classes_of_cells_stay():
    drawn = page.table(["a", "b", "c", "d", "e"], [[("x", ""), ("1", "up"), ("2", ""), ("3", "down"), ("t", "text")]])
    assert re.findall(r'<td(?: class=(\w+))? data-name="(\w)">', drawn) == [
        *(("up", "b"), ("", "c"), ("down", "d"), ("text", "e"))
    ]
    assert '<th scope="col" class=text>e</th>' in drawn


def test_the_style_knows_them_on_narrow_screens_only():
    narrow = STYLE.partition("@media screen and (max-width: 40rem)")[2].partition("\n}")[0]
    assert "attr(data-name)" in narrow and ".many" not in STYLE.replace(narrow, "")
