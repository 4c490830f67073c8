"""Exports policies, each with a trace of what it does: `python -m tests.agents.exporting FOLDER DEVICE CASE ...`.

A process of its own, since the tests' checks of shapes can't be traced.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.utils import obs_as_tensor
from torch import Tensor

from agents.export import export_step
from tests.agents.models import CORES, clock_model
from tests.agents.worlds import box

STEPS = 25
"""Longer than the memory has slots, and than most episodes."""

_IMAGE = spaces.Box(0, 255, (36, 36, 3), np.uint8)
_ANY = None

CASES: dict[str, tuple[dict[str, Any], int | None]] = {
    "expire-span": ({}, _ANY),
    "transformer-xl": ({"policy_kwargs": CORES["transformer-xl"]}, 1),
    "lstm": ({"policy_kwargs": CORES["lstm"]}, _ANY),
    "gru": ({"policy_kwargs": CORES["gru"]}, 3),
    "no-memory": ({"policy_kwargs": {"slots": 0, "depth": 1}}, _ANY),
    "multi-discrete": ({"action_space": spaces.MultiDiscrete([2, 3]), "policy_kwargs": CORES["gru"]}, _ANY),
    "multi-binary": ({"action_space": spaces.MultiBinary(3), "policy_kwargs": CORES["gru"]}, _ANY),
    "box": ({"action_space": box(2, 2), "policy_kwargs": CORES["gru"]}, _ANY),
    "squashed": (
        {
            "action_space": spaces.Box(-2, 5, (2,)),
            "use_sde": True,
            "policy_kwargs": CORES["gru"] | {"squash_output": True},
        },
        _ANY,
    ),
    "dict": (
        {
            "observation_space": spaces.Dict(place=box(2), cue=spaces.Discrete(3), view=_IMAGE),
            "policy": "MultiInputPolicy",
            "policy_kwargs": CORES["gru"],
        },
        _ANY,
    ),
    "codes": (
        {"observation_space": spaces.Box(0, 10, (3, 3, 3), np.uint8), "policy_kwargs": CORES["gru"]},
        _ANY,
    ),
}
"""Arguments of `clock_model`, and the environments that the program is for."""
RARE = ("gru", "box")
"""Cases that differ little from others: a recurrence from the LSTM's, a Gaussian from the squashed one."""


def trace(model: Any, n_envs: int) -> list[dict[str, Any]]:
    """Observations and episode starts, with what `predict` and the policy make of them, as tensors on the CPU."""
    space, policy = model.observation_space, model.policy
    space.seed(n_envs)
    random = np.random.default_rng(n_envs)
    state, steps = None, []
    for number in range(STEPS):
        samples = [space.sample() for _ in range(n_envs)]
        obs: Any = np.stack(samples) if not isinstance(space, spaces.Dict) else _stacked(samples)
        starts = random.random(n_envs) < (0.1 if number else 1)
        tensors, starting = obs_as_tensor(obs, model.device), torch.as_tensor(starts, device=model.device)
        with torch.no_grad():
            distribution: Any = policy.get_distribution(tensors, state, starting).distribution
            values = policy.predict_values(tensors, state, starting)[:, 0]
        actions, state = model.predict(obs, state, starts, deterministic=True)
        parts = distribution if isinstance(distribution, list) else [distribution]
        normal = isinstance(distribution, torch.distributions.Normal)
        numbers = distribution.mean if normal else torch.cat([part.logits for part in parts], dim=-1)
        steps.append(
            {
                "obs": {name: part.cpu() for name, part in tensors.items()}
                if isinstance(tensors, dict)
                else tensors.cpu(),
                "episode_starts": starting.cpu(),
                "actions": torch.as_tensor(actions),
                "mean" if normal else "logits": numbers.cpu(),
                "values": values.cpu(),
            }
        )
    return steps


def _stacked(samples: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.stack([sample[name] for sample in samples]) for name in samples[0]}


def main(folder: Path, device: str, *names: str) -> None:
    """Writes a program and its traces for each of these cases."""
    for name in names:
        arguments, n_envs = CASES[name]
        model = clock_model(device=device, **arguments)
        model.policy.set_training_mode(True)
        path = export_step(model.policy, n_envs, folder / name)
        assert path == folder / f"{name}.pt2"
        assert model.policy.training
        numbers = (1, 4) if n_envs is None else (n_envs,)
        traces: list[list[dict[str, Tensor]]] = [trace(model, number) for number in numbers]
        torch.save(traces, folder / f"{name}.trace")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
