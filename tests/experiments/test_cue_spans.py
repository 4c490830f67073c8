"""How long cues live, as the pictures of the results show it."""

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from jaxtyping import Bool
from stable_baselines3.common.callbacks import CallbackList

from envs import CorridorEnv, make_env
from envs.cue import sees_cue
from experiments import pretrained, runs
from experiments.callbacks import OurCallback
from experiments.config import AgentConfig, CoreConfig, EnvConfig, TrainConfig
from experiments.environments import training_envs
from experiments.model import build_model
from experiments.results.cue_spans import LogsSpansOfCue, has_cue, spans_of_cue

CORRIDOR = EnvConfig(
    env_id="ExpireSpan/Corridor-v0", env_args=("min_length=5", "max_length=5"), n_envs=1, vec_env="serial"
)


def test_where_a_cue_is_seen() -> None:
    """Catches: a cue that is taken for seen behind the agent's back, or a target that is taken for the cue."""
    left, forward = 0, 2
    corridor = make_env("ExpireSpan/Corridor-v0", min_length=5, max_length=5)
    corridor.reset(seed=0)
    seen = [sees_cue(corridor)]
    for action in (forward, left, left, forward, left):
        corridor.step(action)
        seen.append(sees_cue(corridor))
    # At the start, beside it; past it, east, north and west; back at the start, west and then south.
    assert seen == [True, False, True, True, True, False]

    memory = make_env("MiniGrid-MemoryS9-v0", agent_view_size=3)
    memory.reset(seed=0)
    base = memory.unwrapped
    for place, direction, sees in (((1, 4), 3, True), ((1, 4), 1, False), ((6, 4), 0, False), ((6, 3), 3, False)):
        base.agent_pos, base.agent_dir = np.array(place), direction  # type: ignore[attr-defined]
        assert sees_cue(memory) == sees, (place, direction)

    assert sees_cue(make_env("ExpireSpan/CartPoleNoVelocity-v0")) is None
    # A level laid differently.
    base.grid.set(1, 3, None)  # type: ignore[attr-defined]
    assert sees_cue(memory) is None
    assert not has_cue(EnvConfig(env_id="MiniGrid-KeyCorridorS3R1-v0"))
    assert has_cue(CORRIDOR)


def test_a_trained_agent_keeps_its_cue() -> None:
    """Catches: cues and others mixed up, or spans of something else than the states."""
    run = runs.load(Path(pretrained.folder("corridor-200")), "cpu")
    cue, others = spans_of_cue(run.model, run.config.env)
    assert cue is not None
    assert others is not None
    # The cue is in sight for the first two of some dozens of steps: counted with the others it would make them 15 more.
    assert cue > 200
    assert others < 15


class OnlyForward(CorridorEnv):
    """A corridor in which any turn is forbidden."""

    def action_masks(self) -> Bool[np.ndarray, " choices"]:
        """Forward alone may be chosen."""
        return np.array([False, False, True])

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """A step, forward."""
        assert int(action) == 2, "a forbidden action"
        return super().step(action)


gym.register("Test/OnlyForward-v0", OnlyForward)


def test_masks_hold_while_measuring() -> None:
    """Catches: a training that ends for an action which the measurement chose and the environment forbids."""
    env = dataclasses.replace(CORRIDOR, env_id="Test/OnlyForward-v0")
    config = TrainConfig(env=env, core=CoreConfig(dim=16, depth=1, slots=16, max_span=20, ramp_length=4))
    model = build_model(config, training_envs(env, 0, torch.device("cpu")), torch.device("cpu"))
    assert None not in spans_of_cue(model, env)


def test_when_it_is_measured() -> None:
    """Catches: measurements that come later and later, time of measuring that is counted as training's, and a value
    that is logged at the rollout of its measurement alone."""
    config = TrainConfig(
        env=CORRIDOR,
        core=CoreConfig(dim=16, depth=1, slots=16, max_span=20, ramp_length=4),
        agent=AgentConfig(n_steps=16, batch_size=16, n_epochs=1, learning_rate=0.0),
    )
    model = build_model(config, training_envs(CORRIDOR, 0, torch.device("cpu")), torch.device("cpu"))
    seen: list[tuple[int, float]] = []

    class Watch(OurCallback):
        def _on_rollout_end(self) -> None:
            seen.append((self.num_timesteps, self.logger.name_to_value["memory/span_of_others"]))
            began.append(self.model.start_time)

    began: list[float] = []
    logs = LogsSpansOfCue(CORRIDOR, 24)
    model.learn(96, callback=CallbackList([logs, Watch()]))
    assert [steps for steps, _ in seen] == [16, 32, 48, 64, 80, 96]
    assert all(span > 0 for _, span in seen)
    assert logs._next == 120
    # Measured at 16, 32 (due at 24), 48, 80 (due at 72) and 96, of which the first is over when it is first looked at.
    assert [later > sooner for sooner, later in itertools.pairwise(began)] == [True, True, False, True, True]


def test_measuring_changes_nothing() -> None:
    """Catches: random numbers that a measurement takes from the training; a core without spans that it fails with."""
    config = TrainConfig(
        env=CORRIDOR, core=CoreConfig(dim=16, depth=2, slots=16, max_span=20, ramp_length=4, initial_span=0.5)
    )
    for memory in ("expire-span", "lstm"):
        core = dataclasses.replace(config.core, memory=memory)
        model = build_model(
            dataclasses.replace(config, core=core), training_envs(CORRIDOR, 0, torch.device("cpu")), torch.device("cpu")
        )
        before = torch.get_rng_state()
        cue, others = spans_of_cue(model, CORRIDOR)
        assert torch.equal(torch.get_rng_state(), before)
        if memory == "lstm":
            assert (cue, others) == (None, None)
        else:
            # Spans begin near half of the longest.
            assert 5 < (cue or 0) < 15
            assert 5 < (others or 0) < 15
