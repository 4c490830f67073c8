"""A worker as the parent sees it: messages there, answers back, and an error where it died."""

import contextlib
import pickle
import select
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from typing import Any

from envs.faults import EnvironmentFault, fault_of
from envs.workers.process import CALL, NOWHERE, PATIENCE, Failure, pickled, run

_LIVENESS = 1.0
"""Seconds between two looks at whether a silent worker is alive; its death normally shows at once, in the pipe."""
_STARTING = 60.0
"""Seconds that a worker may at least be silent where it is at no environment: it starts then, and imports."""
_CALLED = {"make": "construction", "reset": "reset"}
"""What an environment is at during a call of a worker's method."""


class Handle:
    """Starts a worker.

    Args:
        context: Of multiprocessing.
        env_fns: As `process.run`.
        groups: As `process.run`.
        inherited: As `process.run`.
        timeout: Seconds that one environment may take for what it is asked.
    """

    def __init__(
        self,
        context: BaseContext,
        env_fns: bytes,
        groups: Sequence[range],
        inherited: Sequence[Connection],
        timeout: float,
    ) -> None:
        self.groups, self._timeout = groups, timeout
        self._at = context.RawValue("q", NOWHERE)
        self._called = ""
        self._answers: dict[int, deque[bytes]] = {channel: deque() for channel in (*range(len(groups)), CALL)}
        self._ready = False
        self.pipe, theirs = context.Pipe()
        self._message_within = _waiter(self.pipe)
        forked = context.get_start_method() == "fork"
        arguments = (theirs, env_fns, groups, [*inherited, self.pipe] if forked else [], self._at)
        # Daemons, so that none outlives its parent.
        self.process = context.Process(target=run, args=arguments, daemon=True)  # type: ignore[attr-defined]
        try:
            with _ctrl_c_blocked():
                self.process.start()
        finally:
            theirs.close()

    def step(self, group: int) -> None:
        """Ask for a step of this worker's environments of a group."""
        self._send(bytes([group]))

    def call(self, name: str, *arguments: Any) -> None:
        """Ask for a call of a method of `process.Worker`."""
        self._called = name
        self._send(pickled((name, arguments)))

    def receive(self, channel: int) -> Any:
        """Wait for the answer to a step of a group, or to a call (`CALL`); None where it is empty.

        Answers that come before it are kept for later. A `Failure` is returned like anything else.

        Raises:
            EnvironmentFault: If the worker has died, or one of its environments has taken longer than it may.
        """
        waiting = self._answers[channel]
        while not waiting:
            message = self._next(channel)
            self._answers[message[0]].append(message[1:])
        self._ready = True
        answer = waiting.popleft()
        return pickle.loads(answer) if answer else None

    def _send(self, message: bytes) -> None:
        try:
            self.pipe.send_bytes(message)
        except OSError:
            raise self._death() from None

    def _next(self, channel: int) -> bytes:
        # Counted in looks and not by a clock: who was suspended, or had another work to do, hasn't waited meanwhile.
        at, silent = self._at.value, 0.0
        try:
            while not self._message_within(look := min(_LIVENESS, self._timeout)):
                # The pipe stays open where an environment's own subprocess has inherited it.
                if not self.process.is_alive():
                    raise self._death()
                # Each environment has the whole time: a worker that has come to the next one isn't stuck.
                silent = silent + look if self._at.value == at else 0.0
                at = self._at.value
                limit = max(self._timeout, _STARTING) if at == NOWHERE else self._timeout
                if silent >= limit:
                    fault = self._stuck(channel, limit)
                    self.process.terminate()  # so that nobody waits for it to close its environments
                    raise fault
            return self.pipe.recv_bytes()
        except (EOFError, OSError):
            raise self._death() from None

    def _stuck(self, channel: int, limit: float) -> EnvironmentFault:
        at, long = self._at.value, f"for more than {limit:g} s (step_timeout)"
        if at == NOWHERE:
            return EnvironmentFault(f"the worker of environments {self._all()} hangs: it has been silent {long}")
        what = "step" if channel != CALL else _CALLED.get(self._called, "method")
        return EnvironmentFault(f"environment {at} hangs: it has been at its {what} {long}")

    def _death(self) -> EnvironmentFault:
        self.process.join(_LIVENESS)
        code = self.process.exitcode
        how = "died" if code is None else f"died with exit code {code}"
        if code is not None and code < 0:
            with contextlib.suppress(ValueError):
                how = f"was killed by {signal.Signals(-code).name}"
        if how.endswith("SIGKILL"):
            how += " (as the system does where memory runs out)"
        where = "" if self._at.value == NOWHERE else f", in environment {self._at.value}"
        hint = "" if self._ready else "; a script that starts workers must do so under `if __name__ == '__main__':`"
        return EnvironmentFault(f"the worker of environments {self._all()} {how}{where}{hint}")

    def _all(self) -> str:
        """The indices of its environments, for a message."""
        return _listed([i for group in self.groups for i in group])


def shut_down(handles: Sequence[Handle]) -> None:
    """End workers, by force where they don't by themselves."""
    for handle in handles:
        # It ends when it finds its pipe closed.
        handle.pipe.close()
    deadline = time.monotonic() + PATIENCE
    for handle in handles:
        process = handle.process
        if process.pid is None:
            continue
        process.join(max(0.0, deadline - time.monotonic()))
        for end in (process.terminate, process.kill):
            if process.is_alive():
                end()
                process.join(1.0)


def failed(failure: Failure) -> Exception:
    """A worker's exception, to be raised here: an AttributeError as such, any other as an `EnvironmentFault`."""
    error: Exception = fault_of(failure.env, failure.said)
    if failure.no_attribute:
        error = AttributeError(str(error))
    error.add_note(f"In the worker:\n{failure.trace}")
    return error


def _waiter(pipe: Connection) -> Callable[[float], Any]:
    """What waits so many seconds for a message in a pipe, and says whether there is one.

    As `pipe.poll`, which makes a selector anew at each call: ten times the time of the rest of receiving a step.
    """
    if not hasattr(select, "poll"):
        return pipe.poll
    poll = select.poll()
    poll.register(pipe.fileno(), select.POLLIN)
    return lambda seconds: poll.poll(1000 * seconds)


def _listed(indices: Sequence[int]) -> str:
    """`0, 1, 2`, or where there are many `0, 1, … 63`."""
    if len(indices) > 8:
        return f"{indices[0]}, {indices[1]}, … {indices[-1]}"
    return ", ".join(map(str, indices))


@contextlib.contextmanager
def _ctrl_c_blocked() -> Iterator[None]:
    """Processes started inside ignore Ctrl-C from their first moment; here it comes after the block."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
