"""Which prompt formats a model can be trained on."""

from __future__ import annotations

from limrank_ir.errors import InputError
from limrank_ir.models import Model
from limrank_ir.prompts import FORMATS, SETS, PromptFormat

TRAINABLE = tuple(
    name
    for name, fmt in FORMATS.items()
    if len(fmt.labels) == 2 and fmt.grades is None and fmt.two_reads is None and fmt is not SETS
)


def trainable_format(model: Model) -> PromptFormat:
    """The prompt format of a model that is to be trained.

    Args:
        model: the model.

    Returns:
        The format, which has a positive and a negative label.

    Raises:
        InputError: the model's format has other labels, or is not known by name.
    """
    if model.prompt_format not in TRAINABLE:
        raise InputError(
            f"{model.name}: prompt_format {model.prompt_format!r} cannot be trained; set prompt_format to one with a "
            f"positive and a negative label: {', '.join(TRAINABLE)}"
        )
    return FORMATS[model.prompt_format]
