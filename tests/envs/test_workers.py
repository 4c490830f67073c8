"""Environments in worker processes, against Stable-Baselines3's `DummyVecEnv`."""

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from envs.faults import EnvironmentFault
from envs.workers.episodes import EpisodeStatistics, make_monitored
from envs.workers.vec_env import WorkerVecEnv, divided, shares
from tests.envs.worker_envs import DictEnv, EchoEnv, FaultyEnv

S7 = partial(make_monitored, "MiniGrid-MemoryS7-v0", max_steps=12)
Make = Callable[..., WorkerVecEnv]


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes a `WorkerVecEnv` and closes it after the test."""
    made: list[WorkerVecEnv] = []

    def maker(*args: Any, **kwargs: Any) -> WorkerVecEnv:
        made.append(WorkerVecEnv(*args, **kwargs))
        return made[-1]

    yield maker
    for env in made:
        env.close()


def _plain(value: Any) -> Any:
    """Infos without the clock's reading, arrays as lists, so that `==` compares them."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items() if key != "t"}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _assert_equal(ours: Any, theirs: Any) -> None:
    if isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        for key in theirs:
            _assert_equal(ours[key], theirs[key])
    else:
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def _lockstep(ours: WorkerVecEnv, theirs: VecEnv, steps: int) -> int:
    """Steps both with the same random actions; how many episodes ended."""
    ours.action_space.seed(0)
    ended = 0
    for _ in range(steps):
        actions = np.stack([ours.action_space.sample() for _ in range(ours.num_envs)])
        (observations, *rest, infos), (their_observations, *their_rest, their_infos) = (
            ours.step(actions),
            theirs.step(actions),
        )
        _assert_equal(observations, their_observations)
        for mine, other in zip(rest, their_rest, strict=True):
            _assert_equal(mine, other)
        assert _plain(infos) == _plain(their_infos)
        assert _plain(ours.reset_infos) == _plain(theirs.reset_infos)
        ended += int(rest[1].sum())
    return ended


@pytest.mark.parametrize(("env_fn", "reference"), [(S7, lambda: Monitor(S7().env)), (DictEnv, DictEnv)])
def test_same_steps_as_dummy_vec_env(make: Make, env_fn: Any, reference: Any) -> None:
    """Catches: results of the wrong environment, an observation of the old episode, infos that are lost or added,
    statistics that differ from Monitor's."""
    ours, theirs = make([env_fn] * 7, n_workers=2, n_groups=3), DummyVecEnv([reference] * 7)
    for options in ({}, {"level": 3}):
        for env in (ours, theirs):
            assert env.seed(5) == [5, 6, 7, 8, 9, 10, 11]
            env.set_options(options)
        _assert_equal(ours.reset(), theirs.reset())
        assert _plain(ours.reset_infos) == _plain(theirs.reset_infos)
        assert _lockstep(ours, theirs, 150) > 20


def test_groups_step_by_themselves(make: Make) -> None:
    """Catches: a group whose step waits for another's, answers given to the wrong group, a late copy."""
    ours, theirs = make([S7] * 5, n_workers=3, n_groups=2), DummyVecEnv([S7] * 5)
    assert ours.group_slices == [slice(0, 3), slice(3, 5)]
    for env in (ours, theirs):
        env.seed(1)
    first = ours.reset()
    _assert_equal(first, theirs.reset())
    actions = np.random.default_rng(0).integers(3, size=(100, 5))
    expected: list[Any] = [theirs.step(row) for row in actions]
    kept: list[tuple[Any, Any]] = []
    ours.send(0, actions[0][:3])
    for t in range(100):
        ours.send(1, actions[t][3:])
        # Out of order every other step: the answer of the other group comes first.
        received: dict[int, Any] = {}
        for group in (0, 1) if t % 2 else (1, 0):
            received[group] = ours.receive(group)
            if group == 0 and t < 99:
                ours.send(0, actions[t + 1][:3])
        for group, rows in enumerate(ours.group_slices):
            observations, rewards, dones, infos = received[group]
            kept.append((observations, expected[t][0][rows]))
            _assert_equal(rewards, expected[t][1][rows])
            _assert_equal(dones, expected[t][2][rows])
            assert _plain(infos) == _plain(expected[t][3][rows])
    for observations, their_observations in kept:
        _assert_equal(observations, their_observations)


