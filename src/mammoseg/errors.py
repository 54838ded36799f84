"""The exceptions that are the user's business."""


class UserError(Exception):
    """An error that the user can fix. The message is one sentence: what is wrong, where, and what to do.

    `mammoseg.cli.command` prints it without a traceback and exits with status 2.
    """


class RunConflictError(UserError):
    """A folder holds a run with other settings.

    Args:
        message: The sentence, without the advice.
        key: The setting that differs.
        previous: Its value in the folder.
        current: Its value in this run.
    """

    def __init__(self, message: str, key: str, previous: object = None, current: object = None) -> None:
        super().__init__(
            f"{message}; choose another folder (hydra.sweep.dir=..., or hydra.run.dir=... for a single run), "
            "or remove this one"
        )
        self.key = key
        self.previous = previous
        self.current = current


class ImageReadError(Exception):
    """An image cannot be used. The message is a short reason, without the path and without header text.

    `prepare` collects them in a table of rejected cases; `dataset.on_error` decides whether it continues.
    """
