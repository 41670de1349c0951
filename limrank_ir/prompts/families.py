"""The formats of model families, by name.

``rank1`` is, byte for byte, that of the released LimRank and Rank1 checkpoints, from the released code (github
SighingSnow/limrank: rerank-exps/rank1.py, the same in github orionw/rank1: rank1.py).
"""

from __future__ import annotations

from limrank_ir.errors import InputError
from limrank_ir.prompts.format import PromptFormat
from limrank_ir.prompts.released import BGE_GEMMA, ERANK, MXBAI_V2, TFRANK

RANK1 = PromptFormat(
    name="rank1",
    before=(
        "Determine if the following passage is relevant to the query. Answer only with 'true' or 'false'.\n"
        "Query: {query}\n"
        "Passage: "
    ),
    labels=(" true", " false"),
    no_think="\n<think>\n\n</think>",
    think="\n<think>",
    end_of_thought="</think>",
)

# github QwenLM/Qwen3-Embedding: README.md
QWEN3 = PromptFormat(
    name="qwen3",
    before=(
        "<|im_start|>system\n"
        "Judge whether the Document meets the requirements based on the Query and the Instruct provided. "
        'Note that the answer can only be "yes" or "no".<|im_end|>\n'
        "<|im_start|>user\n"
        "<Instruct>: {instruction}\n<Query>: {query}\n<Document>: "
    ),
    labels=("yes", "no"),
    no_think="<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
    instruction="Given a web search query, retrieve relevant passages that answer the query",
)

# A sequence classifier reads the query and the passage and nothing else; its tokenizer separates them. The label is
# never read: it names the one score (`limrank_ir.engines.cross_encoder`).
CROSS_ENCODER = PromptFormat(name="cross-encoder", before="{query}", labels=("relevant",))

# A language model that judges no single passages, such as a listwise reranker: rankers ask it in the formats of
# `limrank_ir.prompts.sets`. This one is read to warm up only.
SETS = PromptFormat(name="sets", before="{query}", labels=("A", "B"))

FORMATS = {fmt.name: fmt for fmt in (RANK1, QWEN3, MXBAI_V2, BGE_GEMMA, TFRANK, ERANK, CROSS_ENCODER, SETS)}


def prompt_format(name: str) -> PromptFormat:
    """Look up a prompt format.

    Args:
        name: a name in `FORMATS`, such as ``"rank1"``.

    Returns:
        The format.

    Raises:
        InputError: no format has that name.
    """
    try:
        return FORMATS[name]
    except KeyError:
        raise InputError(f"unknown prompt format {name!r}; choose one of: {', '.join(FORMATS)}") from None
