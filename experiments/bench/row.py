"""One row, measured in this process: `python -m experiments.bench.row` reads a job and prints the row, as JSON.

It belongs to `expire-span bench`, which starts it, so that no row has another's memory or compiled code.
"""

import json
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from statistics import median
from typing import Any

import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from agents import ExpireSpanPPO
from agents.captured import Machinery, captured
from agents.collection import Timings
from envs.batched import BatchedVecEnv
from experiments.bench.build import build_agent
from experiments.bench.clock import OutsideClock, Span, Stopwatch, TimedVecEnv, now
from experiments.bench.memory import MIB, peak_memory_mib
from experiments.bench.replay import ActionRecorder, seconds_alone
from experiments.bench.rows import ROWS, Row, threads, train_config
from experiments.config import BenchConfig
from experiments.environments import training_envs
from experiments.errors import UserError, one_line
from experiments.runs import check_device

READY = "ready"
"""What the process prints when it waits for its turn."""
WARM_UP = {"expire-span": 2, "recurrent-ppo": 1, "ppo": 1}
"""Iterations before the measurement; ours may still compile in its second, on shapes and graphs of the first."""


def measure(key: str, config: BenchConfig, turns: int, wait: Callable[[], None]) -> dict[str, Any]:
    """Trains until enough was measured.

    Args:
        key: of the row.
        config: the settings.
        turns: parts of the time.
        wait: called before each; returns when it is this row's turn.

    Returns:
        Of a row: device, steps_per_second, the three shares of the time, env_alone_steps_per_second
        (the same steps without an agent; None for tensors), acting_ms (a step of all environments),
        peak_memory_mib, and what was counted.

    Raises:
        UserError: for settings that can't be.
        torch.OutOfMemoryError: if the device's memory is too small.
    """
    row = ROWS[key]
    device = check_device(config.device)
    torch.set_num_threads(threads(config))
    # Batched ones step where the agent computes; RecurrentPPO gets NumPy's arrays from them either way.
    make_envs = partial(training_envs, train_config(config, row).env, config.seed, device)
    recorder = ActionRecorder()
    with closing(make_envs()) as vec_env:
        is_tensors = isinstance(vec_env, BatchedVecEnv) and row.agent == "expire-span"
        span = _span(row, config, vec_env, device, [] if is_tensors else [recorder], turns, wait)
        peak, timings, alone = peak_memory_mib(device), span.timings, None
        if isinstance(vec_env, BatchedVecEnv) and is_tensors:
            env_seconds = seconds_a_step(vec_env, config, device) * span.steps / config.n_envs
            timings = with_env_share(timings, env_seconds)
    if not is_tensors:
        count = span.steps // config.n_envs
        first = span.first_step // config.n_envs
        with closing(make_envs()) as vec_env:
            alone = span.steps / seconds_alone(vec_env, recorder.actions[: first + count], first)
    return {
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "torch_threads": torch.get_num_threads(),
        "steps_per_second": round(median(span.speeds), 1),
        "turns": [round(speed, 1) for speed in span.speeds],
        "acting_share": round(timings.acting / span.seconds, 4),
        "env_share": round(timings.env / span.seconds, 4),
        "update_share": round(timings.update / span.seconds, 4),
        "env_alone_steps_per_second": None if alone is None else round(alone, 1),
        "acting_ms": round(1000 * timings.acting * config.n_envs / span.steps, 4),
        "peak_memory_mib": round(peak, 1),
        "steps": span.steps,
        "seconds": round(span.seconds, 2),
        "warm_up_seconds": round(span.warm_up_seconds, 2),
        "unevenness": round(span.unevenness, 2),
    }


def _span(
    row: Row,
    config: BenchConfig,
    vec_env: VecEnv,
    device: torch.device,
    callbacks: list[BaseCallback],
    turns: int,
    wait: Callable[[], None],
) -> Span:
    """Trains an agent until the stopwatch stops it."""
    model = build_agent(row, config, vec_env, device)
    if isinstance(model, ExpireSpanPPO):
        # It knows what it waits for.
        timings: Callable[[], Timings] = partial(getattr, model, "timings")
    else:
        timed = TimedVecEnv(vec_env)
        model.set_env(timed)
        clock = OutsideClock(timed, device)
        callbacks = [*callbacks, clock]
        timings, wait = clock.so_far, clock.unseen(wait)
    stopwatch = Stopwatch(config.seconds, WARM_UP[row.agent], device, timings, turns, wait)
    model.learn(10**15, callback=[*callbacks, stopwatch])
    assert stopwatch.span is not None, "nothing else ends the training"
    return stopwatch.span


def seconds_a_step(vec_env: BatchedVecEnv, config: BenchConfig, device: torch.device) -> float:
    """Seconds that one step of batched environments takes by itself, mean over a rollout's.

    In training they step together with the agent, on CUDA inside a captured graph, where no clock sees them.
    """
    env = vec_env.tensor_env
    actions = torch.randint(3, (env.n_envs,), device=device)
    env.reset()
    now(device)

    def step() -> None:
        env.step(actions)

    compiles = device.type == "cuda" if config.compile is None else config.compile
    run = captured(step, lambda: None, Machinery(device, compiles, captures=True))
    run()
    began = now(device)
    for _ in range(config.n_steps):
        run()
    return (now(device) - began) / config.n_steps


def with_env_share(timings: Timings, env: float) -> Timings:
    """The timings with at least `env` seconds for the environments; what is missing is taken off acting."""
    moved = min(max(0.0, env - timings.env), timings.acting)
    return Timings(timings.acting - moved, timings.env + moved, timings.update)


def answer(job: dict[str, Any]) -> dict[str, Any]:
    """What the process prints: the row as `measure` has it, or `error`, with `free_mib` where memory was short."""
    config = BenchConfig(**job["config"])
    free_mib = None
    try:
        device = check_device(config.device)
        if device.type == "cuda":
            free_mib = torch.cuda.mem_get_info(device)[0] / MIB
        return measure(job["key"], config, job["turns"], _wait)
    except Exception as error:
        # Whatever it is: the other rows go on.
        if for_want_of_memory(error):
            return {"error": f"{config.n_envs} environments don't fit into the device's memory", "free_mib": free_mib}
        return {"error": str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {one_line(error)}"}


def for_want_of_memory(error: BaseException | None) -> bool:
    """Whether an error is PyTorch's out-of-memory error, or came of one."""
    while error is not None and not isinstance(error, torch.OutOfMemoryError):
        error = error.__cause__ or error.__context__
    return error is not None


def _wait() -> None:
    """Says that it is ready, and waits for its turn: a line on standard input, or its end."""
    print("\n" + READY, flush=True)
    sys.stdin.readline()


def main() -> None:
    """Reads a job, a line of JSON, from standard input and prints the answer, one line, as the last one."""
    print("\n" + json.dumps(answer(json.loads(sys.stdin.readline()))), flush=True)


if __name__ == "__main__":
    main()
