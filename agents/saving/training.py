"""What a training goes on from, beside its model, as a tree, and back."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import unwrap_vec_normalize
from torch import Tensor

from agents import checkpoint
from agents.checkpoint import CheckpointError, Tree, fields
from agents.saving.fitting import fitting_together
from agents.saving.normalization import normalization_to_tree, restore_normalization
from agents.tensor_rollout import tensor_env_of

if TYPE_CHECKING:
    from agents.ppo import ExpireSpanPPO
else:
    # The import would go in a circle.
    ExpireSpanPPO = Any

_POSITION = ("obs", "starts", "memory", "env", "env_identity")
"""What a training has of its environments; None where their state can't be saved."""


def training_to_tree(model: ExpireSpanPPO) -> Tree:
    """What a training goes on from, beside the model: between two rollouts, where nothing is under way."""
    env = model.get_env()
    assert env is not None
    tensor_env = tensor_env_of(env, model.device)
    normalize = unwrap_vec_normalize(env)
    # Others start anew: what was seen and remembered in them is of no use then.
    position: dict[str, Tree] = dict.fromkeys(_POSITION)
    if tensor_env is not None:
        memory = model._memory
        position = {
            "obs": model._last_obs,
            "starts": model._last_episode_starts,
            "memory": None if memory is None else dict(zip(memory._fields, memory, strict=True)),
            "env": tensor_env.get_state()._asdict(),
            "env_identity": tensor_env.identity,
        }
    return {
        "random": checkpoint.random_states(),
        **position,
        "normalization": None if normalize is None else normalization_to_tree(normalize),
    }


def resume_training(model: ExpireSpanPPO, training: Tree) -> str | None:
    """Puts a model, its environments and all random generators where they were; a note on what couldn't be.

    Raises:
        CheckpointError: if the tree isn't of this model and these environments.
    """
    env = model.get_env()
    assert env is not None
    with fitting_together():
        part = fields(training, "a training", "random", *_POSITION, "normalization")
        normalize = unwrap_vec_normalize(env)
        if (normalize is None) != (part["normalization"] is None):
            raise CheckpointError("only one of checkpoint and environments has VecNormalize: wrap them as they were")
        if normalize is not None:
            restore_normalization(normalize, part["normalization"])
        tensor_env = tensor_env_of(env, model.device)
        notes = []
        if tensor_env is not None and part["env"] is not None:
            if part["env_identity"] != tensor_env.identity:
                raise CheckpointError("the training was of another task, or had other arguments")
            state = tensor_env.get_state()
            kind: Any = type(state)
            tensor_env.set_state(kind(**_like(part["env"], state._asdict(), "env")))
            model._last_obs = _observed(part["obs"], model.observation_space, env.num_envs)
            model._last_episode_starts = _starts(part["starts"], env.num_envs)
            empty = model.policy.core.empty_memory(env.num_envs)
            if part["memory"] is not None:
                kept = _like(part["memory"], empty._asdict(), "memory")
                model._memory = type(empty)(
                    **{name: tensor.to(model.device, copy=True) for name, tensor in kept.items()}
                )
        else:
            # Not the levels of the first steps once more.
            seed = np.random.SeedSequence([model.seed or 0, model.num_timesteps]).generate_state(1)[0]
            env.seed(int(seed) % 2**30)
            model._last_obs = None
            notes.append("these environments can't be saved: they start anew, with other seeds and empty memories")
        random_note = checkpoint.restore_random_states(part["random"])
        if random_note:
            notes.append(random_note)
    return "; ".join(notes) or None


def _like(tree: Tree, like: Mapping[str, Tensor], what: str) -> dict[str, Tensor]:
    """Tensors of the same names, shapes and types."""
    found = fields(tree, what, *like)
    for name, tensor in found.items():
        if not isinstance(tensor, Tensor) or (tensor.shape, tensor.dtype) != (like[name].shape, like[name].dtype):
            raise CheckpointError(f"{what}: {name} isn't of {tuple(like[name].shape)}: was n_envs another?")
    return found


def _observed(tree: Tree, space: spaces.Space[Any], n_envs: int) -> Any:
    """Observations of all environments."""
    if (
        not isinstance(tree, np.ndarray)
        or tree.dtype.kind not in "biuf"
        or tree.shape != (n_envs, *(space.shape or ()))
    ):
        raise CheckpointError(f"the last observations aren't of {n_envs} environments")
    return tree.copy()


def _starts(tree: Tree, n_envs: int) -> np.ndarray:
    if not isinstance(tree, np.ndarray) or tree.shape != (n_envs,):
        raise CheckpointError(f"the episode starts aren't of {n_envs} environments")
    return tree.astype(bool)
