"""What a folder of weights says of itself without being loaded: its tensors, what is wrong with its files, its name.

A name (`fingerprint`) comes from what changes a verdict, so it is the same on every machine: from the tensors, from how
the tokenizer splits a text, and from what configurations say of the architecture. Everything else in a folder
(``README.md``, the version of transformers that wrote it, ``local_files_only``, the shards' boundaries) does not count.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from limrank_ir.errors import InputError

# A file up to this size is hashed whole; of larger ones' tensors, evenly spaced blocks: a training step changes all of
# a tensor's blocks, and reading 15 GB at every start would take longer than the model's first answers.
READ_WHOLE, BLOCKS, BLOCK_BYTES = 64 << 20, 16, 4096
LFS_POINTER = b"version https://git-lfs"
POINTER_BYTES = 1024  # a pointer has about 130

# What configurations say that changes no verdict: where they come from, and how they were or may be run.
_INCIDENTAL = {
    "config.json": {
        "_name_or_path", "architectures", "auto_map", "dtype", "torch_dtype", "transformers_version", "use_cache",
        "local_files_only", "id2label", "label2id", "attn_implementation", "_attn_implementation_autoset",
    },
    "adapter_config.json": {
        "auto_mapping", "base_model_name_or_path", "inference_mode", "init_lora_weights", "lora_dropout",
        "peft_version", "revision", "task_type",
    },
}  # fmt: skip
# And what of the other files does change one.
_ESSENTIAL = {
    "generation_config.json": {"eos_token_id"},  # ends a thought
    "tokenizer_config.json": {"add_bos_token", "add_eos_token", "bos_token", "eos_token", "tokenizer_class"},
    "tokenizer.json": {"added_tokens", "decoder", "model", "normalizer", "post_processor", "pre_tokenizer"},
}
_SLOW_TOKENIZERS = ("tokenizer.model", "spiece.model", "vocab.json", "vocab.txt", "merges.txt")
_SENTENCE_TRANSFORMERS = ("modules.json", "sentence_bert_config.json")


class Tensor(NamedTuple):
    """A tensor in a file of weights.

    Attributes:
        dtype: as safetensors writes it, such as ``"BF16"``.
        shape: its sizes.
        file: where it is.
        start: its first byte in the file.
        end: behind its last byte.
    """

    dtype: str
    shape: tuple[int, ...]
    file: Path
    start: int
    end: int


def tensors(folder: Path) -> dict[str, Tensor]:
    """The tensors that a folder's safetensors hold, by name.

    Args:
        folder: a model's or an adapter's.

    Returns:
        Name to tensor, of all shards; empty when there are no safetensors.

    Raises:
        InputError: a file is a Git LFS pointer, cut short, or no safetensors; the message names it.
    """
    return {name: tensor for file in _weight_files(folder) for name, tensor in _header(file).items()}


def check_files(folder: Path) -> None:
    """Make sure that a folder's files are what their names say, before a library fails on them in its own words.

    Args:
        folder: a model's or an adapter's.

    Raises:
        InputError: as for `tensors`.
    """
    for file in sorted(folder.iterdir()):
        if file.is_file():
            _refuse_pointer(file)
    tensors(folder)


@cache
def fingerprint(folder: Path) -> str:
    """Name a folder of weights by what changes a verdict.

    Args:
        folder: of a model, an adapter, or a sentence-transformers model with its modules in folders.

    Returns:
        32 hexadecimal digits.

    Raises:
        InputError: as for `tensors`.
    """
    digest = hashlib.sha256()
    for place in [folder, *sorted(part for part in folder.iterdir() if part.is_dir() and _is_module(part))]:
        for name, content in _contents(place):
            digest.update(f"{place.relative_to(folder)}/{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:32]


def _is_module(folder: Path) -> bool:
    """Whether a folder is a module of sentence-transformers, such as ``1_Pooling``."""
    return folder.name[:1].isdigit() and (folder / "config.json").is_file()


def _contents(folder: Path) -> Iterable[tuple[str, bytes]]:
    """(name, what counts of it) of a folder's own files, in a fixed order."""
    found = tensors(folder)
    whole = sum(tensor.end - tensor.start for tensor in found.values()) <= READ_WHOLE
    for name in sorted(found):
        tensor = found[name]
        yield name, f"{tensor.dtype} {tensor.shape}\n".encode() + _sample(tensor, whole=whole)
    if not found:
        for file in sorted(folder.glob("*.bin")):
            if file.name.startswith(("pytorch_model", "adapter_model")):
                yield file.name, _sample(Tensor("", (), file, 0, file.stat().st_size), whole=False)
    tokenizer = ["tokenizer.json"] if (folder / "tokenizer.json").exists() else _SLOW_TOKENIZERS
    for name in (*_INCIDENTAL, "generation_config.json", "tokenizer_config.json", *tokenizer, *_SENTENCE_TRANSFORMERS):
        if (folder / name).is_file():
            yield name, _essence(folder / name)


