"""The query prompts of the BRIGHT tasks."""

from __future__ import annotations

from limrank_ir.errors import InputError

_THEOREMS = "Find a passage which uses the same mathematical process as this one: FILL_QUERY_HERE"
_STACK_EXCHANGE = (
    "Can you find background information about the concepts used to answer the question:\n\n"
    "FILL_QUERY_HERE\n\n"
    "A passage is relevant if it contains background information about a **sub-concept** that someone might "
    "cite/link to when answering the above question."
)
# The wording, including odd spaces and line breaks, is part of the protocol behind the published BRIGHT results (Rank1
# paper, Appendix E, Table 10).
BRIGHT_QUERY_PROMPTS = {
    **dict.fromkeys(
        (
            "biology",
            "earth_science",
            "economics",
            "psychology",
            "robotics",
            "stackoverflow",
            "sustainable_living",
        ),
        _STACK_EXCHANGE,
    ),
    "leetcode": (
        "I am looking to find different problems that share similar data structures (of any kind) or algorithms "
        "(e.g. DFS, DP, sorting, traversals, etc.). I am looking for problems that share one or both of these "
        "similarities to this:\n    \n"
        "FILL_QUERY_HERE\n\n"
        "Does this passage share any similarities? e.g. if there was a textbook on leetcode problems, this would be "
        "in the same book even though it could be in a different chapter. \n\n\n\n"
    ),
    "pony": (
        "I will use the programming language pony. Problem: FILL_QUERY_HERE\n\n"
        "But to solve the problem above, I need to know things about pony. A passage is relevant if it contains docs "
        "that match **any** part (even basic parts) of the code I will have to write for the above program."
    ),
    "aops": (
        "Find different but similar math problems to FILL_QUERY_HERE\n\n"
        "A document is relevant if it uses the same class of functions and shares **any** overlapping techniques."
    ),
    "theoremqa_questions": _THEOREMS,
    "theoremqa_theorems": _THEOREMS,
}


def task_query(query: str, task: str | None) -> str:
    """Wrap a query in the query prompt of its BRIGHT task.

    Args:
        query: the original query, not one expanded for the first stage (Rank1 paper, arXiv 2502.18418).
        task: a BRIGHT task (``"biology"``, ``"pony"``, ...), with ``-`` or ``_``; or None.

    Returns:
        The query that the reranker reads.

    Raises:
        InputError: no BRIGHT task has that name.

    Example:
        >>> task_query("2 + 2 = ?", "theoremqa_theorems")
        'Find a passage which uses the same mathematical process as this one: 2 + 2 = ?'
    """
    if task is None:
        return query
    try:
        return BRIGHT_QUERY_PROMPTS[task.replace("-", "_")].replace("FILL_QUERY_HERE", query)
    except KeyError:
        names = ", ".join(BRIGHT_QUERY_PROMPTS)
        raise InputError(f"unknown BRIGHT task {task!r}; choose one of: {names}") from None
