"""Settings in YAML files: reading and checking them, with errors that say where."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from limrank_ir.errors import InputError

if TYPE_CHECKING:
    from pydantic import BaseModel

Settings = TypeVar("Settings", bound="BaseModel")


def read_yaml(path: Path) -> Any:
    """Read a YAML file.

    Args:
        path: the file.

    Raises:
        InputError: it cannot be read, or is not YAML.
    """
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not YAML ({' '.join(str(error).split())}); fix the file") from error


def validated(model: type[Settings], settings: Any, path: Path) -> Settings:
    """Validate settings.

    Args:
        model: the model of the settings.
        settings: the content of the file.
        path: the file, for the error message.

    Returns:
        The settings.

    Raises:
        InputError: settings are unknown, missing, or invalid; one line names all of them.
    """
    from pydantic import ValidationError

    try:
        return model.model_validate(settings)
    except ValidationError as error:
        raise InputError(f"{path}: {'; '.join(_fault(model, each) for each in error.errors())}") from error


def unknown(name: str, names: Iterable[str]) -> str:
    """The message for an unknown setting, with the most similar name if there is one.

    Args:
        name: the unknown name.
        names: the valid names.
    """
    close = difflib.get_close_matches(name, names, 1)
    return f"unknown setting; {f'did you mean {close[0]}?' if close else 'check its name'}"


def _fault(model: type[BaseModel], error: Any) -> str:
    *parts, last = error["loc"] or ("",)
    reason = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        reason = unknown(str(last), _names(model, parts))
    where = ".".join(map(str, error["loc"]))
    return f"{where}: {reason}" if where else reason


def _names(model: Any, parts: Sequence[str | int]) -> list[str]:
    """The names of the settings at a path in a model."""
    for part in parts:
        if isinstance(part, str):
            field = model.model_fields.get(part)
            inner = [each for each in _types(field.annotation) if hasattr(each, "model_fields")] if field else []
            if not inner:
                return []
            model = inner[0]
    return list(model.model_fields)


def _types(annotation: Any) -> Iterator[Any]:
    """A type and the types that it contains, such as in ``tuple[Source, ...]``."""
    yield annotation
    for part in get_args(annotation):
        yield from _types(part)
