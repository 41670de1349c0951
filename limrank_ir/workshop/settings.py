"""Settings in YAML files, read and checked with errors that say where."""

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
        InputError: it cannot be read, or is no YAML.
    """
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not YAML ({' '.join(str(error).split())})") from error


def validated(model: type[Settings], settings: Any, path: Path) -> Settings:
    """Check settings.

    Args:
        model: what they must be.
        settings: what a file holds.
        path: the file, for the error message.

    Raises:
        InputError: settings are unknown, missing or impossible; all of them are named, in one line.
    """
    from pydantic import ValidationError

    try:
        return model.model_validate(settings)
    except ValidationError as error:
        raise InputError(f"{path}: {'; '.join(_fault(model, each) for each in error.errors())}") from error


def unknown(name: str, names: Iterable[str]) -> str:
    """What to say of a setting that is not known: the name that it is likest, where one is like it.

    Args:
        name: what was written.
        names: what there is.
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
    """The settings of the part of a model that lies at the end of this way."""
    for part in parts:
        if isinstance(part, str):
            field = model.model_fields.get(part)
            inner = [each for each in _types(field.annotation) if hasattr(each, "model_fields")] if field else []
            if not inner:
                return []
            model = inner[0]
    return list(model.model_fields)


def _types(annotation: Any) -> Iterator[Any]:
    """A type and those that it is made of, such as those in ``tuple[Source, ...]``."""
    yield annotation
    for part in get_args(annotation):
        yield from _types(part)