def _essence(file: Path) -> bytes:
    """What counts of a file, written in one way."""
    raw = file.read_bytes()
    try:
        record: Any = json.loads(raw)
    except ValueError:  # no JSON by design (merges.txt), or by accident, which loading will find
        return raw
    if isinstance(record, dict):
        if file.name in _ESSENTIAL:
            record = {key: value for key, value in record.items() if key in _ESSENTIAL[file.name]}
        record = {key: value for key, value in record.items() if key not in _INCIDENTAL.get(file.name, ())}
    if isinstance(record, dict) and file.name == "adapter_config.json":
        record = {key: _sorted(value) for key, value in record.items() if value not in (None, False, {}, [])}
    return json.dumps(record, sort_keys=True).encode()


def _sorted(value: Any) -> Any:
    """PEFT writes sets, such as the names of target modules, as lists in any order."""
    return sorted(value, key=str) if isinstance(value, list) else value


def _sample(tensor: Tensor, *, whole: bool) -> bytes:
    """The bytes of a tensor, or evenly spaced blocks of them, the first and the last among them."""
    size = tensor.end - tensor.start
    with tensor.file.open("rb") as file:
        file.seek(tensor.start)
        if whole or size <= BLOCKS * BLOCK_BYTES:
            return file.read(size)
        blocks = []
        for number in range(BLOCKS):
            file.seek(tensor.start + (size - BLOCK_BYTES) * number // (BLOCKS - 1))
            blocks.append(file.read(BLOCK_BYTES))
        return b"".join(blocks)


def _weight_files(folder: Path) -> list[Path]:
    """The safetensors that transformers or PEFT would read: of an index the shards, else the one file."""
    index = folder / "model.safetensors.index.json"
    if index.is_file() and not (folder / "model.safetensors").is_file():
        try:
            shards = set(json.loads(index.read_bytes())["weight_map"].values())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{index}: no index of safetensors; get the file again") from error
        if missing := sorted(shard for shard in shards if not (folder / shard).is_file()):
            raise InputError(
                f"{folder}: {len(missing)} of {len(shards)} files of weights are missing ({missing[0]}); get them again"
            )
        return [folder / shard for shard in sorted(shards)]
    return [folder / name for name in ("model.safetensors", "adapter_model.safetensors") if (folder / name).is_file()]


def _header(file: Path) -> dict[str, Tensor]:
    """A safetensors file's own list of its tensors (https://github.com/huggingface/safetensors, "Format")."""
    _refuse_pointer(file)
    size = file.stat().st_size
    with file.open("rb") as opened:
        start = 8 + int.from_bytes(opened.read(8), "little")
        if size < start:
            raise InputError(f"{file}: cut short, or no safetensors ({size} bytes); get the file again")
        try:
            listed: dict[str, Any] = json.loads(opened.read(start - 8))
            found = {
                name: Tensor(facts["dtype"], tuple(facts["shape"]), file, *(start + at for at in facts["data_offsets"]))
                for name, facts in listed.items()
                if name != "__metadata__"
            }
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{file}: no safetensors; get the file again") from error
    if (needed := max((tensor.end for tensor in found.values()), default=start)) > size:
        raise InputError(f"{file}: cut short ({size:,} of {needed:,} bytes); get the file again")
    return found


def _refuse_pointer(file: Path) -> None:
    with file.open("rb") as opened:
        if file.stat().st_size <= POINTER_BYTES and opened.read(len(LFS_POINTER)) == LFS_POINTER:
            raise InputError(f"{file}: a Git LFS pointer, not the file itself; run `git lfs pull` in its repository")
