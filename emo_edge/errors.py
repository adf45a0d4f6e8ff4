"""Errors that a user can act on, each with the exit code the command line ends with."""


class EmoEdgeError(Exception):
    """Base of every error that is the input's or the machine's fault, not the program's.

    The message names what is wrong and the next step; only the command line prints it.
    """

    exit_code = 1


class MissingExtraError(EmoEdgeError):
    """An optional dependency is not installed; the message holds the install command."""

    exit_code = 3


class InputError(EmoEdgeError):
    """An image, clip, folder or file given by the user cannot be used."""

    exit_code = 4


class TaskError(InputError):
    """A task cannot be asked so: it is unknown, refused or absent, or its answer, label or frames do not fit it.

    On the command line that is wrong usage.
    """

    exit_code = 2


class SkippedError(InputError):
    """An entry of a folder is no picture and was not read; a command that reads the others succeeds."""

    exit_code = 0


class CheckpointError(EmoEdgeError):
    """A checkpoint, or a model file made of one, is missing, incomplete, malformed or not finite."""

    exit_code = 5


class BundleError(CheckpointError):
    """A bundle is missing, incomplete, malformed, changed since it was written, or already there."""


class DeviceError(EmoEdgeError):
    """A named device is missing or out of memory."""

    exit_code = 6


class DeviceMemoryError(DeviceError):
    """The device has no memory left for what was asked; fewer rows at once may fit."""


class EngineError(DeviceError):
    """An engine takes a graph or a plan not; the bundle may be fine, and another variant or device may do."""


class UnsupportedCardError(DeviceError):
    """An installed library runs on other cards than this one, whatever the graph."""


class PipelineStateError(EmoEdgeError, RuntimeError):
    """A pipeline is used after it was closed, or in a process forked from the one that opened it."""


class AccuracyGateError(EmoEdgeError):
    """A measured accuracy is outside its gate."""

    exit_code = 7
