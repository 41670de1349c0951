"""The two kinds of errors: those that the user can fix, and failures of the machine."""

from __future__ import annotations


class LimRankError(Exception):
    """The base class of all errors of this package. The message is one line: what is wrong, where, and what to do.

    It is never raised itself: every error is an `InputError` or an `EngineError`.
    """


class InputError(LimRankError):
    """Bad input, a wrong option, or something missing: the user can fix it.

    The command line exits with status 2; the server answers with status 400.
    """


class EngineError(LimRankError):
    """A failure of the machine: no memory, a full disk, a locked store, a model that yields NaN, a server that is down.

    The same request may succeed later or on another machine. The command line exits with status 1; the server answers
    with status 503 and ``Retry-After``.
    """
