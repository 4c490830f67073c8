"""Environments that fail, told by their number. Nothing of PyTorch is imported here: workers import this."""

from typing import Any, SupportsFloat

import gymnasium as gym


class EnvironmentFault(RuntimeError):
    """An environment raised, hung or died. The message is one line that names it; notes have the traceback."""


def fault_of(number: int | None, kind: str, message: str) -> EnvironmentFault:
    """What an environment raised, as its fault.

    Args:
        number: which one; None where that isn't known.
        kind: name of the exception's type.
        message: of the exception.
    """
    where = "" if number is None else f"environment {number}: "
    return EnvironmentFault(f"{where}{kind}: {' '.join(message.split())}")


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
        try:
            return self.env.reset(seed=seed, options=options)
        except Exception as error:
            raise fault_of(self._number, type(error).__name__, str(error)) from error

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """The environment's own step."""
        try:
            return self.env.step(action)
        except Exception as error:
            raise fault_of(self._number, type(error).__name__, str(error)) from error
