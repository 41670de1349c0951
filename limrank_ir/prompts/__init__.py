"""The exact text that each model family reads: prompt formats, task prompts, and the cleaning of users' text.

A `PromptFormat` turns (query, passage, instruction) into a `Prompt`. The formats that have a name are in `families`.
"""

from limrank_ir.prompts.bright import BRIGHT_QUERY_PROMPTS, task_query
from limrank_ir.prompts.cleaning import clean, whole_sentences, with_instruction
from limrank_ir.prompts.families import CROSS_ENCODER, FORMATS, QWEN3, RANK1, SETS, prompt_format
from limrank_ir.prompts.format import Label, Prompt, PromptFormat

__all__ = [
    "BRIGHT_QUERY_PROMPTS",
    "CROSS_ENCODER",
    "FORMATS",
    "QWEN3",
    "RANK1",
    "SETS",
    "Label",
    "Prompt",
    "PromptFormat",
    "clean",
    "prompt_format",
    "task_query",
    "whole_sentences",
    "with_instruction",
]
