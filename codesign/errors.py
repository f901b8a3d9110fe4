"""The errors a command turns into one line and an exit code."""


class UserError(Exception):
    """Something the user gave is wrong: the message says what, where, and what to do.

    Commands print the message on one line, without a traceback, and exit with code 2.
    """


class RunError(Exception):
    """A run could not be completed for a reason that is not the user's input.

    Commands print the message on one line and exit with code 1.
    """
