"""The formats of rerankers released by others, each after its authors' code.

Two differences are common to all: reserved strings are removed from users' texts (`limrank_ir.prompts.clean`), and only
the passage is cut to fit.
"""

from __future__ import annotations

from limrank_ir.prompts.format import PromptFormat
from limrank_ir.prompts.two_reads import up_to_ten, yes_no_grade

_MXBAI_SYSTEM = (
    "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
    "<|im_start|>user\n"
)
# github mixedbread-ai/mxbai-rerank: mxbai_rerank/mxbai_rerank_v2.py; score = logit("1") - logit("0")
MXBAI_V2 = PromptFormat(
    name="mxbai-rerank-v2",
    before=_MXBAI_SYSTEM + "instruction: {instruction}\nquery: {query}\ndocument: ",
    bare=(_MXBAI_SYSTEM + "query: {query}\ndocument: ", ""),
    labels=("1", "0"),
    no_think=(
        "\nYou are a search relevance expert who evaluates how well documents match search queries. For each "
        "query-document pair, carefully analyze the semantic relationship between them, then provide your binary "
        "relevance judgment (0 for not relevant, 1 for relevant).\nRelevance:<|im_end|>\n<|im_start|>assistant\n"
    ),
    start=False,
    seam="\n",
)

# github FlagOpen/FlagEmbedding: FlagEmbedding/inference/reranker/decoder_only/base.py; score = logit("Yes")
# Its code puts a begin-of-sequence token first, as Gemma's tokenizer does by itself.
BGE_GEMMA = PromptFormat(
    name="bge-reranker-v2-gemma",
    before="A: {query}\nB: ",
    labels=("Yes",),
    no_think=(
        "\nGiven a query A and a passage B, determine whether the passage contains an answer to the query by providing "
        "a prediction of either 'Yes' or 'No'."
    ),
    seam="\n",
)

# github JOHNNY-fans/TFRank: evaluation/tfrank_demo.py (prompt, score), evaluation/run_eval.py (chat, labels)
TFRANK = PromptFormat(
    name="tfrank",
    before=(
        "<|im_start|>system\n"
        "Based on the relevance of the Documents to the Query and the Instruct provided to complete the task.\n"
        "<|im_end|>\n<|im_start|>user\n"
        "<Instruct>: Please judge the relevance strength between the query and the document, and directly output the "
        "relevance judgment (yes or no), followed by the relevance score in parentheses, e.g., yes(score) or "
        "no(score).\n\n\n"
        "- Relevance scores are represented by numbers from 0 to 4, with the following meanings:\n"
        "0 means completely irrelevant,\n1 means weakly relevant,\n2 means moderately relevant,\n"
        "3 means strongly relevant,\n4 means completely relevant.\n\n"
        "- For binary relevance judgment (yes or no), the rule is:\n"
        'Scores 0 and 1 are considered irrelevant and represented as "no",\n'
        'Scores 2, 3, and 4 are considered relevant and represented as "yes".\n\n\n'
        "<Query>: {query}\n\n\n<Document>: "
    ),
    labels=("0", "1", "2", "3", "4"),
    grades=(0, 1, 2, 3, 4),
    two_reads=yes_no_grade(),
    no_think=" /no think\n<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
    think=" /think\n<|im_end|>\n<|im_start|>assistant\n<think>",
    end_of_thought="</think>\n\n",
    start=False,
)

# Hugging Face Alibaba-NLP/ERank-4B: examples/utils.py (prompt); arXiv 2509.00520, Section 3.2 and Table 7 (score,
# instruction). What stands between </think> and <answer> is the model's, so that its thought ends at <answer>.
ERANK = PromptFormat(
    name="erank",
    before=(
        "<|im_start|>user\n"
        "Given a query and a document, please give a relevance score of 0~10.\n"
        "The goal or relevance definition is: {instruction}\n\n"
        "Here is the query:\n{query}\n\nHere is the document:\n"
    ),
    labels=tuple(map(str, range(11))),
    grades=tuple(range(11)),
    two_reads=up_to_ten(),
    after=(
        "\n\nAfter thinking, directly choose a relevance score from [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10].\n"
        "- 0 represents completely not related\n- 10 means perfectly related.\n\n"
        "Desired output format:\n"
        "<think>put your thinking here</think><answer>Only allows an integer here</answer>\n\n"
        "Your output:<|im_end|>\n<|im_start|>assistant\n"
    ),
    no_think="<think>\n\n</think>\n\n<answer>",
    think="<think>",
    end_of_thought="<answer>",
    closing="</think>",
    instruction="Given a query, retrieval relevant passage.",
    start=False,
)
