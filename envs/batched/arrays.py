"""Between NumPy and the device, for the adapters."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from envs.batched.engine import BatchedEnv


def to_numpy(tensor: Tensor) -> np.ndarray:
    """The same numbers on the host."""
    return np.asarray(tensor.cpu().numpy())


def to_actions(actions: Any, env: BatchedEnv) -> Int64[Tensor, " n_envs"]:
    """Checked actions on the environments' device.

    Raises:
        ValueError: If they aren't an integer among the actions for each environment.
    """
    actions, n_actions = np.asarray(actions), int(env.action_space.n)
    if actions.shape != (env.n_envs,) or actions.dtype.kind not in "iu":
        raise ValueError(f"actions must be integers of shape ({env.n_envs},), not {actions.dtype} of {actions.shape}")
    if actions.min() < 0 or actions.max() >= n_actions:
        raise ValueError(f"actions must be 0 to {n_actions - 1}, not {actions.min()} to {actions.max()}")
    return torch.from_numpy(actions.astype(np.int64)).to(env.device)
