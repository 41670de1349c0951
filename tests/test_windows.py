"""Long documents are split so that every word is read, and are ranked by their best window."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limrank_ir import InputError
from limrank_ir.ranking.windows import Windows, best, windows
from limrank_ir.verdict import Verdict

SIZES = st.integers(1, 9).flatmap(lambda size: st.tuples(st.just(size), st.integers(1, size)))


@given(st.integers(0, 60), SIZES)
def test_every_word_is_in_a_window_and_no_window_is_repeated(count, sizes):
    size, stride = sizes
    words = [f"w{number}" for number in range(count)]
    windows = [window.split() for window in Windows(size, stride).split(" ".join(words))]
    assert all(len(window) == min(size, count) for window in windows)
    starts = [words.index(window[0]) for window in windows] if words else [0]
    assert starts[0] == 0 and starts[-1] == max(count - size, 0)
    assert all(0 < later - earlier <= stride for earlier, later in pairwise(starts))
    assert {word for window in windows for word in window} == set(words)
    assert all(window == words[start : start + size] for start, window in zip(starts, windows, strict=True))


def test_text_within_a_window_is_unchanged():
    assert Windows(4, 4).split("  one\n\ntwo\tthree   four five ") == [
        "one\n\ntwo\tthree   four",
        "two\tthree   four five",
    ]


def test_the_title_is_in_front_of_every_window():
    assert Windows(2, 1).split("a b c", "A title") == ["A title a b", "A title b c"]
    assert Windows(2, 1).split("", "A title") == ["A title"] and Windows(2, 1).split("a", "") == ["a"]


@pytest.mark.parametrize(("size", "stride"), [(0, 1), (3, 0), (3, 4), (-1, -1)])
def test_sizes_that_would_leave_words_out_are_refused(size, stride):
    with pytest.raises(InputError, match="or words would be left out"):
        Windows(size, stride)


def test_a_document_is_as_relevant_as_its_best_window():
    verdicts = [Verdict(odds, None, 1, 0, "verdict") for odds in (1.0, 3.0, 3.0, -2.0, 0.0)]
    assert best(verdicts, [3, 1, 1]) == [(verdicts[1], 1), (verdicts[3], 0), (verdicts[4], 0)]


def test_a_long_text_takes_linear_time():
    windows = Windows(200, 100).split("word " * 200_000)
    assert len(windows) == 1999


@pytest.mark.parametrize(
    ("size", "stride", "expected"), [(None, None, None), (200, 100, 100), (200, None, 100), (1, None, 1)]
)
def test_the_options(size, stride, expected):
    assert windows(size, stride) == (None if expected is None else Windows(size, expected))


def test_a_stride_alone_is_refused():
    with pytest.raises(InputError, match="--stride 5 has no effect without --window"):
        windows(None, 5)
