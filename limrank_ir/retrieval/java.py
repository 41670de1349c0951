"""Java, which Pyserini starts inside this process."""

from __future__ import annotations


def leave_ctrl_c_to_python() -> None:
    """Keep Java from ending this process at Ctrl-C, in the middle of reranking. Call it before Pyserini is imported.

    Without it, a run that is interrupted cannot say what is saved. It has no effect if Java runs already.

    Raises:
        ImportError: pyjnius, which comes with Pyserini, is not installed.
    """
    import jnius_config

    if not jnius_config.vm_running:
        jnius_config.add_options("-Xrs")
