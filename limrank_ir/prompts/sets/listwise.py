"""Formats that ask for an order of all passages: written, or read off the first identifier.

The passages' length is not capped here, as it is in the runs of their authors (RankLLM's 300 words, Rearank's 400
characters): engines cut the longest ones when a prompt does not fit.
"""

from __future__ import annotations

from dataclasses import replace

from limrank_ir.prompts.sets.format import LETTERS, SetFormat

# rank_llm 0.26: rerank/prompt_templates/rank_zephyr_template.yaml (RankZephyr, arXiv 2312.02724). The chat template is
# the model's (rerank/listwise/rank_listwise_os_llm.py).
RANK_ZEPHYR = SetFormat(
    name="rank-zephyr",
    task="order",
    system=("You are RankLLM, an intelligent assistant that can rank passages based on their relevancy to the query"),
    before=(
        "I will provide you with {n} passages, each indicated by a numerical identifier []. Rank the passages based on "
        "their relevance to the search query: {query}.\n"
    ),
    passage="[{id}] {passage}\n",
    after=(
        "Search Query: {query}.\n"
        "Rank the {n} passages above based on their relevance to the search query. All the passages should be included "
        "and listed using identifiers, in descending order of relevance. The output format should be [] > [], e.g., "
        "[2] > [1], Answer concisely and directly and only respond with the ranking results, do not say any word or "
        "explain."
    ),
    example="[2] > [1] > [3]",
    opening="[",
)

# rank_llm 0.26: rerank/prompt_templates/rank_zephyr_alpha_template.yaml; the logits of the first identifier, after "[",
# order the window (FIRST, arXiv 2406.15657; github gangiswag/llm-reranker: scripts/utils/rank_listwise_os_llm.py).
FIRST = replace(
    RANK_ZEPHYR,
    name="first",
    before=RANK_ZEPHYR.before.replace("a numerical", "an alphabetical"),
    after=RANK_ZEPHYR.after.replace("[2] > [1]", "[B] > [A]"),
    example="[B] > [A] > [C]",
    identifiers=LETTERS,
)

# rank_llm 0.26: rerank/prompt_templates/rank_gpt_template.yaml (RankGPT, arXiv 2304.09542)
RANK_GPT = SetFormat(
    name="rank-gpt",
    task="order",
    system=("You are RankGPT, an intelligent assistant that can rank passages based on their relevancy to the query."),
    before=(
        "I will provide you with {n} passages, each indicated by number identifier [].\n"
        "Rank the passages based on their relevance to query: {query}."
    ),
    reply="Okay, please provide the passages.",
    passage="[{id}] {passage}",
    received="Received passage [{id}].",
    after=(
        "Search Query: {query}.\n"
        "Rank the {n} passages above based on their relevance to the search query. The passages should be listed in "
        "descending order using identifiers. The most relevant passages should be listed first. The output format "
        "should be [] > [], e.g., [1] > [2]. Only response the ranking results, do not say any word or explain."
    ),
    example="[2] > [1] > [3]",
    opening="[",
)

# rank_llm 0.26: rerank/prompt_templates/reasonrank_template.yaml (ReasonRank, arXiv 2508.07050)
REASON_RANK = replace(
    RANK_ZEPHYR,
    name="reason-rank",
    system=(
        "You are RankLLM, an intelligent assistant that can rank passages based on their relevance to the query. Given "
        "a query and a passage list, you first thinks about the reasoning process in the mind and then provides the "
        "answer (i.e., the reranked passage list). The reasoning process and answer are enclosed within <think> "
        "</think> and <answer> </answer> tags, respectively, i.e., <think> reasoning process here </think> <answer> "
        "answer here </answer>."
    ),
    after=(
        "Search Query: {query}.\n"
        "Rank the {n} passages above based on their relevance to the search query. All the passages should be included "
        "and listed using identifiers, in descending order of relevance. The format of the answer should be [] > [], "
        "e.g., [2] > [1]."
    ),
    example="<think> ... </think> <answer> [2] > [1] > [3] </answer>",
    thinks=True,
    stop=("</answer>",),
)

# Rearank, arXiv 2505.20046, Appendix A.1, and the code of its authors (github lezhang7/Rearank: rank_gpt.py)
REARANK = SetFormat(
    name="rearank",
    task="order",
    system=(
        "You are DeepRerank, an intelligent assistant that can rank passages based on their relevancy to the search "
        "query. You first thinks about the reasoning process in the mind and then provides the user with the answer."
    ),
    before=(
        "I will provide you with passages, each indicated by number identifier []. Rank the passages based on their "
        "relevance to the search query.Search Query: {query}. \n"
        "Rank the {n} passages above based on their relevance to the search query.The passages should be listed in "
        "descending order using identifiers. The most relevant passages should be listed first. The output format "
        "should be <answer> [] > [] </answer>, e.g., <answer> [1] > [2] </answer>."
    ),
    reply="Okay, please provide the passages.",
    passage="[{id}] {passage}",
    received="Received passage [{id}].",
    after=(
        'Please rank these passages according to their relevance to the search query: "{query}"\n'
        "            Follow these steps exactly:\n"
        "            1. First, within <think> tags, analyze EACH passage individually:\n"
        "            - Evaluate how well it addresses the query\n"
        "            - Note specific relevant information or keywords\n\n"
        "            2. Then, within <answer> tags, provide ONLY the final ranking in descending order of relevance "
        "using the format: [X] > [Y] > [Z]"
    ),
    example="<think> ... </think> <answer> [2] > [1] > [3] </answer>",
    thinks=True,
    stop=("</answer>",),
)

# Our own, short enough for small models, and without a chat template: what the layout "listwise" of `train` learns
# (train/rankings.py), where each passage starts on a new line with its identifier.
LISTWISE = SetFormat(
    name="listwise",
    task="order",
    before=(
        "Rank the passages by their relevance to the query. Answer with their numbers, the most relevant first, such "
        "as [2] > [1].\n"
        "Query: {query}\n"
    ),
    passage="[{id}] {passage}\n",
    after="Query: {query}\nRanking of the {n} passages:\n",
    example="[2] > [1] > [3]",
    opening="[",
    stop=("\n",),
    chat=False,
)
