"""Environments that fail, told by their number. Nothing of PyTorch is imported here: workers import this."""

import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, SupportsFloat

import gymnasium as gym

FAULTS = (Exception, SystemExit)
"""What environments raise: `sys.exit()` in one isn't the user's wish to end the program."""


class EnvironmentFault(RuntimeError):
    """An environment raised, hung or died. The message is one line that names it; notes have the traceback."""


class Unfit(ValueError):
    """What an environment gave can't be used. The message says what it is, and what it must be."""


def told(error: BaseException) -> str:
    """What an environment raised, in one line: its type, its message, and where it was raised."""
    message = " ".join(str(error).split())
    if isinstance(error, Unfit):  # raised by us: the place isn't the user's
        return message
    said = f"{type(error).__name__}: {message}" if message else type(error).__name__
    for frame in traceback.extract_tb(error.__traceback__)[-1:]:
        said += f" ({frame.filename}, line {frame.lineno})"
    return said


def fault_of(number: int | None, said: str) -> EnvironmentFault:
    """What an environment raised, as its fault.

    Args:
        number: which one; None where that isn't known.
        said: what `told` said of it.
    """
    return EnvironmentFault(said if number is None else f"environment {number}: {said}")


def close(env: gym.Env[Any, Any], name: str) -> None:
    """Ends an environment. One that fails to is only warned of, by this name: what was done in it is done."""
    try:
        env.close()
    except FAULTS as error:
        warnings.warn(f"{name} can't be closed: {told(error)}", stacklevel=2)


@contextmanager
def numbered(number: int) -> Iterator[None]:
    """Within this block what an environment raises is raised as an `EnvironmentFault`, whose cause it is."""
    try:
        yield
    except FAULTS as error:
        raise fault_of(number, told(error)) from error


class NumberedFaults(gym.Wrapper[Any, Any, Any, Any]):
    """Raises what its environment raises as an `EnvironmentFault`, whose cause that is.

    Args:
        env: the environment.
        number: which of a vector's it is.
    """

    def __init__(self, env: gym.Env[Any, Any], number: int) -> None:
        super().__init__(env)
        self._number = number

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """The environment's own reset."""
        with numbered(self._number):
            return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """The environment's own step."""
        try:  # not `with`, which takes longer than some steps
            return self.env.step(action)
        except FAULTS as error:
            raise fault_of(self._number, told(error)) from error

    def get_wrapper_attr(self, name: str) -> Any:
        """An attribute; of the methods that agents act by, one that raises likewise."""
        found = super().get_wrapper_attr(name)
        return numbered(self._number)(found) if name == "action_masks" and callable(found) else found

    def render(self) -> Any:
        """The environment's own picture."""
        with numbered(self._number):
            return self.env.render()

    def close(self) -> None:
        """The environment's own end."""
        close(self.env, f"environment {self._number}")
