"""How long cues live, as the pictures of the results show it."""

import dataclasses
from pathlib import Path

import numpy as np
import torch

from envs import make_env
from envs.cue import sees_cue
from experiments import pretrained, runs
from experiments.config import CoreConfig, EnvConfig, TrainConfig
from experiments.environments import training_envs
from experiments.results.cue_spans import spans_of_cue
from experiments.train import build_model

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


def test_a_trained_agent_keeps_its_cue() -> None:
    """Catches: cues and others mixed up, or spans of something else than the states."""
    run = runs.load(Path(pretrained.folder("corridor-200")), "cpu")
    cue, others = spans_of_cue(run.model, run.config.env)
    assert cue is not None
    assert others is not None
    assert cue > 50 > others


def test_measuring_changes_nothing() -> None:
    """Catches: random numbers that a measurement takes from the training; a core without spans that it fails with."""
    config = TrainConfig(
        env=CORRIDOR, core=CoreConfig(dim=16, depth=2, slots=16, max_span=20, ramp_length=4, initial_span=0.5)
    )
    for memory in ("expiring", "lstm"):
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
