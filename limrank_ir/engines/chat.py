"""A model's own chat template, for prompts whose format leaves the template to the model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limrank_ir.errors import InputError
from limrank_ir.models import Model
from limrank_ir.prompts import PromptFormat
from limrank_ir.prompts.sets import Message
from limrank_ir.weights import locate


def tokenizer_folder(model: Model) -> Path:
    """The folder of a model's tokenizer: the adapter's if it has one, else that of the weights.

    Args:
        model: the model.

    Raises:
        InputError: it is not on this machine and cannot be downloaded.
    """
    if model.adapter is not None:
        adapter = locate(model.adapter, settings_only=True)
        if (adapter / "tokenizer.json").exists():
            return adapter
    return locate(model.weights, settings_only=True)


class ChatTemplate:
    """A model's chat template and what else its tokenizer decides about a prompt."""

    def __init__(self, model: Model, fmt: PromptFormat) -> None:
        """Load the tokenizer.

        Args:
            model: the model.
            fmt: its prompt format, which says whether the engine puts start tokens before every text.

        Raises:
            InputError: the tokenizer cannot be loaded.
        """
        from transformers import AutoTokenizer

        folder = tokenizer_folder(model)
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"{folder}: its tokenizer cannot be loaded ({reason})") from error
        self._model, self._format = model, fmt
        self._start = ""
        if fmt.start:
            from limrank_ir.engines.tokens import start_ids

            self._start = self._tokenizer.decode(start_ids(self._tokenizer))

    def text(self, messages: Sequence[Message], *, thinks: bool) -> str:
        """The text after which the model answers messages.

        Args:
            messages: (role, content) of each.
            thinks: whether the model reasons before its answer, for templates that know of it (``enable_thinking``).

        Returns:
            The text, without the tokens that the engine puts before every text.

        Raises:
            InputError: the model has no chat template, or it does not take these messages.
        """
        from jinja2 import TemplateError

        listed = [{"role": role, "content": content} for role, content in messages]
        if not self._tokenizer.chat_template:
            raise InputError(
                f"{self._model.name}: has no chat template, which this prompt format needs; choose a format without "
                "one, such as listwise or setwise-numbers"
            )
        try:
            text = self._tokenizer.apply_chat_template(
                listed, tokenize=False, add_generation_prompt=True, enable_thinking=thinks
            )
        except (TemplateError, ValueError, TypeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"{self._model.name}: its chat template does not take the prompt ({reason})") from error
        return str(text).removeprefix(self._start)

    def begin_alike(self, first: str, second: str, before: str) -> bool:
        """Whether two texts begin with the same token, as "1" and "10" do where numbers are split into digits.

        Args:
            first: a text.
            second: another one.
            before: the end of the prompt that they follow.
        """
        from limrank_ir.engines.tokens import PromptTokenizer

        tokens = PromptTokenizer(self._tokenizer, self._format).first_tokens((first, second), before)
        return tokens[0] == tokens[1]
