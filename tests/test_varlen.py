"""Packed attention without a padded view: the layout on any machine, the kernel itself on a GPU."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch

from limrank_ir import LimRank
from limrank_ir.engines import varlen
from limrank_ir.engines.loading import load
from limrank_ir.engines.packed import Packing
from limrank_ir.engines.room import tokens_that_fit
from limrank_ir.prompts import RANK1
from tests import tiny
from tests.test_packed import FAMILIES

GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device on this machine")
QUERY = "how do I copy a file?"


def slow_kernel(query, key, value, cu_q, cu_k, max_q, max_k, *, scale, window_size, enable_gqa, num_splits):
    """What `torch.nn.attention.varlen.varlen_attn` does, written down from its documentation."""
    assert cu_q.dtype == cu_k.dtype == torch.int32 and enable_gqa and num_splits == 1 and window_size[1] == 0
    assert max_q == int(cu_q.diff().max()) and max_k == int(cu_k.diff().max())
    assert (len(query), len(key)) == (int(cu_q[-1]), int(cu_k[-1])) and len(key) == len(value)
    groups = query.shape[1] // key.shape[1]
    out = torch.empty_like(query)
    for number in range(len(cu_q) - 1):
        q, k, v = (
            part[int(starts[number]) : int(starts[number + 1])].transpose(0, 1)
            for part, starts in ((query, cu_q), (key, cu_k), (value, cu_k))
        )
        weights = q @ k.repeat_interleave(groups, 0).transpose(1, 2) * scale
        # The last query stands at the last key.
        place = torch.arange(q.shape[1])[:, None] + k.shape[1] - q.shape[1]
        gap = place - torch.arange(k.shape[1])
        seen = (gap >= 0) & ((window_size[0] < 0) | (gap <= window_size[0]))
        weights = weights.masked_fill(~seen, float("-inf")).softmax(-1)
        out[int(cu_q[number]) : int(cu_q[number + 1])] = (weights @ v.repeat_interleave(groups, 0)).transpose(0, 1)
    return out


def last_states(loaded, device):
    """The last hidden states of rows with and without prefixes."""
    rows = [np.arange(3, 3 + length) * 17 % 999 for length in (31, 12, 40, 9)]
    starts = [0, 8, 20, 0]
    before = Packing([20, 8], device=device, keep=True)
    loaded.run([rows[2][:20], rows[1][:8]], before)
    lengths = [len(row) - start for row, start in zip(rows, starts, strict=True)]
    packing = Packing(lengths, [(0, 0), (20, 28), (0, 20), (0, 0)], before.kept, device=device)
    return loaded.run([row[start:] for row, start in zip(rows, starts, strict=True)], packing).float()


@pytest.mark.parametrize(("family", "settings"), FAMILIES, ids=lambda value: value if isinstance(value, str) else "")
def test_the_layout_is_that_of_the_padded_view(tmp_path, smol_folder, monkeypatch, family, settings):
    device = torch.device("cpu")
    loaded = load(tiny.make(tmp_path, smol_folder, family, **settings), None, RANK1, device, torch.float32)
    padded = last_states(loaded, device)
    monkeypatch.setattr(varlen, "usable", lambda query: True)
    monkeypatch.setattr(varlen, "kernel", lambda: slow_kernel)
    torch.testing.assert_close(last_states(loaded, device), padded, atol=1e-4, rtol=1e-4)


def test_scores_are_those_of_the_padded_view(monkeypatch, docstrings):
    pairs = [(QUERY, passage) for passage in docstrings[:5]]
    padded = LimRank().predict(pairs)
    monkeypatch.setattr(varlen, "usable", lambda query: True)
    monkeypatch.setattr(varlen, "kernel", lambda: slow_kernel)
    assert LimRank().predict(pairs) == pytest.approx(padded, abs=1e-3)


def test_pytorch_has_the_kernel_with_these_arguments():
    kernel = varlen.kernel()
    assert kernel is not None
    parameters = inspect.signature(kernel).parameters
    assert list(parameters)[:7] == ["query", "key", "value", "cu_seq_q", "cu_seq_k", "max_q", "max_k"]
    assert {"scale", "window_size", "enable_gqa", "num_splits"} <= set(parameters)


def test_without_a_gpu_the_padded_view_is_used():
    assert not varlen.usable(torch.zeros(1, 2, 3, 64))


def test_batches_grow_with_the_free_memory():
    config = tiny_config()
    some, more = tokens_that_fit(2 << 30, config, 2), tokens_that_fit(16 << 30, config, 2)
    assert 1024 < some < more <= 65_536
    assert tokens_that_fit(0, config, 2) == 1024  # it is halved if memory runs out


def tiny_config():
    """The sizes of Qwen2.5-7B."""
    from transformers import Qwen2Config

    return Qwen2Config(
        hidden_size=3584,
        intermediate_size=18944,
        num_hidden_layers=28,
        num_attention_heads=28,
        num_key_value_heads=4,
    )


@GPU
@pytest.mark.parametrize(("family", "settings"), FAMILIES, ids=lambda value: value if isinstance(value, str) else "")
def test_the_kernel_gives_what_the_padded_view_gives(tmp_path, smol_folder, monkeypatch, family, settings):
    device = torch.device("cuda")
    sizes = {"hidden_size": 128, **settings}
    loaded = load(tiny.make(tmp_path, smol_folder, family, **sizes), None, RANK1, device, torch.bfloat16)
    unpadded = last_states(loaded, device)
    monkeypatch.setattr(varlen, "usable", lambda query: False)
    torch.testing.assert_close(unpadded, last_states(loaded, device), atol=5e-2, rtol=5e-2)


@GPU
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-3), ("bfloat16", 0.05)])
def test_a_gpu_gives_the_scores_of_a_cpu(docstrings, dtype, tolerance):
    pairs = [(QUERY, passage) for passage in docstrings[:20]]
    expected = LimRank(device="cpu", dtype="float32").predict(pairs)
    assert LimRank(device="cuda", dtype=dtype).predict(pairs) == pytest.approx(expected, abs=tolerance)


@GPU
def test_thoughts_on_a_gpu_are_those_of_a_cpu(docstrings):
    pairs = [(QUERY, passage) for passage in docstrings[:4]]
    expected = LimRank(device="cpu", dtype="float32", think="always", budget=12).judge(pairs)
    found = LimRank(device="cuda", dtype="float32", think="always", budget=12).judge(pairs)
    for one, other in zip(found, expected, strict=True):
        assert (one.reasoning, one.finish) == (other.reasoning, other.finish)
        assert one.log_odds == pytest.approx(other.log_odds, abs=1e-2)
