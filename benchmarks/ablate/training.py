"""Train a point by ``limrank train``, in a process of its own with a log; it resumes from its own checkpoints."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limrank_ir.errors import EngineError, InputError
from limrank_ir.workshop.settings import read_yaml

from .config import AblateConfig, sources

POLL = 1.0  # seconds between two looks at a training
ADAPTER = "adapter"  # the folder that `limrank train` writes into its output
_STEP = re.compile(r"(\d+)/(\d+) \[")  # of Trainer's progress bar


@dataclass(frozen=True)
class Training:
    """One training: a point's settings with one seed.

    Attributes:
        config: the training configuration's file.
        data: the folder of the sources, or None.
        changes: what differs from the file, as ``limrank train --set``.
        seed: the seed.
        key: a hash of everything that changes the adapter: the configuration, the changes, the rows, and the seed.
            Points with the same training share its adapter.
    """

    config: Path
    data: Path | None
    changes: tuple[str, ...]
    seed: int
    key: str

    def arguments(self, output: Path) -> list[str]:
        """The command's arguments, after ``limrank``."""
        data = [] if self.data is None else ["--data", str(self.data)]
        changes = [part for change in (*self.changes, f"seed={self.seed}") for part in ("--set", change)]
        return ["train", str(self.config), *data, "--output", str(output), *changes]


def base_settings(config: AblateConfig) -> dict[str, Any]:
    """The settings of the training configuration, as they are in its file.

    Args:
        config: the ablation.

    Returns:
        The content of the file.

    Raises:
        InputError: it cannot be read, or has no model or sources.
    """
    base = read_yaml(config.train)
    if not isinstance(base, dict) or not isinstance(base.get("model"), str) or not isinstance(base.get("data"), dict):
        raise InputError(f"{config.train}: not a configuration of limrank train; it must have model and data")
    if not isinstance(base["data"].get("sources"), list) or not all(
        isinstance(s, dict) for s in base["data"]["sources"]
    ):
        raise InputError(f"{config.train}: data.sources is not a list of sources; see limrank train")
    return base


def training(config: AblateConfig, base: Mapping[str, Any], name: str, seed: int) -> Training:
    """How a point is trained with a seed.

    Args:
        config: the ablation.
        base: what `base_settings` returned.
        name: a point that is trained.
        seed: one of the seeds.

    Returns:
        The training.

    Raises:
        InputError: its sources are wrong, or a file of rows is missing.
    """
    chosen = sources(config, name, base["data"]["sources"])
    settings = {**config.set, **config.points[name].set}
    changes = [
        f"data.sources={json.dumps(chosen)}",
        *(f"{each}={json.dumps(value)}" for each, value in settings.items()),
    ]
    folder = config.train.parent
    rows = config.data or folder / base["data"].get("folder", ".")
    content = hashlib.sha256(json.dumps([base, changes, seed], sort_keys=True).encode())
    for source in chosen:
        file = (folder / source["folder"] if source.get("folder") else rows) / str(source.get("path"))
        try:
            content.update(hashlib.sha256(file.read_bytes()).digest())
        except OSError as error:
            raise InputError(
                f"points.{name}: {file}: cannot be read ({error.strerror}); give another --data"
            ) from error
    return Training(config.train, config.data, tuple(changes), seed, content.hexdigest()[:12])


def planned_steps(plan: Training, folder: Path) -> int:
    """Check a training with ``limrank train --dry-run``, which loads no weights.

    Args:
        plan: the training.
        folder: a folder without an earlier run.

    Returns:
        The number of steps.

    Raises:
        InputError: its settings or rows are wrong; the message is that of ``limrank train``.
    """
    command = [sys.executable, "-m", "limrank_ir", *plan.arguments(folder), "--dry-run"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"^steps\t([\d,]+)$", done.stdout, re.MULTILINE)
    if done.returncode or found is None:
        raise InputError(_last_line(done.stderr))
    return int(found[1].replace(",", ""))


def run_training(plan: Training, steps: int, output: Path, advance: Callable[[int], None]) -> None:
    """Train, or continue a training that was stopped.

    Args:
        plan: the training.
        steps: what `planned_steps` returned.
        output: its folder. The log is beside it: the folder's name with ``.log``.
        advance: called with the number of steps done since the last call.

    Raises:
        EngineError: it failed; the message has the log's path.
    """
    log = output.with_name(f"{output.name}.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "limrank_ir", *plan.arguments(output)]
    seen = 0
    with log.open("a", encoding="utf-8") as file, _terminable():
        began = file.tell()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT)
        try:
            while process.poll() is None:
                time.sleep(POLL)
                step = _step(log, began, steps)
                advance(max(0, step - seen))
                seen = max(seen, step)
        finally:
            if process.poll() is None:  # Ctrl-C, which the training gets, too, or SIGTERM, which it does not
                process.terminate()
                process.wait()
    if process.returncode or not (output / ADAPTER).is_dir():
        with log.open(encoding="utf-8", errors="replace") as text:
            text.seek(began)
            raise EngineError(f"{log}: the training failed ({_last_line(text.read())}); see this log")


@contextmanager
def _terminable() -> Iterator[None]:
    """Stop as by Ctrl-C on SIGTERM, too: otherwise a killed ablation would leave its training behind, running."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # only there can signals be handled
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _step(log: Path, began: int, steps: int) -> int:
    """The step that Trainer's progress bar at the end of a log shows, or 0; other bars have other totals."""
    with log.open("rb") as file:
        end = file.seek(0, 2)
        file.seek(max(began, end - 2000))
        found = _STEP.findall(file.read().decode(errors="replace"))
    done = [int(step) for step, total in found if int(total) == steps]
    return done[-1] if done else 0


def _last_line(text: str) -> str:
    """The last line that says something, without the command's name before an error."""
    lines = [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]
    return lines[-1].removeprefix("limrank: ")[:500] if lines else "no output"
