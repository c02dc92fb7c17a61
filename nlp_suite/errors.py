"""The one exception for what a user can put right."""

from __future__ import annotations


class UserError(ValueError):
    """Something the user gave cannot be used: a flag, a file, a configuration.

    The command line prints its message as one line and exits with code 2. The message names the
    argument in backticks, what was expected, what was received, and the next step.

    Example:
        >>> raise UserError("`epochs` must be positive. Received: epochs=0. Pass --epochs 1.")
        Traceback (most recent call last):
        ...
        nlp_suite.errors.UserError: `epochs` must be positive. Received: epochs=0. Pass --epochs 1.
    """


class TryAgainError(UserError):
    """What the user gave is right, and may work at another time: a process was in the way, or died.

    Example:
        >>> issubclass(TryAgainError, UserError)
        True
    """
