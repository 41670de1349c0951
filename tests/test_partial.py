"""A window is reranked and the rest keeps its place, also for trec_eval."""

from hypothesis import given
from hypothesis import strategies as st

from limrank_ir.formats.trec import trec_order
from limrank_ir.ranking.partial import reranked, window


def test_a_window_lies_within_the_ranking():
    assert list(window(5, 1, 3)) == [1, 2]
    assert list(window(5, 0, 100)) == [0, 1, 2, 3, 4]
    assert list(window(5, -3, 2)) == [0, 1]
    assert [list(window(*arguments)) for arguments in ((5, 7, 9), (5, 3, 1), (0, 0, 100))] == [[], [], []]


@given(st.data())
def test_evaluation_tools_see_the_new_order(data):
    count = data.draw(st.integers(0, 40))
    places = window(count, data.draw(st.integers(-2, 45)), data.draw(st.integers(-2, 45)))
    few = st.sampled_from([0.0, 1.0, -2.5, 1.000001])  # ties are likely
    scores = [data.draw(few | st.floats(-60, 60)) for _ in places]
    result = reranked(count, places, scores)
    assert sorted(place for place, _ in result) == list(range(count))
    assert [place for place, _ in result[: places.start]] == list(range(places.start))
    assert [place for place, _ in result[places.stop :]] == list(range(places.stop, count))
    inside = [place for place, _ in result[places.start : places.stop]]
    assert inside == sorted(places, key=lambda place: (-scores[place - places.start], place))
    # The digits that the writers of Pyserini and RankLLM print; with docnos that would break ties the other way.
    for digits in (6, 17):
        run = [
            (f"{number:03}", float(f"{score:.{digits}g}" if digits == 17 else f"{score:.6f}"))
            for number, (_, score) in enumerate(result)
        ]
        assert [docno for docno, _ in trec_order(run)] == [docno for docno, _ in run]
