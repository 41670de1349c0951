"""The machine that the figures come from."""

from __future__ import annotations

import os
import platform

# What changes how fast a model runs; the names in /proc/cpuinfo, on x86 and on ARM.
INSTRUCTION_SETS = (
    "avx2",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_int8",
    "amx_bf16",
    "asimd",
    "asimdhp",
    "asimddp",
    "i8mm",
    "bf16",
    "sve",
    "sve2",
)


def processor() -> str:
    """The processor's name and number of cores."""
    name = _cpuinfo("model name") or platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores"


def instruction_sets() -> list[str]:
    """The instruction sets that matter for a model's speed, as Linux calls them; empty on other systems."""
    found = set((_cpuinfo("flags") or _cpuinfo("Features")).split())
    return [name for name in INSTRUCTION_SETS if name in found]


def memory() -> str:
    """The machine's memory, such as ``24.7 GB``; empty where the system does not tell."""
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return ""
    return f"{size / 2**30:.1f} GB"


def _cpuinfo(key: str) -> str:
    """The first value of a key in /proc/cpuinfo, or an empty text."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.split(":")[0].strip() == key)
    except (OSError, StopIteration):
        return ""
