"""The one exception that users see for bad input and missing things."""

from __future__ import annotations


class LimRankError(Exception):
    """Bad input, or something that is missing: one line that says what, where and what to do.

    The command line prints it and exits with status 2; library users catch it by this name.
    """
