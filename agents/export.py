"""One acting step as a program that PyTorch runs alone: neither this package nor Stable-Baselines3 is needed then."""

import os
from pathlib import Path
from typing import Any

import torch
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import Tensor, nn

from agents.cores import CoreCache
from agents.cores.recurrence import _gru, _lstm
from agents.policies import ExpireSpanActorCriticPolicy
from agents.unvalidated import unvalidated

SUFFIX = ".pt2"

# Operators that only this package knows, and the plain PyTorch that they are made of.
_OURS = {
    torch.ops.expire_span.lstm.default: _lstm._init_fn,
    torch.ops.expire_span.gru.default: _gru._init_fn,
}


class ActingStep(nn.Module):
    """A policy's step, with what is carried from step to step as tensors by name.

    Args:
        policy: who acts.
    """

    def __init__(self, policy: ExpireSpanActorCriticPolicy) -> None:
        super().__init__()
        self.policy = policy
        self._form = policy.core.cache(policy.core.empty_memory(1))

    def empty_state(self, n_envs: int) -> dict[str, Tensor]:
        """The state of so many environments before anything happened; environments in dimension 1."""
        core = self.policy.core
        return tensors_by_name(core.cache(core.empty_memory(n_envs)))

    def forward(self, obs: PyTorchObs, state: dict[str, Tensor], episode_starts: Tensor) -> dict[str, Any]:
        """One step in each environment.

        Args:
            obs: observations, batch first; or a dict of them.
            state: as the step before gave it, or `empty_state`.
            episode_starts: True where an episode starts.

        Returns:
            `actions`, the likeliest, as the environment takes them; `logits`, or of a Box the `mean`, of their
            distribution (the parts of a MultiDiscrete action in a row); `values`; and the `state` after the step.
        """
        policy = self.policy
        cache = from_names(self._form, state)
        step = policy.core.step(policy._embedded(obs), cache, episode_starts)
        distribution, values = policy._heads(step.output)
        return {
            "actions": policy.env_actions(distribution.get_actions(deterministic=True)),
            **_parameters(distribution),
            "values": values,
            "state": tensors_by_name(cache.written(step.write)),
        }


def export_step(policy: ExpireSpanActorCriticPolicy, n_envs: int | None, path: str | os.PathLike[str]) -> Path:
    """Writes the acting step as a `torch.export` program, that `torch.export.load(path).module()` runs.

    It takes `obs`, `state` and `episode_starts` by these names and gives what `ActingStep.forward` says. The file's
    `example_inputs` hold the empty state of the environments it was made for: where an episode starts, any other does,
    so a state of zeros begins as well.

    Args:
        policy: such as `model.policy`; the program runs where the policy is, so load a model with `device="cpu"` for
            one that runs on the CPU.
        n_envs: environments that step in one call; None: any number, another at each call if need be.
        path: of the file, `.pt2` if it has no suffix.

    Returns:
        The file's path.

    Raises:
        ValueError: for `n_envs` below 1.
        FileNotFoundError: if the file's folder isn't there.
    """
    if n_envs is not None and n_envs < 1:
        raise ValueError(f"n_envs={n_envs} must be at least 1, or None for any number")
    path = Path(path)
    path = path if path.suffix else path.with_name(path.name + SUFFIX)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent} is no folder: make it first")
    trained = policy.training
    policy.set_training_mode(False)
    try:
        with torch.no_grad(), unvalidated():
            program = _exported(ActingStep(policy), n_envs)
    finally:
        policy.set_training_mode(trained)
    torch.export.save(program, path)
    return path


def _exported(step: ActingStep, n_envs: int | None) -> torch.export.ExportedProgram:
    # To the tracer a size of 1 is a constant, even where it may vary.
    example_envs = 2 if n_envs is None else n_envs
    device = step.policy.device
    obs = _example_observations(step.policy, example_envs)
    state = step.empty_state(example_envs)
    inputs = {
        "obs": obs,
        "state": state,
        "episode_starts": torch.ones(example_envs, dtype=torch.bool, device=device),
    }
    varies = None
    if n_envs is None:
        batch = torch.export.Dim("n_envs", min=1)
        varies = {
            "obs": {name: {0: batch} for name in obs} if isinstance(obs, dict) else {0: batch},
            "state": {name: {1: batch} for name in state},
            "episode_starts": {0: batch},
        }
    program = torch.export.export(step, (), inputs, dynamic_shapes=varies)
    ours = any(node.target in _OURS for node in program.graph.nodes)
    return program.run_decompositions(_OURS) if ours else program


def _example_observations(policy: ExpireSpanActorCriticPolicy, n_envs: int) -> PyTorchObs:
    """Observations of the right form; what they show doesn't matter."""
    obs, _ = policy.obs_to_tensor(policy.observation_space.sample())
    if isinstance(obs, dict):
        return {name: torch.cat([part] * n_envs) for name, part in obs.items()}
    return torch.cat([obs] * n_envs)


def _parameters(distribution: Distribution) -> dict[str, Tensor]:
    """What makes a distribution of actions: logits, or the mean of a normal one."""
    made_of: Any = distribution.distribution
    if isinstance(made_of, torch.distributions.Normal):
        return {"mean": made_of.mean}
    parts = made_of if isinstance(made_of, list) else [made_of]
    return {"logits": torch.cat([part.logits for part in parts], dim=-1)}


def tensors_by_name(cache: CoreCache) -> dict[str, Tensor]:
    """The tensors of a cache, and of the named tuples in it, by their fields' names."""
    tensors: dict[str, Tensor] = {}
    fields: dict[str, Any] = cache._asdict()  # type: ignore[attr-defined]  # a NamedTuple, see `CoreCache`
    for name, part in fields.items():
        found = {name: part} if isinstance(part, Tensor) else tensors_by_name(part)
        if twice := tensors.keys() & found.keys():
            raise ValueError(f"the core's cache has two tensors named {', '.join(sorted(twice))}: rename one")
        tensors |= found
    return tensors


def from_names(form: Any, tensors: dict[str, Tensor]) -> Any:
    """A cache in the form of another, of the tensors of these names."""
    parts = form._asdict().items()
    return type(form)(
        *(tensors[name] if isinstance(part, Tensor) else from_names(part, tensors) for name, part in parts)
    )
