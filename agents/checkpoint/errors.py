"""What goes wrong with a checkpoint, told in one line."""


class CheckpointError(ValueError):
    """A checkpoint can't be written or read. The message is one line: what was wrong, what would be right."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class DamagedError(CheckpointError):
    """What a file holds can't have been written so. Who knows the file adds its name, and what to do."""


def shown(value: object, limit: int = 80) -> str:
    """A value as an error names it: plain ASCII, quoted if a string, of bounded length, whatever a file said."""
    text = ascii(value if not isinstance(value, str) else value[: limit + 1])
    return text if len(text) <= limit else f"{text[:limit]}..."
