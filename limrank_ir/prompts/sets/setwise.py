"""Formats that ask for the best passage of a set."""

from __future__ import annotations

from limrank_ir.prompts.sets.format import LETTERS, SetFormat

# Setwise, arXiv 2310.09497, and github ielab/llm-rankers: llmrankers/setwise.py (prompt, and "Passage:" after the chat
# template). The label after it has a space, as models write it.
SETWISE = SetFormat(
    name="setwise",
    task="best",
    before='Given a query "{query}", which of the following passages is the most relevant one to the query?\n\n',
    passage='Passage {id}: "{passage}"',
    between="\n\n",
    after="\n\nOutput only the passage label of the most relevant passage:",
    example="Passage: B",
    identifiers=LETTERS,
    start=" Passage:",
    label=" {label}",
    tokens=(8, 0),
    white_space="kept",
)

# Rank-R1, arXiv 2503.06034, and github ielab/llm-rankers: Rank-R1/prompts/prompt_setwise-R1.toml and run_setwise.py
RANK_R1 = SetFormat(
    name="rank-r1",
    task="best",
    system=(
        "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. The "
        "assistant first thinks about the reasoning process in the mind and then provides the user with the answer. "
        "The reasoning process and answer are enclosed within <think> </think> and <answer> </answer> tags, "
        "respectively, i.e., <think> reasoning process here </think> <answer> answer here </answer>."
    ),
    before='Given the query: "{query}", which of the following documents is most relevant?\n',
    passage="[{id}] {passage}",
    between="\n",
    after=(
        "\nAfter completing the reasoning process, please provide only the label of the most relevant document to the "
        "query, enclosed in square brackets, within the answer tags. For example, if the third document is the most "
        "relevant, the answer should be: <think> reasoning process here </think> <answer>[3]</answer>."
    ),
    example="<think> ... </think> <answer>[2]</answer>",
    thinks=True,
    stop=("</answer>",),
    tokens=(32, 0),
    white_space="kept",
)

# Our own, without a chat template: what the layout "setwise" of `train` learns (train/rankings.py). The number is read
# after "[", so that sets of up to nine passages have labels that differ in every tokenizer.
SETWISE_NUMBERS = SetFormat(
    name="setwise-numbers",
    task="best",
    before=(
        "Find the passage that is the most relevant to the query. Answer with its number, such as [2].\n"
        "Query: {query}\n"
    ),
    passage="[{id}] {passage}\n",
    after="Query: {query}\nBest of the {n} passages:\n",
    example="[2]",
    start="[",
    stop=("\n",),
    tokens=(8, 0),
    chat=False,
)
