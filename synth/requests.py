"""The body of a chat request."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from .config import ChatModel
from .reply import schema


def request(
    model: ChatModel, prompt: str, *, shape: type[BaseModel] | None = None, seed: int | None = None
) -> dict[str, Any]:
    """The body to post to ``/chat/completions``.

    Args:
        model: the model.
        prompt: the user's message.
        shape: the shape of a JSON answer, requested as `ChatModel.structured` says; None: the answer is text.
        seed: tells repeated requests apart.
    """
    body: dict[str, Any] = {"model": model.model, "messages": [{"role": "user", "content": prompt}], **model.parameters}
    if shape is not None and model.structured == "schema":
        body["response_format"] = schema(shape)
    elif shape is not None and model.structured == "object":
        body["response_format"] = {"type": "json_object"}
    if seed is not None:
        body["seed"] = seed
    return body
