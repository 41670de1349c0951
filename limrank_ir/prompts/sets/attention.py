"""Formats in which a model reads passages and then the query, whose attention is the answer (ICR, arXiv 2410.02642).

The texts are those of its authors' code (github OSU-NLP-Group/In-Context-Reranking: src/in_context_reranker.py). The
passages' length is not capped here, as it is in their runs (300 words): engines cut the longest ones.
"""

from __future__ import annotations

from dataclasses import replace

from limrank_ir.prompts.sets.format import SetFormat

# Their retrieval_type "IE", with the model's own chat template instead of the two that they wrote down.
ICR = SetFormat(
    name="icr",
    task="attention",
    before="Here are some paragraphs:\n\n",
    passage="[{id}] {passage}",
    between="\n\n",
    after=(
        "\n\nPlease find information that are relevant to the following query in the paragraphs above.\n\n"
        "Query: {query}"
    ),
    example="",
    white_space="kept",
)

# Their retrieval_type "QA", which they use for questions (TREC-COVID, FiQA, Touché, DBpedia, NQ, and multi-hop data).
ICR_QA = replace(
    ICR,
    name="icr-qa",
    after=(
        "\n\nPlease answer the following question based on the information in the paragraphs above.\n\nQuery: {query}"
    ),
)

# Their prompt_template "simple", for models without a chat template.
ICR_SIMPLE = replace(ICR, name="icr-simple", before="", after=f"{ICR.after}\n\nAnswer:", chat=False)
