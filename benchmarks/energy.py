"""What a run took: time, and energy where the machine can tell."""

from __future__ import annotations

import json
import logging
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from limrank_ir.extras import install, installed

log = logging.getLogger("limrank_ir")

POLL_MS = 1000  # often enough for runs of minutes; counters of joules lose nothing in between


@dataclass
class Usage:
    """What a run took. It is complete when the block of `measured` has ended.

    Attributes:
        started: the date and time, in UTC.
        seconds: wall-clock time; of this call only, if a run was resumed.
        joules: part of the machine (``cpu``, ``ram``, ``gpu``) to energy. It is the whole machine's, so other programs
            that ran at the same time are in it.
        energy: ``measured by tirex-tracker VERSION``, or why it was not measured.
    """

    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    seconds: float = 0.0
    joules: dict[str, float] = field(default_factory=dict)
    energy: str = "not measured: the run has not ended"


@contextmanager
def measured() -> Iterator[Usage]:
    """Measure the time and the energy of a block.

    Energy comes from tirex-tracker (Hagen et al., SIGIR 2025) where it is installed: Intel's and AMD's counters, which
    Linux often shows to root only, and NVIDIA's. A machine without them is no error; nothing is estimated.

    Yields:
        The usage, which is filled in when the block ends, also with an error.

    Example:
        >>> with measured() as usage:
        ...     _ = sum(range(1000))
        >>> usage.seconds > 0
        True
    """
    usage = Usage()
    handle, usage.energy = _start()
    started = time.perf_counter()
    try:
        yield usage
    finally:
        usage.seconds = time.perf_counter() - started
        if handle is not None:
            usage.joules, usage.energy = _stop(handle)


def _start() -> tuple[Any, str]:
    """The tracker's handle; or None, and why there is none."""
    if not installed("tirex_tracker"):
        return None, f"not measured: tirex-tracker is not installed; run: {install('energy')}"
    handlers = {number: signal.getsignal(number) for number in _signals()}
    try:
        from tirex_tracker import start_tracking

        handle = start_tracking(_measures().values(), poll_intervall_ms=POLL_MS)
    except Exception as error:  # a library that is missing, a thread other than the main one
        return None, f"not measured: tirex-tracker failed ({' '.join(str(error).split())})"
    for number, handler in handlers.items():
        # The tracker would end the run by a signal if it had a problem. A run of hours is worth more than its energy.
        if signal.getsignal(number) is not handler:
            signal.signal(number, signal.SIG_IGN)
    return handle, ""


def _stop(handle: Any) -> tuple[dict[str, float], str]:
    """The joules of each part, and how they were measured or why they were not."""
    try:
        found = handle.stop()
    except Exception as error:
        return {}, f"not measured: tirex-tracker failed ({' '.join(str(error).split())})"
    joules = {part: value for part, measure in _measures().items() if (value := _number(found, measure)) is not None}
    if not joules:
        return {}, "not measured: this machine shows tirex-tracker no energy counters"
    from importlib.metadata import version

    return joules, f"measured by tirex-tracker {version('tirex-tracker')}"


def _measures() -> dict[str, Any]:
    """The tracker's measures. Others would make it write an archive of the checkout, among other things."""
    from tirex_tracker import Measure

    return {
        "cpu": Measure.CPU_ENERGY_SYSTEM_JOULES,
        "ram": Measure.RAM_ENERGY_SYSTEM_JOULES,
        "gpu": Measure.GPU_ENERGY_SYSTEM_JOULES,
    }


def _number(found: Mapping[Any, Any], measure: Any) -> float | None:
    """A measured value, or None if there is none."""
    if measure not in found:
        return None
    try:
        value = json.loads(found[measure].value)
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None


def _signals() -> list[int]:
    """The signals that the tracker may take."""
    return [getattr(signal, name) for name in ("SIGUSR1", "SIGUSR2") if hasattr(signal, name)]
