"""vLLM as an engine: interruptions, failures, options, and the checks of weights and adapters."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from safetensors.torch import load_file, save_file

from limrank_ir import EngineError, InputError, LimRank
from limrank_ir.engines.tokens import Tokens
from limrank_ir.engines.vllm_requests import Request, ended, reading
from limrank_ir.models import resolve
from tests import tiny

OPTIONS = {"prompt_format": "rank1", "think": "never", "max_length": 300}
PAIRS = [
    (f"where do {animal} sleep?", f"{place} {number}")
    for animal in ("bats", "cats")
    for number, place in enumerate(("In caves.", "On roofs.", "At sea.", "Nowhere."))
]


@pytest.fixture(scope="module")
def limrank(tiny_folder, started):
    return started(str(tiny_folder), **OPTIONS)


@pytest.mark.parametrize("think", ["never", "always"])
def test_an_interrupted_run_goes_on(limrank, tmp_path, think):
    def stop(count):
        if count:
            raise KeyboardInterrupt

    options = {"engine": limrank.engine, "prompt_format": "rank1", "think": think, "budget": 5}
    whole = LimRank(limrank.model.name, **options).judge(PAIRS)
    first = LimRank(limrank.model.name, store=tmp_path / "store", **options)
    with pytest.raises(KeyboardInterrupt):
        first.judge(PAIRS, progress=stop)
    assert not limrank.engine._started.engine.has_unfinished_requests()
    assert not limrank.engine._arrived and not limrank.engine._counted
    second = LimRank(limrank.model.name, store=tmp_path / "store", **options)
    verdicts = second.judge(PAIRS)
    assert second.stats.stored > 0 and second.stats.stored + second.stats.judged == len(PAIRS)
    assert [verdict.log_odds for verdict in verdicts] == pytest.approx([other.log_odds for other in whole], abs=1e-3)


def test_readings_come_before_the_end_and_known_ones_are_skipped(limrank):
    prompts = [limrank.prompt(*pair) for pair in PAIRS]
    run = limrank.engine.read_labels(prompts, (" true", " false"), think=False, budget=1, done={0, 5})
    found = next(run)
    other = limrank.engine.read_labels(prompts[:2], (" true", " false"), think=False, budget=1)  # beside the first
    assert sorted(index for batch in other for index, _ in batch) == [0, 1]
    found += [pair for batch in run for pair in batch]
    assert sorted(index for index, _ in found) == [1, 2, 3, 4, 6, 7]
    nothing = limrank.engine.read_labels(prompts, (" true", " false"), think=False, budget=1, done=set(range(8)))
    assert list(nothing) == []


def test_tokens_are_counted(limrank):
    before = limrank.engine.tokens
    limrank.judge(PAIRS)
    assert limrank.engine.tokens - before == limrank.stats.tokens + len(PAIRS)  # one is generated, and not kept


def test_a_failure_is_one_line_and_the_next_run_starts_again(limrank, monkeypatch):
    monkeypatch.setattr(limrank.engine._started.engine, "step", lambda: 1 / 0)
    with pytest.raises(EngineError, match=r"vLLM failed \(division by zero\); run it again to continue$"):
        limrank.judge(PAIRS)
    assert len(limrank.judge(PAIRS[:1])) == 1


def test_a_query_that_is_too_long_harms_no_one(limrank):
    with pytest.raises(InputError, match="leave no room for a passage within 300 tokens"):
        limrank.judge([("so " * 400, "yes"), *PAIRS])
    assert not limrank.engine._started.engine.has_unfinished_requests()


def test_labels_that_vllm_cannot_read_are_refused(limrank):
    for labels in ((1, 10_000_000), tuple(range(200))):
        with pytest.raises(InputError, match="vLLM does not accept a prompt"):
            list(limrank.engine.read_labels([limrank.prompt(*PAIRS[0])], labels, think=False, budget=1))


def output(**made):
    made = {"token_ids": [5], "logprobs": None, "finish_reason": "length", "stop_reason": None, "text": "", **made}
    return SimpleNamespace(prompt_token_ids=[1, 2, 3], outputs=[SimpleNamespace(**made)])


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ({}, "no log-probabilities"),
        ({"logprobs": [{}, {}]}, "no log-probabilities"),
        ({"logprobs": [{7: SimpleNamespace(logprob=-1.0)}]}, "no log-probability of the label token 8"),
        ({"logprobs": [{n: SimpleNamespace(logprob=float("nan")) for n in (7, 8)}]}, "gave nan .* try dtype='float32'"),
        ({"logprobs": [{n: SimpleNamespace(logprob=-float("inf")) for n in (7, 8)}]}, "gave -inf"),
    ],
)
def test_what_is_missing_is_an_error(made, message):
    with pytest.raises(EngineError, match=message):
        reading(Request(0, Tokens([1, 2, 3], 0)), output(**made), (7, 8), raw=False)


def test_a_request_that_vllm_gave_up_is_an_error():
    with pytest.raises(EngineError, match=r"gave up a prompt of 3 tokens \(abort\)"):
        ended(output(finish_reason="abort"), (), None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"tensor_paralel_size": 2},
            "unknown engine option 'tensor_paralel_size'.*; did you mean tensor_parallel_size?",
        ),
        ({"data_parallel_size": 2}, "no replicas in one process; start a `vllm serve`"),
        ({"max_model_len": 100}, "use the option max_length"),
        ({"trust_remote_code": True}, "must not run code"),
        ({"spec_tokens": 3}, "plain decoding"),
    ],
)
def test_wrong_options_are_refused_at_once(options, message):
    with pytest.raises(InputError, match=message):
        LimRank(engine="vllm", engine_options=options)


def test_values_that_vllm_refuses_are_one_line(tiny_folder, started):
    for options in ({"gpu_memory_utilization": 7}, {"quantization": "no-such"}, {"kv_cache_memory_bytes": 1000}):
        with pytest.raises(InputError, match="vLLM cannot run it with these options") as error:
            started(str(tiny_folder), engine_options=options, **OPTIONS).load()
        assert "\n" not in str(error.value)


def test_options_that_change_a_reading_are_in_the_identity(tiny_folder):
    def identity(**options):
        return LimRank(str(tiny_folder), engine="vllm", engine_options=options, **OPTIONS).engine.identity

    assert identity(kv_cache_memory_bytes=1 << 28, hf_token="secret") == identity(enforce_eager=False)
    assert len({identity(), identity(kv_cache_dtype="fp8"), identity(hf_overrides={"head_dtype": "model"})}) == 3
    assert "vllm=0." in identity() and "secret" not in identity(hf_token="secret")


def test_a_cpu_that_is_too_old_is_refused(tiny_folder, started, monkeypatch):
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "DEFAULT")
    with pytest.raises(EngineError, match=r"needs a CPU with AVX2, and this one has none \(DEFAULT\)"):
        started(str(tiny_folder), **OPTIONS).load()


def test_weights_are_checked_as_the_local_engine_does(tmp_path, smol_folder, started):
    folder = tiny.make(tmp_path / "tiny", smol_folder, num_hidden_layers=1)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 2}))
    errors = []
    for make in (LimRank, started):
        with pytest.raises(InputError, match=r"missing the tensors model\.layers\.1\.") as error:
            make(str(folder), **OPTIONS).load()
        errors.append(str(error.value))
    assert errors[0] == errors[1]


@pytest.mark.parametrize("merge", [True, False])
def test_adapters_are_checked_as_the_local_engine_does(tmp_path, smol_folder, started, merge):
    adapter = shutil.copytree(Path(resolve().adapter), tmp_path / "adapter")
    (adapter / "limrank.json").write_text('{"base": "others"}')
    with pytest.raises(InputError, match=r"trained on other weights \(others\)"):
        started(adapter=str(adapter), engine_options={"merge_adapter": merge}).load()
    (adapter / "limrank.json").unlink()
    weights = adapter / "adapter_model.safetensors"
    save_file({name: part for name, part in load_file(weights).items() if ".layers.7." not in name}, weights)
    with pytest.raises(InputError, match=r"missing the tensors .* of its configuration"):
        started(adapter=str(adapter), engine_options={"merge_adapter": merge}).load()


def test_an_adapter_that_vllm_would_read_otherwise_is_merged(smol_folder):
    from peft import LoraConfig

    from limrank_ir.engines.vllm_start import _followed

    targets = ["q_proj", "v_proj"]
    assert _followed(LoraConfig(r=8, lora_alpha=32, use_rslora=True, target_modules=targets, task_type="CAUSAL_LM"))
    for setting in (
        {"use_dora": True},
        {"modules_to_save": ["lm_head"]},
        {"init_lora_weights": "pissa"},
        {"target_modules": ["lm_head"]},
        {"r": 600},
        {"alpha_pattern": {"q_proj": 3}},
        {"bias": "all"},
    ):
        assert not _followed(LoraConfig(**{"target_modules": targets, **setting}))


def test_the_command_line_stays_quiet(tiny_folder, tmp_path):
    (tmp_path / "corpus.tsv").write_text("d1\tBats sleep in caves.\nd2\tBread is baked.\n")
    (tmp_path / "topics.tsv").write_text("q1\twhere do bats sleep?\n")
    (tmp_path / "run.txt").write_text("q1 Q0 d2 1 2 x\nq1 Q0 d1 2 1 x\n")
    files = "--run run.txt --topics topics.tsv --corpus corpus.tsv -o out.txt"
    command = f"-m limrank_ir rerank {files} --engine vllm --model {tiny_folder} --prompt-format rank1 --think never"
    command += " --max-length 300"
    done = subprocess.run(
        [sys.executable, *command.split()], cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "out.txt").read_text().splitlines()) == 2
    noise = [line for line in done.stderr.splitlines() if "vllm" in line.lower() or "warning" in line.lower()]
    assert not noise and "INFO" not in done.stdout
