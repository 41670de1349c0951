"""How a model is run: the options that `LimRank` takes, and every place that makes one passes on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from limrank_ir.errors import InputError
from limrank_ir.models import Think

if TYPE_CHECKING:
    from limrank_ir.store import VerdictStore

BUDGET = 8192  # tokens of a thought, as in the released code's rank1.py
PromptFormatName = Literal["rank1", "qwen3"]
Dtype = Literal["float32", "bfloat16", "float16"]


class ModelOptions(TypedDict, total=False):
    """Options of a model; what is left out, or None, has its default.

    Attributes:
        adapter: a PEFT adapter to merge into the weights: folder or hub id.
        prompt_format: ``"rank1"`` or ``"qwen3"``, for folders and hub ids.
        think: ``"never"`` asks for the verdict at once, ``"always"`` lets the model reason first; by default as the
            model was trained.
        budget: the most tokens of a thought (8,192); then the verdict is forced (`PromptFormat.forced`).
        task: a BRIGHT task whose query prompt is put around every query.
        store: a file that keeps verdicts (made when it is not there), or an open store.
        device: ``"cpu"``, ``"cuda"``, ...; by default a GPU when there is one.
        dtype: ``"float32"``, ``"bfloat16"``, ``"float16"``; by default float32 on a CPU, bfloat16 on a GPU.
        max_length: the most tokens of a prompt with its thought; longer passages are cut, counted and reported.
        batch_size: the most passages in a batch; by default batches are made by tokens, as suits the device.
        allow_mismatch: use an adapter that names another base, and weights with tensors for which the model has no
            place. Missing tensors are an error all the same.
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


NAMES = tuple(ModelOptions.__annotations__)
OF_THE_LOCAL_ENGINE = ("device", "dtype", "max_length", "batch_size", "allow_mismatch")


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that say something.

    Args:
        options: some of `ModelOptions`, checked only by a type checker so far.

    Returns:
        Those that are not None.

    Raises:
        InputError: an option is unknown; the likeliest name is suggested.
    """
    for name in options:
        if name not in NAMES:
            near = get_close_matches(name, NAMES, 1)
            meant = f"did you mean {near[0]}?" if near else f"choose from: {', '.join(NAMES)}"
            raise InputError(f"unknown option {name!r}; {meant}")
    return {name: value for name, value in options.items() if value is not None}
