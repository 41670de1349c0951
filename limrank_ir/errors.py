"""What goes wrong, in two kinds: what a user can mend, and what the machine did."""

from __future__ import annotations


class LimRankError(Exception):
    """What users of the library catch: one line that says what is wrong, where, and what to do.

    Never raised itself; every failure is one of the two kinds below.
    """


class InputError(LimRankError):
    """Bad input, a wrong option, or something that is missing: the user can mend it.

    The command line exits with status 2, the server answers 400.
    """


class EngineError(LimRankError):
    """The machine's failure: memory, disk, a locked store, a model that yields NaN, a server that is gone.

    The same request may succeed later or elsewhere. The command line exits with status 1, the server answers 503 with
    ``Retry-After``.
    """
