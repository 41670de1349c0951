"""The hardware's limit: how long the layers' matrix products take alone, with the best kernel that there is.

It is a bound for anything that multiplies in this precision: attention, norms, and moving data come on top. So it must
be taken over all kernels that a contender may use, oneDNN's packed weights among them, and over batch sizes. What is
left is noise: other programs may slow the limit down while a contender runs undisturbed.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

from limrank_ir.engines.cpu import PackedLinear, can_speed_up
from limrank_ir.engines.int8 import Int8Linear, product

CPU_ROWS = (256, 768, 1024, 2048)  # tokens in a product, around the batches that are fast
GPU_ROWS = (4096, 16384, 65536)
TRIES = 6  # for each kernel, shape, and number of rows; the fastest counts
GPU_CALLS = 10  # in one try, because starting a product takes as long as a small one


class Limit:
    """The best rate so far in one precision. Each call of `measure` can only make it better."""

    def __init__(self, model: Any, *, int8: bool = False) -> None:
        """Find the products.

        Args:
            model: a causal language model of transformers, in the precision to measure.
            int8: measure products in 8 bits, for a model in float32.
        """
        self._products = _int8_products if int8 else _products
        layers = [
            module
            for name, module in model.get_decoder().named_modules()
            if isinstance(module, torch.nn.Linear) and "embed" not in name
        ]
        self._counts = Counter(tuple(layer.weight.shape) for layer in layers)
        self._layers = {tuple(layer.weight.shape): layer for layer in layers}
        self._best: dict[tuple[int, ...], tuple[float, str]] = {}

    def measure(self) -> None:
        """Time all kernels once more."""
        for shape, layer in self._layers.items():
            for kernel, rows, multiply in self._products(layer):
                seconds = _fastest(multiply, layer.weight.device) / rows
                if shape not in self._best or seconds < self._best[shape][0]:
                    self._best[shape] = (seconds, f"{kernel}, {rows} rows")

    def seconds(self, tokens: int) -> float:
        """The least time for so many tokens."""
        return tokens * sum(self._best[shape][0] * count for shape, count in self._counts.items())

    @property
    def kernels(self) -> dict[str, str]:
        """What was fastest for each shape of weights, such as ``576 x 1536``."""
        return {" x ".join(map(str, shape)): kernel for shape, (_, kernel) in sorted(self._best.items())}

    @property
    def flops(self) -> float:
        """Floating-point operations a second at that rate."""
        operations = sum(2 * shape[0] * shape[1] * count for shape, count in self._counts.items())
        return operations / self.seconds(1)


def _products(layer: torch.nn.Linear) -> Iterator[tuple[str, int, Callable[[], torch.Tensor]]]:
    """(kernel, rows, what multiplies them) for each way to run a layer."""
    weight = layer.weight
    packed = PackedLinear(layer, weight.dtype) if weight.device.type == "cpu" and can_speed_up(weight.dtype) else None
    for rows in CPU_ROWS if weight.device.type == "cpu" else GPU_ROWS:
        x = torch.randn(rows, weight.shape[1], dtype=weight.dtype, device=weight.device)
        yield "torch linear", rows, partial(torch.nn.functional.linear, x, weight)
        if packed is not None:
            yield "oneDNN packed", rows, partial(packed, x)


def _int8_products(layer: torch.nn.Linear) -> Iterator[tuple[str, int, Callable[[], torch.Tensor]]]:
    quantized = Int8Linear(layer.weight, None)
    for rows in CPU_ROWS:
        values = torch.randint(0, 256, (rows, layer.weight.shape[1]), dtype=torch.uint8)
        yield "oneDNN int8", rows, partial(product, values, quantized)


def _fastest(multiply: Callable[[], torch.Tensor], device: torch.device) -> float:
    """Seconds of one product, at best."""
    on_gpu = device.type == "cuda"
    calls = GPU_CALLS if on_gpu else 1
    best = float("inf")
    multiply()  # the first one sets up
    for _ in range(TRIES):
        if on_gpu:
            torch.cuda.synchronize(device)
        started = time.perf_counter()
        for _ in range(calls):
            multiply()
        if on_gpu:
            torch.cuda.synchronize(device)
        best = min(best, (time.perf_counter() - started) / calls)
    return best
