"""Telling headers from data."""

from __future__ import annotations

import pytest

from limrank_ir.formats.records import DOCUMENT_ID, GRADE, QUERY_ID, TEXT, header, pick


@pytest.mark.parametrize(
    ("cells", "kinds", "expected"),
    [
        (["id", "text"], (DOCUMENT_ID, TEXT), ["id", "text"]),
        ([" Title", "CONTENTS ", "PID"], (DOCUMENT_ID, TEXT), ["title", "contents", "pid"]),
        (["id", "title"], (DOCUMENT_ID, TEXT), None),
        (["text", "text"], (DOCUMENT_ID, TEXT), None),
        (["query-id", "corpus-id", "score"], (QUERY_ID, DOCUMENT_ID, GRADE), ["query-id", "corpus-id", "score"]),
        (["7", "id"], (QUERY_ID, DOCUMENT_ID), None),  # one column cannot be both
        (["qid", "id"], (QUERY_ID, DOCUMENT_ID), ["qid", "id"]),
        ([], (DOCUMENT_ID,), None),
    ],
)
def test_a_header_has_a_column_of_each_kind(cells, kinds, expected):
    assert header(cells, *kinds) == expected


def test_the_first_name_of_a_kind_counts():
    names = ["docid", "pid", "segment", "text"]
    assert pick(["d", "p", "s", "t"], names, DOCUMENT_ID, TEXT) == ["p", "t"]
