"""Formats that ask for grades: of one passage, read off the label, or of each of a group, written as JSON."""

from __future__ import annotations

from dataclasses import replace

from limrank_ir.prompts.sets.format import SetFormat

# Rating scale from 0 to k, arXiv 2310.14122, Section 3.2 (RG-S). The expected grade is the score. TFRank and ERank,
# which were trained for grades, have formats of their own (`limrank_ir.prompts.released`).
GRADE_4 = SetFormat(
    name="grade-0-4",
    task="grade-4",
    before="From a scale of 0 to 4, judge the relevance between the query and the document.\nQuery: {query}\n",
    passage="Document: {passage}",
    after="\nOutput:",
    example="3",
    identifiers=("1",),
    grades=(0, 1, 2, 3, 4),
    tokens=(8, 0),
    white_space="kept",
)

GRADE_10 = replace(
    GRADE_4,
    name="grade-0-10",
    task="grade-10",
    before=GRADE_4.before.replace("0 to 4", "0 to 10"),
    example="7",
    grades=tuple(range(11)),
)

# GroupRank, arXiv 2511.11653, and github AQ-MedAI/Diver: Reranker/rerank_groupwise.py
GROUP_RANK = SetFormat(
    name="group-rank",
    task="grades",
    system=(
        "Your task is to evaluate and rank documents based on how well they help answer the given query. Follow this "
        "evaluation priority:\n"
        "1. PRIMARY: Usefulness & Helpfulness - Does the document provide actionable information, solutions, or direct "
        "answers that help address the user's needs?\n"
        "2. SECONDARY: Relevance - Does the document contain information related to the query topic?\n\n"
        "Evaluation Process:\n"
        "1. First, identify the user's core intent and what kind of help they need from the query\n"
        "2. For each document, assess:\n"
        "   - How directly it addresses the user's intent\n"
        "   - What actionable information or answers it provides\n"
        "   - How much it helps solve the user's problem or need\n"
        "3. Compare documents against each other to ensure proper ranking\n"
        "4. Assign scores that reflect the relative usefulness ranking\n\n"
        "Scoring Scale (0-10):\n"
        "- 9-10: Extremely helpful, directly answers the query with actionable information\n"
        "- 7-8: Very helpful, provides substantial useful information for the query\n"
        "- 5-6: Moderately helpful, contains some useful information but incomplete\n"
        "- 3-4: Minimally helpful, limited useful information despite topic relevance\n"
        "- 1-2: Barely helpful, mentions related topics but provides little useful information\n"
        "- 0: Not helpful at all, cannot assist with answering the query\n"
    ),
    before=(
        "I will provide you {n} documents, each indicated by a numerical identifier []. Score these documents based on "
        "their Usefulness and Relevance to the query.\n"
        "Query:\n{query}\n\n"
        "Documents:\n"
    ),
    passage="[{id}]. {passage}\n\n",
    after=(
        "\n\n## Final Output Format\n"
        "You must structure your response in exactly two parts: provide your brief reasoning process first, then "
        "output final scores in JSON format like below, with document IDs as string keys and integer scores as values "
        "for all {n} documents. \n"
        "The reasoning process and answer are enclosed within <reason> </reason> and <answer> </answer> tags, "
        "respectively. Do NOT output anything outside the specified tags. Follow this exact format:\n"
        "<reason> \n"
        "[Analyze each document's usefulness and relevance to the query, explaining your scoring rationale]\n"
        "</reason>\n"
        '<answer> \n```json\n{"[1]": 5, "[2]": 3, "[3]": 8}\n``` \n</answer>\n'
    ),
    example='<reason> ... </reason> <answer> {"[1]": 5, "[2]": 3} </answer>',
    thinks=True,
    stop=("</answer>",),
    tokens=(64, 12),
    white_space="lines",
)