def test_sends_and_receives_alternate(make: Make) -> None:
    """Catches: a step asked for twice, or waited for though it was never asked for, which would hang."""
    env = make([FaultyEnv] * 2, n_workers=1)
    env.reset()
    with pytest.raises(RuntimeError, match=r"receive\(0\) without send"):
        env.receive(0)
    env.send(0, np.array([0]))
    with pytest.raises(RuntimeError, match=r"send\(0\) again"):
        env.send(0, np.array([0]))
    env.reset()
    assert env.step(np.array([0, 1]))[1].tolist() == [0, 0]


def test_wrong_actions_are_refused(make: Make) -> None:
    """Catches: actions broadcast or rounded without a word."""
    env = make([FaultyEnv] * 3, n_workers=1)
    env.reset()
    for actions, words in (
        (np.zeros(2, np.int64), "3 actions, not 2"),
        (np.zeros((3, 1), np.int64), r"shape \(2,\), not \(2, 1\)"),
        (np.zeros(3), "must be int64, not float64"),
    ):
        with pytest.raises(ValueError, match=words):
            env.step(actions)
    assert env.step(np.zeros(3, np.int32))[2].tolist() == [False] * 3


@pytest.mark.parametrize(
    "space",
    [
        spaces.MultiBinary(3),
        spaces.MultiDiscrete([2, 3], np.uint8),
        spaces.Discrete(3, dtype=np.int32),
        spaces.Box(0, 1, (2,)),
    ],
    ids=lambda space: type(space).__name__,
)
def test_actions_as_an_agent_gives_them(make: Make, space: gym.Space[Any]) -> None:
    """Catches: actions of Stable-Baselines3's PPO that are refused here and taken by its own vectors."""
    envs: list[Callable[[], gym.Env[Any, Any]]] = [partial(EchoEnv, space)] * 3
    ours, theirs = make(envs, n_workers=1), DummyVecEnv(envs)
    agent = PPO("MlpPolicy", theirs, n_steps=2, batch_size=2, seed=0, device="cpu")
    for env in (ours, theirs):
        agent.set_env(env)
        agent.learn(6)
    drawn = agent.policy.forward(torch.zeros(3, 1))[0].detach().numpy()
    for env in (ours, theirs):
        env.reset()
    np.testing.assert_array_equal(ours.step(drawn)[1], theirs.step(drawn)[1])


@pytest.mark.parametrize(
    ("space", "actions"),
    [
        (spaces.MultiBinary(3), np.full((2, 3), 0.5, np.float32)),
        (spaces.MultiBinary(3), np.full((2, 3), 256)),
        (spaces.Discrete(3, dtype=np.uint8), np.array([256, 0])),
        # A Box of whole numbers: fractions would be lost, and whole ones come as they are.
        (spaces.Box(0, 5, (2,), np.int64), np.full((2, 2), 0.5, np.float32)),
    ],
)
def test_actions_that_would_be_others_are_refused(make: Make, space: gym.Space[Any], actions: np.ndarray) -> None:
    """Catches: fractions cut off, or numbers that wrap around, on the way to a worker."""
    env = make([partial(EchoEnv, space)] * 2, n_workers=1)
    env.reset()
    with pytest.raises(ValueError, match=f"^actions must be {space.dtype}, not {actions.dtype}$"):
        env.step(actions)
    whole = np.ones_like(env.action_space.sample())[None].repeat(2, axis=0)
    assert env.step(whole)[1].tolist() == [whole[0].sum()] * 2


def test_attributes_methods_wrappers(make: Make) -> None:
    """Catches: attributes of the wrong environment, in the wrong order, or an error that ends the workers."""
    env = make([partial(_wrapped, i) for i in range(5)], n_workers=2)
    assert env.get_attr("name") == [0, 1, 2, 3, 4]
    assert env.get_attr("name", [3, 0]) == [3, 0]
    assert env.get_attr("name", 4) == [4]
    env.set_attr("name", "new", indices=[1])
    assert env.get_attr("name", range(3)) == [0, "new", 2]
    assert env.env_method("add", 10, indices=[2, 4], b=1) == [13, 15]
    assert env.has_attr("name")
    assert not env.has_attr("nothing")
    with pytest.raises(AttributeError, match=r"environment 0: .*nothing"):
        env.get_attr("nothing")
    with pytest.raises(RuntimeError, match="can't be sent to another process"):
        env.env_method("unpicklable")
    assert env.env_is_wrapped(EpisodeStatistics) == env.env_is_wrapped(Monitor) == [True] * 5
    assert env.env_is_wrapped(gym.Wrapper, [0]) == [True]
    assert env.env_is_wrapped(gym.wrappers.TimeLimit) == [False] * 5
    assert env.render_mode is None


