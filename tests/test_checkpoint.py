"""Fingerprints depend on what can change a verdict, and broken files are found before a library fails on them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from limrank_ir import InputError
from limrank_ir.formats.checkpoint import check_files, fingerprint, tensors
from limrank_ir.models import DEFAULT, SMOL, resolve
from limrank_ir.weights import identity
from tests.tiny import make

ADAPTER = Path(resolve(DEFAULT).adapter or "")


@pytest.fixture(scope="module")
def model(tmp_path_factory, smol_folder):
    return make(tmp_path_factory.mktemp("model"), smol_folder)


@pytest.fixture
def copy(model, tmp_path):
    return Path(shutil.copytree(model, tmp_path / "copy"))


def edit(file: Path, **values: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values, indent=1))


def test_the_origin_of_a_folder_changes_nothing(model, copy):
    edit(copy / "config.json", transformers_version="0.0", _name_or_path="elsewhere", dtype="float16", use_cache=False)
    edit(copy / "tokenizer_config.json", local_files_only=True, padding_side="left", model_max_length=7)
    (copy / "README.md").write_text("a model card")
    (copy / "training_args.bin").write_bytes(b"settings")
    (copy / "trainer_state.json").write_text("{}")
    whole = load_file(copy / "model.safetensors")
    save_file(dict(reversed(whole.items())), copy / "model.safetensors", metadata={"written": "elsewhere"})
    assert fingerprint(copy) == fingerprint(model)


def test_shards_are_the_same_model(model, copy):
    whole = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    names = sorted(whole)
    shards = {"model-1.safetensors": names[:5], "model-2.safetensors": names[5:]}
    for name, part in shards.items():
        save_file({tensor: whole[tensor] for tensor in part}, copy / name)
    index = {"weight_map": {tensor: name for name, part in shards.items() for tensor in part}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    assert tensors(copy).keys() == tensors(model).keys() and fingerprint(copy) == fingerprint(model)
    (copy / "model-2.safetensors").unlink()
    with pytest.raises(InputError, match=r"1 of 2 weight files are missing \(model-2\.safetensors\)"):
        tensors(copy)


@pytest.mark.parametrize("what", ["weight", "architecture", "tokenizer", "end"])
def test_what_changes_a_verdict_changes_the_fingerprint(model, copy, what):
    if what == "weight":
        whole = load_file(copy / "model.safetensors")
        whole["model.norm.weight"][3] += 1e-3
        save_file(whole, copy / "model.safetensors")
    elif what == "architecture":
        edit(copy / "config.json", rms_norm_eps=1e-3)
    elif what == "tokenizer":
        record = json.loads((copy / "tokenizer.json").read_text())
        record["model"]["merges"] = record["model"]["merges"][:-1]
        (copy / "tokenizer.json").write_text(json.dumps(record))
    else:
        edit(copy / "generation_config.json", eos_token_id=3)
    assert fingerprint(copy) != fingerprint(model)


def test_an_adapter_saved_by_another_version_keeps_its_fingerprint(tmp_path):
    copy = Path(shutil.copytree(ADAPTER, tmp_path / "copy"))
    modules = json.loads((copy / "adapter_config.json").read_text())["target_modules"]
    edit(copy / "adapter_config.json", peft_version="9", new_option=None, target_modules=modules[::-1], revision="main")
    assert fingerprint(copy) == fingerprint(ADAPTER)
    edit(copy / "adapter_config.json", lora_alpha=1.0)
    assert fingerprint(copy) != fingerprint(ADAPTER)


def test_large_tensors_are_sampled(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        header = json.dumps({"w": {"dtype": "U8", "shape": [80 << 20], "data_offsets": [0, 80 << 20]}}).encode()
        with (tmp_path / name / "model.safetensors").open("wb") as file:
            file.write(len(header).to_bytes(8, "little") + header)
            file.truncate(8 + len(header) + (80 << 20))
    assert fingerprint(tmp_path / "a") == fingerprint(tmp_path / "b")
    with (tmp_path / "b" / "model.safetensors").open("r+b") as file:
        file.seek(-5, os.SEEK_END)
        file.write(b"x")
    assert fingerprint(tmp_path / "a") != fingerprint(tmp_path / "b")


def test_the_default_model_has_an_identity_without_its_files(tmp_path):
    code = "from limrank_ir.weights import identity; print(identity('" + SMOL + "'))"
    environment = os.environ | {"LIMRANK_CACHE": str(tmp_path)}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert out.stdout.strip() == identity(SMOL) and not list(tmp_path.iterdir())


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 538090408\n"
BROKEN = {
    "a pointer": (POINTER, r"a Git LFS pointer, not the file itself; run `git lfs pull`"),
    "nothing": (b"", r"truncated, or not a safetensors file \(0 bytes\)"),
    "a web page": (b"<!DOCTYPE html><html>not found</html>", r"truncated, or not a safetensors file"),
    "no header": ((2).to_bytes(8, "little") + b"[]" + b"x" * 90, r"not a safetensors file; download it again"),
}


@pytest.mark.parametrize(("content", "message"), BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("name", ["model.safetensors", "adapter_model.safetensors"])
def test_broken_weight_files_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        check_files(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / name}: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.001, 0.5, 0.999])
def test_truncated_weights_are_found_wherever_they_end(copy, share):
    file = copy / "model.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InputError, match="truncated"):
        check_files(copy)


def test_a_tokenizer_may_be_a_pointer_too(copy):
    (copy / "tokenizer.json").write_bytes(POINTER)
    with pytest.raises(InputError, match=r"tokenizer\.json: a Git LFS pointer"):
        check_files(copy)
