"""Which engine runs a model: the local one, vLLM in this process, or servers at URLs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from limrank_ir.engines import Engine
from limrank_ir.errors import InputError
from limrank_ir.models import ENGINE_OPTIONS, Model
from limrank_ir.prompts import CROSS_ENCODER, FORMATS


def choose_engine(engine: str | Engine, model: Model, options: Mapping[str, Any]) -> Engine:
    """Make the engine that a user chose. Nothing is loaded or connected yet.

    Args:
        engine: ``"local"``, ``"vllm"``, the URL of a server or several, separated by commas, or an engine object.
        model: the model to run.
        options: options of the model that have a value (`limrank_ir.models.ModelOptions`). Those that belong to no
            engine are ignored.

    Returns:
        The engine.

    Raises:
        InputError: there is no such engine, an option is one that it does not have, or the options' values are invalid.
    """
    chosen = _engine(engine, model, options)
    fmt = FORMATS.get(model.prompt_format)
    if isinstance(engine, str) and fmt is not None and fmt.two_reads is not None:
        from limrank_ir.engines.twice import TwiceEngine

        return TwiceEngine(chosen, fmt, fmt.two_reads)
    return chosen


def _engine(engine: str | Engine, model: Model, options: Mapping[str, Any]) -> Engine:
    kind = engine_kind(engine)
    known = {name for names in ENGINE_OPTIONS.values() for name in names}
    given = {name: value for name, value in options.items() if name in known}
    if kind is None:
        if given:
            raise InputError(f"{', '.join(given)}: set these on the engine itself")
        assert not isinstance(engine, str)
        return engine
    if wrong := [name for name in given if name not in ENGINE_OPTIONS[kind]]:
        names = ", ".join(ENGINE_OPTIONS[kind])
        raise InputError(f"{', '.join(wrong)}: not an option of the engine {engine!r}, which has {names}")
    if model.prompt_format == CROSS_ENCODER.name and kind != "local":
        raise InputError(f"{model.name}: cross-encoders run in the local engine; leave out engine={engine!r}")
    if kind == "vllm":
        from limrank_ir.engines.vllm import VllmEngine

        return VllmEngine(model, **given)
    if kind == "server":
        from limrank_ir.engines.server import ServerEngine

        return ServerEngine(model, str(engine), **given)
    from limrank_ir.engines.local import LocalEngine

    further = given.pop("engine_options", {})
    if unknown := [name for name in further if name != "batch_tokens"]:
        raise InputError(f"engine option {unknown[0]!r}: the local engine has only batch_tokens")
    if model.prompt_format == CROSS_ENCODER.name:
        from limrank_ir.engines.cross_encoder import CrossEncoderEngine

        return CrossEncoderEngine(model, **given, **further)
    return LocalEngine(model, **given, **further)


def engine_kind(engine: object) -> str | None:
    """The kind of an engine: a key of `limrank_ir.models.ENGINE_OPTIONS`, or None for an object.

    Raises:
        InputError: no engine has that name.
    """
    if not isinstance(engine, str):
        return None
    if engine in ("local", "vllm"):
        return engine
    if engine.startswith(("http://", "https://")):
        return "server"
    raise InputError(f"unknown engine {engine!r}; choose local, vllm, or the URL of a server (http://host:8000)")