class _Named(gym.Wrapper[Any, Any, Any, Any]):
    name: Any = None

    def add(self, a: int, b: int) -> int:
        return int(self.name + a + b)


def _wrapped(name: int) -> gym.Env[Any, Any]:
    env = _Named(EpisodeStatistics(DictEnv()))
    env.name = name
    return env


@pytest.mark.parametrize("fault", ["step", "reset", "make"])
def test_an_error_names_its_environment(make: Make, fault: str) -> None:
    """Catches: a hang, or an error without the index or without the place where it was raised."""
    messages = {"step": "KeyError: 'a door too many'", "reset": "no level", "make": "OSError: no such level"}
    with pytest.raises(RuntimeError, match=f"(?s)environment 2: .*{messages[fault]}.*worker_envs.py") as caught:
        _step_twice(make([FaultyEnv, FaultyEnv, partial(FaultyEnv, fault), FaultyEnv], n_workers=2))
    assert "environment 2" in str(caught.value).splitlines()[0]


def _step_twice(env: WorkerVecEnv) -> None:
    env.reset()
    for _ in range(2):
        env.step(np.zeros(env.num_envs, np.int64))


@pytest.mark.parametrize("fault", ["die", "die, a child holds the pipe"])
def test_a_killed_worker_is_an_error(make: Make, fault: str) -> None:
    """Catches: waiting for ever for a worker that is gone, or for its siblings at the end."""
    env = make([FaultyEnv, partial(FaultyEnv, fault)], n_workers=2)
    with pytest.raises(RuntimeError, match=r"the worker of environments 1 was killed by SIGKILL.*, in environment 1$"):
        _step_twice(env)
    with pytest.raises(RuntimeError, match="the workers have ended"):
        env.step(np.zeros(2, np.int64))


def test_a_worker_killed_between_steps_is_an_error(make: Make) -> None:
    """Catches: a broken pipe instead of a message."""
    env = make([FaultyEnv] * 2, n_workers=1)
    env.reset()
    os.kill(env.env_method("process")[0], signal.SIGKILL)
    with pytest.raises(RuntimeError, match="the worker of environments 0, 1 was killed by SIGKILL"):
        _step_twice(env)


@pytest.mark.parametrize(
    ("fault", "at"), [("hang", "step"), ("hang, in reset", "reset"), ("hang, when made", "construction")]
)
def test_a_hang_ends(make: Make, fault: str, at: str) -> None:
    """Catches: waiting for ever for an environment that never answers, an error that doesn't name it."""
    fns = [FaultyEnv, FaultyEnv, partial(FaultyEnv, fault), FaultyEnv]
    with pytest.raises(EnvironmentFault, match=f"environment 2 hangs: it has been at its {at} for more than 0.5 s"):
        _step_twice(make(fns, n_workers=2, start_method="fork", step_timeout=0.5))


def test_slow_environments_are_waited_for(make: Make) -> None:
    """Catches: a time limit for all environments of a worker together, which many slow ones pass."""
    env = make([partial(FaultyEnv, "slow")] * 4, n_workers=1, n_groups=1, start_method="fork", step_timeout=1.0)
    env.reset()
    assert env.step(np.zeros(4, np.int64))[1].tolist() == [0] * 4


