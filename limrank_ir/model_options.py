"""How a model is run: the options of `LimRank`, which all adapters accept and pass on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from limrank_ir.errors import InputError
from limrank_ir.models import Think

if TYPE_CHECKING:
    from limrank_ir.store import VerdictStore

BUDGET = 8192  # tokens of a thought, as in the released code (rank1.py)
PromptFormatName = Literal["rank1", "qwen3"]
Dtype = Literal["float32", "bfloat16", "float16"]


class ModelOptions(TypedDict, total=False):
    """Options of a model. An option that is None or left out has its default value.

    Attributes:
        adapter: a PEFT adapter to merge into the weights: a folder or hub id.
        prompt_format: ``"rank1"`` or ``"qwen3"``; required if the model is a folder or hub id.
        think: ``"never"`` asks for the verdict at once, ``"always"`` lets the model reason first; by default, whatever
            the model was trained for.
        budget: the maximum number of tokens of a thought (8,192); then the verdict is forced (`PromptFormat.forced`).
        task: a BRIGHT task, whose query prompt is put around every query.
        store: a file in which verdicts are saved (created if it does not exist), or an open `VerdictStore`.
        device: ``"cpu"``, ``"cuda"``, ...; by default a GPU if there is one.
        dtype: ``"float32"``, ``"bfloat16"``, or ``"float16"``; by default float32 on a CPU and bfloat16 on a GPU.
        max_length: the maximum number of tokens of a prompt with its thought. Longer passages are cut, and the cuts are
            counted and reported.
        batch_size: the maximum number of passages in a batch; by default, batches are limited by their tokens instead.
        allow_mismatch: accept an adapter that was made for another base model, and weights with tensors that the model
            does not use. Missing tensors are still an error.
    """

    adapter: str | None
    prompt_format: PromptFormatName | None
    think: Think | None
    budget: int | None
    task: str | None
    store: str | os.PathLike[str] | VerdictStore | None
    device: str | None
    dtype: Dtype | None
    max_length: int | None
    batch_size: int | None
    allow_mismatch: bool | None


OPTIONS = tuple(ModelOptions.__annotations__)
LOCAL_ENGINE_OPTIONS = ("device", "dtype", "max_length", "batch_size", "allow_mismatch")


def set_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Check the names of options, and drop those that are None.

    Args:
        options: some of `ModelOptions`.

    Returns:
        The options that have a value.

    Raises:
        InputError: an option is unknown; the message suggests the closest name.
    """
    for name in options:
        if name not in OPTIONS:
            near = get_close_matches(name, OPTIONS, 1)
            advice = f"did you mean {near[0]}?" if near else f"choose from: {', '.join(OPTIONS)}"
            raise InputError(f"unknown option {name!r}; {advice}")
    return {name: value for name, value in options.items() if value is not None}
