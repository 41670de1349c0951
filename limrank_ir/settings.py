"""Settings in YAML files, read and checked with errors that say where."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from limrank_ir.errors import InputError

if TYPE_CHECKING:
    from pydantic import BaseModel

Model = TypeVar("Model", bound="BaseModel")


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


def validated(model: type[Model], settings: Any, path: Path) -> Model:
    """Check settings.

    Args:
        model: what they must be.
        settings: what a file holds.
        path: the file, for the error message.

    Raises:
        InputError: a setting is unknown, missing or impossible; the first one is named.
    """
    from pydantic import ValidationError

    try:
        return model.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"{name}: " for name in [".".join(map(str, first["loc"]))] if name)
        unknown = first["type"] == "extra_forbidden"
        reason = "unknown setting; check its name" if unknown else first["msg"].removeprefix("Value error, ")
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise InputError(f"{path}: {where}{reason}{more}") from error
