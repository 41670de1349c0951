"""What can be learned from a folder of weights without loading it: its tensors, broken files, and a fingerprint.

The `fingerprint` depends only on what can change a verdict, so it is the same on every machine: the tensors, how the
tokenizer splits text, and the architecture in the configuration files. Everything else in the folder (``README.md``,
the version of transformers that wrote it, ``local_files_only``, how the weights are split into shards) does not count.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from limrank_ir.errors import InputError

# Weights up to this size are hashed completely; of larger ones, evenly spaced blocks of each tensor. A training step
# changes all blocks of a tensor, and reading 15 GB at every start would take longer than the model's first answers.
HASH_COMPLETELY = 64 << 20
BLOCKS = 16
BLOCK_BYTES = 4096
LFS_POINTER = b"version https://git-lfs"
MAX_POINTER_BYTES = 1024  # a pointer has about 130

# Entries of configuration files that change no verdict: their origin, and how the model was or may be run.
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
# Entries of other files that can change a verdict.
_ESSENTIAL = {
    "generation_config.json": {"eos_token_id"},  # ends the reasoning
    "tokenizer_config.json": {"add_bos_token", "add_eos_token", "bos_token", "eos_token", "tokenizer_class"},
    "tokenizer.json": {"added_tokens", "decoder", "model", "normalizer", "post_processor", "pre_tokenizer"},
}
_SLOW_TOKENIZERS = ("tokenizer.model", "spiece.model", "vocab.json", "vocab.txt", "merges.txt")
_SENTENCE_TRANSFORMERS = ("modules.json", "sentence_bert_config.json")


class Tensor(NamedTuple):
    """A tensor in a file of weights.

    Attributes:
        dtype: the dtype as in safetensors, such as ``"BF16"``.
        shape: its shape.
        file: the file.
        start: offset of its first byte in the file.
        end: offset after its last byte.
    """

    dtype: str
    shape: tuple[int, ...]
    file: Path
    start: int
    end: int


def tensors(folder: Path) -> dict[str, Tensor]:
    """The tensors in a folder's safetensors files, by name.

    Args:
        folder: the folder of a model or an adapter.

    Returns:
        Name to tensor, from all shards; empty if there are no safetensors files.

    Raises:
        InputError: a file is a Git LFS pointer, truncated, or not a safetensors file; the message names it.
    """
    return {name: tensor for file in _weight_files(folder) for name, tensor in _header(file).items()}


def check_files(folder: Path) -> None:
    """Check a folder's files before a library fails on them with a message that is harder to understand.

    Args:
        folder: the folder of a model or an adapter.

    Raises:
        InputError: as for `tensors`.
    """
    for file in sorted(folder.iterdir()):
        if file.is_file():
            _refuse_pointer(file)
    tensors(folder)


def fingerprint(folder: Path) -> str:
    """Fingerprint a folder of weights by everything that can change a verdict. It is computed once for each state.

    Args:
        folder: the folder of a model, an adapter, or a sentence-transformers model with module folders.

    Returns:
        32 hexadecimal digits.

    Raises:
        InputError: as for `tensors`.
    """
    places = (folder, *sorted(part for part in folder.iterdir() if part.is_dir() and _is_module(part)))
    return _fingerprint(places, tuple(state for place in places for state in _states(place)))


def _states(folder: Path) -> Iterable[tuple[str, int, int]]:
    """What tells whether a file in a folder was changed: (name, time, size) of each."""
    for file in sorted(folder.iterdir()):
        if file.is_file():
            found = file.stat()
            yield file.name, found.st_mtime_ns, found.st_size


@lru_cache(maxsize=64)
def _fingerprint(places: tuple[Path, ...], states: tuple[tuple[str, int, int], ...]) -> str:
    """The fingerprint of a folder and its modules, as long as their files are in these states."""
    folder, digest = places[0], hashlib.sha256()
    for place in places:
        for name, content in _contents(place):
            digest.update(f"{place.relative_to(folder)}/{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:32]


def _is_module(folder: Path) -> bool:
    """Whether a folder is a module of sentence-transformers, such as ``1_Pooling``."""
    return folder.name[:1].isdigit() and (folder / "config.json").is_file()


def _contents(folder: Path) -> Iterable[tuple[str, bytes]]:
    """(name, relevant content) of the files directly in a folder, in a fixed order."""
    found = tensors(folder)
    completely = sum(tensor.end - tensor.start for tensor in found.values()) <= HASH_COMPLETELY
    for name in sorted(found):
        tensor = found[name]
        yield name, f"{tensor.dtype} {tensor.shape}\n".encode() + _sample(tensor, completely=completely)
    if not found:
        for file in sorted(folder.glob("*.bin")):
            if file.name.startswith(("pytorch_model", "adapter_model")):
                yield file.name, _sample(Tensor("", (), file, 0, file.stat().st_size), completely=False)
    tokenizer = ["tokenizer.json"] if (folder / "tokenizer.json").exists() else _SLOW_TOKENIZERS
    for name in (*_INCIDENTAL, "generation_config.json", "tokenizer_config.json", *tokenizer, *_SENTENCE_TRANSFORMERS):
        if (folder / name).is_file():
            yield name, _relevant_content(folder / name)


def _relevant_content(file: Path) -> bytes:
    """The entries of a file that can change a verdict, in a canonical form."""
    raw = file.read_bytes()
    try:
        record: Any = json.loads(raw)
    except ValueError:  # not JSON by design (merges.txt), or broken, which loading will detect
        return raw
    if isinstance(record, dict):
        if file.name in _ESSENTIAL:
            record = {key: value for key, value in record.items() if key in _ESSENTIAL[file.name]}
        record = {key: value for key, value in record.items() if key not in _INCIDENTAL.get(file.name, ())}
    if isinstance(record, dict) and file.name == "adapter_config.json":
        record = {key: _sorted(value) for key, value in record.items() if value not in (None, False, {}, [])}
    return json.dumps(record, sort_keys=True).encode()


def _sorted(value: Any) -> Any:
    """PEFT writes sets, such as the target modules, as lists in arbitrary order."""
    return sorted(value, key=str) if isinstance(value, list) else value


def _sample(tensor: Tensor, *, completely: bool) -> bytes:
    """All bytes of a tensor, or evenly spaced blocks, including the first and the last."""
    size = tensor.end - tensor.start
    with tensor.file.open("rb") as file:
        file.seek(tensor.start)
        if completely or size <= BLOCKS * BLOCK_BYTES:
            return file.read(size)
        blocks = []
        for number in range(BLOCKS):
            file.seek(tensor.start + (size - BLOCK_BYTES) * number // (BLOCKS - 1))
            blocks.append(file.read(BLOCK_BYTES))
        return b"".join(blocks)


def _weight_files(folder: Path) -> list[Path]:
    """The safetensors files that transformers or PEFT would read: the shards of an index, or the single file."""
    index = folder / "model.safetensors.index.json"
    if index.is_file() and not (folder / "model.safetensors").is_file():
        try:
            shards = set(json.loads(index.read_bytes())["weight_map"].values())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{index}: not an index of safetensors files; download it again") from error
        if missing := sorted(shard for shard in shards if not (folder / shard).is_file()):
            raise InputError(
                f"{folder}: {len(missing)} of {len(shards)} weight files are missing ({missing[0]}); download them"
            )
        return [folder / shard for shard in sorted(shards)]
    return [folder / name for name in ("model.safetensors", "adapter_model.safetensors") if (folder / name).is_file()]


def _header(file: Path) -> dict[str, Tensor]:
    """The tensors listed in the header of a safetensors file (https://github.com/huggingface/safetensors, "Format")."""
    _refuse_pointer(file)
    size = file.stat().st_size
    with file.open("rb") as opened:
        start = 8 + int.from_bytes(opened.read(8), "little")
        if size < start:
            raise InputError(f"{file}: truncated, or not a safetensors file ({size} bytes); download it again")
        try:
            listed: dict[str, Any] = json.loads(opened.read(start - 8))
            found = {
                name: Tensor(facts["dtype"], tuple(facts["shape"]), file, *(start + at for at in facts["data_offsets"]))
                for name, facts in listed.items()
                if name != "__metadata__"
            }
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{file}: not a safetensors file; download it again") from error
    if (needed := max((tensor.end for tensor in found.values()), default=start)) > size:
        raise InputError(f"{file}: truncated ({size:,} of {needed:,} bytes); download it again")
    return found


def _refuse_pointer(file: Path) -> None:
    with file.open("rb") as opened:
        if file.stat().st_size <= MAX_POINTER_BYTES and opened.read(len(LFS_POINTER)) == LFS_POINTER:
            raise InputError(f"{file}: a Git LFS pointer, not the file itself; run `git lfs pull` in its repository")
