"""What runs at a URL: the kind of server, its version, and the name under which it knows the model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from limrank_ir.engines.servers.connection import Connection, ServerGone
from limrank_ir.engines.servers.wire import Served
from limrank_ir.errors import InputError
from limrank_ir.models import Model

KINDS = {"vllm": "vllm", "sglang": "sglang", "llamacpp": "llama.cpp"}  # by `owned_by` in /v1/models
# What the names of GGUF files add to a model's: "rank1-7b-Q4_K_M.gguf", "SmolLM2-135M-Instruct.Q4_1.gguf".
_GGUF = re.compile(r"(?:[.-](?:i?q\d\w*|b?f16|f32|mxfp4\w*))?\.gguf$")


async def find(connection: Connection, model: Model) -> Served:
    """Ask a server what it is.

    Args:
        connection: the connection to it.
        model: the model to run.

    Returns:
        What serves the model.

    Raises:
        InputError: it is no language-model server, or does not serve the model.
        EngineError: it cannot be reached.
    """
    answer = await connection.get("/v1/models")
    cards = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(cards, list) or not all(isinstance(card, dict) and card.get("id") for card in cards):
        raise InputError(f"{connection.url}: not a server of language models (no list of models at /v1/models)")
    card = _chosen(connection, cards, model)
    kind = KINDS.get(str(card.get("owned_by")), "openai")
    parent = card.get("parent")
    # An adapter's card has no length of its own.
    lengths = [each.get("max_model_len") for each in (card, *cards) if each is card or each.get("id") == parent]
    context = next((length for length in lengths if isinstance(length, int)), None)
    version, slots = "", None
    if kind == "vllm":
        version = _text(await connection.get("/version"), "version")
    elif kind == "sglang":
        version = _text(await connection.get("/server_info"), "version")
    elif kind == "llama.cpp":
        props = await connection.get("/props") or {}
        version = f"{_text(props, 'build_info')} {_text(props, 'model_ftype')}".strip()
        context = _number((props.get("default_generation_settings") or {}).get("n_ctx")) or context
        slots = _number(props.get("total_slots"))
    return Served(kind, version, str(card["id"]), parent is not None, context, slots)


def agreed(found: Mapping[str, Served | ServerGone]) -> dict[str, Served]:
    """The servers that run, which must all be the same.

    Args:
        found: what each URL has, or why it has nothing.

    Returns:
        What each URL that answers has.

    Raises:
        InputError: two servers differ, so that the same pair would get another score.
        ServerGone: none answers.
    """
    running = {url: served for url, served in found.items() if isinstance(served, Served)}
    if not running:
        raise next(gone for gone in found.values() if isinstance(gone, ServerGone))
    (first, one), *others = running.items()
    for url, other in others:
        if (other.kind, other.version, other.model) != (one.kind, one.version, one.model):
            names = [f"{each.kind} {each.version} with {each.model!r}" for each in (one, other)]
            raise InputError(f"{first} is {names[0]}, but {url} is {names[1]}; servers of one run must be the same")
    return running


def _chosen(connection: Connection, cards: Sequence[Mapping[str, Any]], model: Model) -> Mapping[str, Any]:
    """The card of the model that was asked for.

    Raises:
        InputError: it is not served.
    """
    served = [str(card["id"]) for card in cards]
    asked = connection.settings.model
    for name in [asked] if asked is not None else _names(model):
        for fits in (_same, _alike):
            for card in cards:
                own = {str(card[key]) for key in ("id", "root") if card.get(key)} | set(card.get("aliases") or [])
                if any(fits(name, each) for each in own):
                    return card
    how = f"""engine_options={{"model": {served[0]!r}}} (--engine-option model={served[0]})"""
    if asked is not None:
        raise InputError(f"{connection.url}: serves {', '.join(served)}, not {asked}; choose one of these")
    if len(served) == 1:
        raise InputError(
            f"{connection.url}: serves {served[0]}, not {model.name}; if that is the same model, say so with {how}"
        )
    raise InputError(f"{connection.url}: serves {', '.join(served)}, not {model.name}; choose one with {how}")


def _names(model: Model) -> list[str]:
    """The names under which a server may have the model. Base weights alone are not a model with an adapter."""
    names = [model.name, *([model.weights, *filter(None, [model.base])] if model.adapter is None else [model.adapter])]
    return list(dict.fromkeys(names))


def _same(name: str, served: str) -> bool:
    return name == served


def _alike(name: str, served: str) -> bool:
    """Whether a folder or a GGUF file is named after a model. The owner's name is left out, as in files' names."""
    if not served.endswith(".gguf") and not Path(served).is_absolute():
        return False
    return _GGUF.sub("", Path(served).name.lower()) == Path(name).name.lower()


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


def _text(value: Any, name: str) -> str:
    found = value.get(name) if isinstance(value, dict) else None
    return str(found) if found else "unknown"
