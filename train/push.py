"""``limrank push``: upload an export to the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path

from limrank_ir.errors import EngineError, InputError

TAG = "limrank"  # in the front matter of the model card that `limrank export` writes
PATTERNS = ("*.json", "*.safetensors", "*.jinja", "*.txt", "*.model", "*.md")


def files(folder: Path, name: str) -> list[Path]:
    """Check an export and list its files, without using the network.

    Args:
        folder: what ``limrank export`` wrote.
        name: the repository, ``owner/name``.

    Returns:
        The files to upload.

    Raises:
        InputError: the folder is not an export, or the name is not valid for a repository.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.repocard import metadata_load
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise InputError(f"{name}: not a valid repository name ({' '.join(str(error).split())})") from error
    if name.count("/") != 1:
        raise InputError(f"{name}: the owner is missing; write OWNER/NAME")
    try:
        metadata = metadata_load(folder / "README.md") or {}
    except (OSError, ValueError):
        metadata = {}
    found = sorted({path for pattern in PATTERNS for path in folder.glob(pattern)})
    if TAG not in (metadata.get("tags") or []) or not any(path.suffix == ".safetensors" for path in found):
        raise InputError(f"{folder}: not an export; make one with: limrank export RUN {folder.name} --as adapter")
    return found


def upload(folder: Path, name: str, *, private: bool = False) -> str:
    """Create the repository if it does not exist, and upload the folder in one commit.

    Args:
        folder: an export (`files`).
        name: the repository, ``owner/name``.
        private: whether to make a new repository private.

    Returns:
        The URL of the repository.

    Raises:
        InputError: there is no token, or the Hub refuses the upload.
        EngineError: the Hub cannot be reached, or fails.
    """
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled

    if get_token() is None:
        raise InputError("no Hugging Face token; run `hf auth login`, or set HF_TOKEN to a token that may write")
    api = HfApi()
    try:
        address = api.create_repo(name, private=private or None, exist_ok=True)
        api.upload_folder(
            repo_id=name, folder_path=folder, allow_patterns=list(PATTERNS), commit_message="limrank push"
        )
    except HfHubHTTPError as error:
        status = error.response.status_code
        reason = (error.server_message or str(error)).strip().splitlines()[0]
        if status >= 500 or status == 429:
            raise EngineError(f"{name}: the Hub failed ({status}, {reason}); push again later") from error
        hint = "check that the token may write to it" if status in (401, 403) else "check the name and the files"
        raise InputError(f"{name}: the Hub refused the upload ({status}, {reason}); {hint}") from error
    except ValueError as error:  # the model card's front matter
        raise InputError(f"{folder}/README.md: the Hub refused it ({' '.join(str(error).split())})") from error
    except (HTTPError, OfflineModeIsEnabled, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise EngineError(
            f"{api.endpoint}: cannot be reached ({reason}); check the network, then push again"
        ) from error
    return str(address)