def _alive(process: int) -> bool:
    """Whether a process runs; a zombie doesn't."""
    stat = Path(f"/proc/{process}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def _assert_all_end(processes: list[int]) -> None:
    deadline = time.monotonic() + 120
    while any(map(_alive, processes)):
        assert time.monotonic() < deadline, "workers are left behind"
        time.sleep(0.05)


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up in /proc")


@needs_proc
@pytest.mark.parametrize("start_method", ["forkserver", "fork"])
def test_close_ends_every_worker(make: Make, start_method: str) -> None:
    """Catches: processes left behind by close, by garbage collection, or after a close during a step."""
    env = make([FaultyEnv] * 3, n_workers=3, start_method=start_method)
    processes = env.env_method("process")
    assert len(set(processes)) == 3
    env.reset()
    env.step_async(np.zeros(3, np.int64))
    env.close()
    env.close()
    _assert_all_end(processes)
    forgotten = WorkerVecEnv([FaultyEnv] * 2, 2, start_method=start_method)
    processes = forgotten.env_method("process")
    del forgotten
    gc.collect()
    _assert_all_end(processes)


_SCRIPT = """
import os, signal, sys, time
import numpy as np
from functools import partial
from envs.workers.vec_env import WorkerVecEnv
from tests.envs.worker_envs import FaultyEnv

if __name__ == "__main__":
    env = WorkerVecEnv([partial(FaultyEnv, "hang")] * 2, 2)
    env.reset()
    print(*env.env_method("process"), *{name for names in env.env_method("modules") for name in names}, flush=True)
    if sys.argv[1] in ("SIGINT", "SIGKILL, while one hangs"):
        env.step(np.zeros(2, np.int64))
    if sys.argv[1] == "SIGKILL":
        time.sleep(3600)
"""


@needs_proc
@pytest.mark.parametrize("end", ["return", "SIGINT", "SIGKILL", "SIGKILL, while one hangs"])
def test_workers_end_with_their_parent(tmp_path: Path, end: str) -> None:
    """Catches: workers that outlive a parent that returned without close, was interrupted or killed; tracebacks of
    theirs after Ctrl-C; PyTorch in a worker, though nothing there needs it."""
    script = tmp_path / "script.py"
    script.write_text(
        _SCRIPT.replace("from envs.workers.vec_env", "if __name__ == '__main__': from envs.workers.vec_env")
    )
    parent = subprocess.Popen(
        [sys.executable, script, end],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert parent.stdout is not None
    words = parent.stdout.readline().split()
    assert len(words) == 2, words
    if end != "return":
        time.sleep(0.5)
        # As a terminal does: to the whole group.
        os.killpg(parent.pid, signal.SIGINT) if end == "SIGINT" else os.kill(parent.pid, signal.SIGKILL)
    _, errors = parent.communicate(timeout=200)
    assert errors.count("Traceback") == (1 if end == "SIGINT" else 0), errors
    _assert_all_end([int(word) for word in words])


def test_wrong_arguments_are_refused() -> None:
    """Catches: a message of the standard library about something inside."""
    for arguments, words in (
        (([],), "at least one environment"),
        (([FaultyEnv], 0), "n_workers must be at least 1, not 0"),
        (([FaultyEnv], 1, 0), "n_groups must be between 1 and 254, not 0"),
        (([FaultyEnv], 1, 2, None, 0), "step_timeout must be a number of seconds above 0, not 0"),
        (([FaultyEnv, partial(FaultyEnv, discrete=4)], 1), "environment 1 has other spaces than environment 0"),
        (([_TextEnv],), "Text observations can't be shared between processes, only Box"),
    ):
        with pytest.raises(ValueError, match=words) as caught:
            WorkerVecEnv(*arguments)
        assert "\n" not in str(caught.value)


class _TextEnv(FaultyEnv):
    def __init__(self) -> None:
        super().__init__()
        self.observation_space = spaces.Text(3)  # type: ignore[assignment]


def test_environments_are_divided_evenly() -> None:
    """Catches: an environment twice or nowhere, a worker with much more than another, or one with nothing to do."""
    for n_envs, n_groups, n_workers in ((512, 2, 16), (7, 3, 2), (4, 2, 4), (1, 1, 1), (10, 3, 7)):
        workers = divided(shares(range(n_envs), n_groups), n_workers)
        assert sorted(i for own in workers for part in own for i in part) == list(range(n_envs))
        totals = [sum(map(len, own)) for own in workers]
        assert max(totals) - min(totals) <= 1
        assert min(totals) > 0
        assert all(len(own) == n_groups for own in workers)
