"""Packed attention against each model family's own, and the limits of batches and waves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limrank_ir.engines import batching, packed
from limrank_ir.engines.loading import TESTED_FAMILIES, load
from limrank_ir.engines.packed import Packing
from limrank_ir.errors import LimRankError
from limrank_ir.prompts import RANK1, Prompt
from tests import tiny

DEVICES = [torch.device("cpu"), *([torch.device("cuda")] if torch.cuda.is_available() else [])]
WINDOW = {"sliding_window": 7, "use_sliding_window": True, "max_window_layers": 1}
FAMILIES = [
    *((name, {}) for name in sorted(TESTED_FAMILIES)),
    ("mistral", {"sliding_window": 7}),
    ("qwen2", WINDOW),
]


@pytest.fixture(scope="module", params=FAMILIES, ids=[f"{name}{'-window' if more else ''}" for name, more in FAMILIES])
def family_folder(request, tmp_path_factory, smol_folder):
    name, settings_ = request.param
    return tiny.make(tmp_path_factory.mktemp(name), smol_folder, name, **settings_)


@pytest.mark.parametrize("block", [packed.BLOCK, 7])
@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_packed_attention_equals_the_models_own(family_folder, device, block, monkeypatch):
    from transformers import AutoModelForCausalLM

    monkeypatch.setattr(packed, "BLOCK", block)
    loaded = load(family_folder, None, RANK1, device, torch.float32)
    own = AutoModelForCausalLM.from_pretrained(family_folder, attn_implementation="eager").to(device).eval()
    rows = [np.arange(3, 3 + length) * 17 % 999 for length in (31, 12, 40, 9)]
    starts = [0, 8, 20, 0]  # how many tokens of each row are a prefix that was run before; the third row's comes first
    before = Packing([20, 8], device=device, keep=True)
    loaded.run([rows[2][:20], rows[1][:8]], before)
    spans = [(0, 0), (20, 28), (0, 20), (0, 0)]
    lengths = [len(row) - start for row, start in zip(rows, starts, strict=True)]
    packing = Packing(lengths, spans, before.kept, device=device)
    hidden = loaded.run([row[start:] for row, start in zip(rows, starts, strict=True)], packing)
    for row, ours in zip(rows, hidden, strict=True):
        with torch.inference_mode():
            expected = own.model(torch.tensor(row, device=device)[None]).last_hidden_state[0, -1]
        torch.testing.assert_close(ours, expected, atol=2e-4, rtol=2e-4)


def test_of_the_last_layer_a_layout_gets_what_it_reads(family_folder):
    """The last tokens only, unless it wants all: in-context re-ranking sums the attention of all."""

    class Everything(Packing):
        reads_last = False

    loaded = load(family_folder, None, RANK1, torch.device("cpu"), torch.float32)
    rows = [np.arange(3, 3 + length) * 17 % 999 for length in (31, 12, 1)]
    tokens = torch.from_numpy(np.concatenate(rows))[None]
    layouts = [kind(list(map(len, rows)), device=loaded.device, keep=True) for kind in (Packing, Everything)]
    with torch.inference_mode():
        last, everything = (
            loaded.model.get_decoder()(
                input_ids=tokens, position_ids=layout.positions, use_cache=False, packing=layout
            ).last_hidden_state[0]
            for layout in layouts
        )
    assert (len(last), len(everything)) == (3, 44)
    torch.testing.assert_close(last, everything[[30, 42, 43]], atol=1e-5, rtol=1e-4)
    kept, kept_by_everything = (layout.kept.layers[1] for layout in layouts)
    torch.testing.assert_close(kept, kept_by_everything)
    assert all(each.is_contiguous() for each in kept)  # or they would keep the queries in memory


def test_a_family_with_other_rules_is_refused(tmp_path, smol_folder):
    folder = tiny.make(tmp_path, smol_folder, "gemma2", head_dim=16, attn_logit_softcapping=2.0)
    with pytest.raises(LimRankError, match="does not support models of the family 'gemma2'; supported families: llama"):
        load(folder, None, RANK1, torch.device("cpu"), torch.float32)


def test_an_untested_family_with_the_same_rules_passes_the_check(tmp_path, smol_folder):
    folder = tiny.make(tmp_path, smol_folder, "olmo2")
    load(folder, None, RANK1, torch.device("cpu"), torch.float32)


@given(st.lists(st.integers(1, 50), max_size=40), st.integers(1, 100), st.none() | st.integers(1, 9))
def test_batches_contain_every_row_once_within_their_limits(lengths, tokens, rows):
    made = batching.batches(lengths, tokens, rows)
    assert sorted(position for batch in made for position in batch) == list(range(len(lengths)))
    for batch in made:
        assert len(batch) <= (rows or len(lengths))
        assert sum(lengths[position] for position in batch) <= tokens or len(batch) == 1
    flat = [lengths[position] for batch in made for position in batch]
    assert flat == sorted(flat)


@given(st.lists(st.integers(0, 60), max_size=300))
def test_waves_contain_every_prompt_once_and_keep_queries_together(numbers):
    prompts = {index: Prompt(f"query {number}", "", "") for index, number in enumerate(numbers)}
    made = list(batching.waves(prompts))
    groups = [group for wave in made for group in wave]
    assert sorted(index for group in groups for index in group) == list(range(len(numbers)))
    assert len(groups) == len(set(numbers))
    assert all(len({prompts[index].prefix for index in group}) == 1 for group in groups)
    assert all(len(wave) <= batching.GROUPS_PER_WAVE for wave in made)


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=30), min_size=1, max_size=5))
def test_a_shared_prefix_leaves_each_row_a_token(rows):
    shared = batching.shared_length([np.array(row) for row in rows])
    assert shared == 0 or all(row[:shared] == rows[0][:shared] and len(row) > shared for row in rows)
    if len(rows) > 1 and all(row[:9] == rows[0][:9] and len(row) > 9 for row in rows):
        assert shared >= 9
