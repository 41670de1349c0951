"""Where vLLM is not installed, the engine says so at once. Its own tests are in tests/vllm: `make test-vllm`."""

from __future__ import annotations

import pytest

from limrank_ir import InputError, LimRank
from limrank_ir.engines.thoughts import before_stop, thought_limits
from limrank_ir.engines.vllm_options import changes, with_defaults


def test_a_missing_vllm_is_one_line_with_the_command(monkeypatch):
    monkeypatch.setattr("limrank_ir.extras.installed", lambda package: package != "vllm")
    with pytest.raises(InputError, match=r"^engine='vllm' needs vllm; run: pip install 'limrank-ir\[vllm\]'$"):
        LimRank(engine="vllm", engine_options={"tensor_parallel_size": 2})


@pytest.mark.parametrize("max_length", [40, 1000, 16000])
@pytest.mark.parametrize("budget", [1, 500, 999, 8192, 100_000])
def test_a_prompt_its_thought_and_the_forced_end_fit_together(max_length, budget):
    prompt, thought = thought_limits(max_length, budget)
    assert prompt + thought + 8 <= max_length and 0 < thought <= budget
    assert prompt >= max_length // 2 - 8


def test_a_thought_ends_before_the_first_stop():
    assert before_stop(" It is.\n</think> false</think> true", ("</think> true", "</think> false")) == "It is."


def test_users_settings_win_and_the_head_is_exact_in_half_precision(monkeypatch):
    monkeypatch.delenv("VLLM_CPU_KVCACHE_SPACE", raising=False)
    given = {"enforce_eager": False, "hf_overrides": {"rope_theta": 1.0}}
    settings = with_defaults(given, cpu=True, half=True)
    assert settings["enforce_eager"] is False and settings["kv_cache_memory_bytes"] == 4 << 30
    assert settings["hf_overrides"] == {"head_dtype": "float32", "rope_theta": 1.0}
    assert "enforce_eager" not in with_defaults({}, cpu=False, half=True)
    assert "hf_overrides" not in with_defaults({}, cpu=False, half=False)
    assert with_defaults({"hf_overrides": {"head_dtype": "model"}}, cpu=False, half=True)["hf_overrides"] == {
        "head_dtype": "model"
    }


def test_only_what_changes_a_reading_is_in_the_identity():
    assert changes({"tensor_parallel_size": 2, "hf_token": "secret"}) == ""
    assert changes({"quantization": "fp8", "enforce_eager": True}) == '{"quantization": "fp8"}'
