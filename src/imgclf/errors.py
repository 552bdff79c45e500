"""The one error that a user can mend."""


class InputError(ValueError):
    """Something the user gave (a file, a key, a value) cannot be used.

    The message names it and says what to do; the doors in scripts/ print the message without a traceback.
    """
