"""The one exception that is the user's business."""


class UserError(Exception):
    """A mistake the user can mend. The message is one sentence: what is wrong, where, and what to do.

    `mammoseg.cli.command` prints it without a traceback and exits with status 2.
    """


class OccupiedError(UserError):
    """A folder holds the run of something else, which must stay as it is."""


class ImageReadError(Exception):
    """An image cannot be used. The message is a short reason, without the path and without header text.

    `prepare` collects them in a table of rejected cases; `dataset.on_bad` decides whether it continues.
    """
