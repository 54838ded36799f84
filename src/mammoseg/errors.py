"""The one exception that is the user's business."""


class UserError(Exception):
    """A mistake the user can mend. The message is one sentence: what is wrong, where, and what to do.

    `mammoseg.cli.command` prints it without a traceback and exits with status 2.
    """


class OccupiedError(UserError):
    """A folder holds the run of something else, which must stay as it is."""


class UnreadableImage(Exception):  # noqa: N818 - it says what is wrong, as the standard StopIteration does
    """One image cannot be used. The message says why in a few words, without path and without header text.

    `prepare` collects these into one table; `dataset.on_bad` decides whether it goes on.
    """
