"""A model as a tree, and back."""

import copy
from collections.abc import Mapping
from itertools import chain
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.utils import check_for_correct_spaces
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, optim

from agents import checkpoint
from agents.argument_checks import check_argument
from agents.checkpoint import CheckpointError, Tree, fields
from agents.checkpoint.arguments import argument_from_tree, argument_to_tree
from agents.checkpoint.errors import shown
from agents.policies import ExpireSpanActorCriticPolicy
from agents.rollout import fit_segments
from agents.saving.episodes import episodes_to_tree, successes_to_tree, windows_from_tree
from agents.saving.fitting import check_kind, check_shapes, check_weights, checked_weights, fitting_together, quiet
from expire_span.version import __version__

if TYPE_CHECKING:
    from agents.ppo import ExpireSpanPPO
else:
    # The import would go in a circle.
    ExpireSpanPPO = Any

Model = TypeVar("Model", bound=ExpireSpanPPO)

KIND = "expire-span model"
"""What the file says it holds."""

_NUMBER = (int, float)
_SCHEDULES = ("learning_rate", "clip_range", "clip_range_vf", "memory_budget")
_ARGUMENTS: dict[str, tuple[type[Any], ...]] = {
    **dict.fromkeys(("n_steps", "batch_size", "n_epochs", "sde_sample_freq", "stats_window_size", "verbose"), (int,)),
    **dict.fromkeys(("gamma", "gae_lambda", "ent_coef", "vf_coef", "max_grad_norm"), _NUMBER),
    **dict.fromkeys(("min_advantage_std", "expire_loss_coef", "read_loss_coef"), _NUMBER),
    **dict.fromkeys(("normalize_advantage", "use_sde", "cuda_graphs"), (bool,)),
    **dict.fromkeys(("seed", "segment_length"), (int, type(None))),
    **dict.fromkeys(("target_kl", "forget_at_success"), (*_NUMBER, type(None))),
    "compile": (bool, type(None)),
    "precision": (str,),
}
"""Arguments of `ExpireSpanPPO` that are plain values, and their types. Where TensorBoard's logs go is the reader's."""
_ATTRIBUTES = {"stats_window_size": "_stats_window_size", "span_coefficient": "span_coef"}
"""Those of a model that the file has by another name."""
_COUNTERS: dict[str, tuple[type[Any], ...]] = {
    **dict.fromkeys(("num_timesteps", "_n_updates"), (int,)),
    **dict.fromkeys(("_current_progress_remaining", "span_coefficient"), _NUMBER),
}
"""What a training has counted so far."""


def model_to_tree(model: ExpireSpanPPO, training: Tree = None) -> Tree:
    """All that makes a model, and of a training, if given, what `training_to_tree` says."""
    aliases = {cls: name for name, cls in model.policy_aliases.items()}
    policy_class = aliases.get(model.policy_class) or checkpoint.class_to_tree(model.policy_class)
    arguments = {name: _as(types, getattr(model, _ATTRIBUTES.get(name, name))) for name, types in _ARGUMENTS.items()}
    schedules = {name: getattr(model, name) for name in _SCHEDULES}
    return {
        "kind": KIND,
        "version": __version__,
        "policy_class": policy_class,
        "policy_kwargs": argument_to_tree(model.policy_kwargs),
        "observation_space": checkpoint.space_to_tree(model.observation_space),
        "action_space": checkpoint.space_to_tree(model.action_space),
        "n_envs": model.n_envs,
        "arguments": arguments,
        "schedules": {
            name: None if value is None else checkpoint.schedule_to_tree(value) for name, value in schedules.items()
        },
        "counters": {name: getattr(model, _ATTRIBUTES.get(name, name)) for name in _COUNTERS},
        "memory_statistics": dict(model.memory_statistics),
        "episodes": None if model.ep_info_buffer is None else episodes_to_tree(model.ep_info_buffer),
        "successes": None if model.ep_success_buffer is None else successes_to_tree(model.ep_success_buffer),
        "weights": dict(model.policy.state_dict()),
        "optimizer": argument_to_tree(model.policy.optimizer.state_dict()),
        "training": training,
    }


def model_from_tree(
    cls: type[Model],
    tree: Tree,
    env: VecEnv | None,
    device: torch.device | str,
    custom_objects: Mapping[str, Any] | None = None,
    classes: Mapping[str, type[Any]] | None = None,
    changes: Mapping[str, Any] | None = None,
) -> Model:
    """The model that was described.

    Args:
        cls: of the model.
        tree: of `model_to_tree`.
        env: environments for it; None where it is to act only.
        device: where it computes.
        custom_objects: arguments by name, in place of those in the tree.
        classes: by the names in the tree, those that aren't registered (see `agents.checkpoint.register`).
        changes: arguments or attributes by name, that are to be others than they were.

    Raises:
        CheckpointError: if the tree isn't a model's, or doesn't fit together.
        ValueError: for environments with other spaces, for changes that no model can have, or other `policy_kwargs` or
            `use_sde` among them.
    """
    custom_objects, changes = custom_objects or {}, changes or {}
    for name, value in chain(custom_objects.items(), changes.items()):
        check_argument(name, value)
    given = dict(custom_objects) | {name: value for name, value in changes.items() if name in _SCHEDULES}
    said = _read_with(cls, tree, given, classes)
    arguments, attributes = _changed(said, given, changes)
    if env is not None:
        check_for_correct_spaces(env, said.observation_space, said.action_space)
    n_envs = said.n_envs if env is None else env.num_envs
    sizes = ("n_steps", "batch_size", "n_epochs", "segment_length")
    if any(name in chain(given, changes) for name in sizes):
        # Wrong ones aren't the file's fault.
        with quiet():
            n_steps, batch_size, n_epochs, segment_length = (arguments[name] for name in sizes)
            fit_segments(n_steps, n_envs, batch_size, n_epochs, segment_length)
    with fitting_together(), quiet():
        model = _made(cls, said, arguments, env, device)
    for name, value in attributes.items():
        if name == "n_envs" or not hasattr(model, name):
            raise ValueError(f"{name}={value!r} is nothing that a loaded model can be given")
        setattr(model, name, value)
    return model


class _Said(NamedTuple):
    """What a model's description says, each of its kind."""

    policy_class: type[ExpireSpanActorCriticPolicy]
    policy_kwargs: Any
    observation_space: spaces.Space[Any]
    action_space: spaces.Space[Any]
    n_envs: int
    arguments: dict[str, Any]
    """Schedules among them."""
    counters: dict[str, Any]
    parts: Mapping[str, Any]
    """All of the description, for what a model takes as it stands there."""


def _read_with(
    cls: type[ExpireSpanPPO], tree: Tree, given: dict[str, Any], classes: Mapping[str, type[Any]] | None
) -> _Said:
    """As `_read`; what isn't the tree's fault, but that of the `policy_kwargs` given, is said to be theirs."""
    try:
        with fitting_together():
            return _read(cls, tree, given, classes)
    except CheckpointError as error:
        wished = given.get("policy_kwargs")
        if wished is None:
            raise
        with fitting_together():
            kept = _read(cls, tree, given | {"policy_kwargs": None}, classes).policy_kwargs
        raise ValueError(f"policy_kwargs={wished} don't fit the weights of the file, whose are {kept}") from error


def _read(
    cls: type[ExpireSpanPPO], tree: Tree, given: Mapping[str, Any], classes: Mapping[str, type[Any]] | None
) -> _Said:
    """What the tree says, but for the policy's arguments and the schedules that are given."""
    parts = _described(tree)
    name = parts["policy_class"]
    if isinstance(name, str) and name in cls.policy_aliases:
        policy_class = cls.policy_aliases[name]
    else:
        policy_class = checkpoint.class_from_tree(name, classes)
    if not (isinstance(policy_class, type) and issubclass(policy_class, ExpireSpanActorCriticPolicy)):
        raise CheckpointError(f"policy_class is {shown(name)}, which is no policy with a memory")
    policy_kwargs = given.get("policy_kwargs")
    if policy_kwargs is None:
        policy_kwargs = argument_from_tree(parts["policy_kwargs"], "policy_kwargs", classes)
    observations = checkpoint.space_from_tree(parts["observation_space"])
    actions = checkpoint.space_from_tree(parts["action_space"])
    arguments = _typed(_with_defaults(parts["arguments"]), "arguments", _ARGUMENTS)
    for name, schedule in fields(parts["schedules"], "schedules", *_SCHEDULES).items():
        arguments[name] = None if schedule is None else checkpoint.schedule_from_tree(schedule, name, given)
    counters = _typed(parts["counters"], "counters", _COUNTERS)
    n_envs = _typed({"n_envs": parts["n_envs"]}, "a model", {"n_envs": (int,)})["n_envs"]
    use_sde = arguments["use_sde"]
    check_weights(policy_class, observations, actions, policy_kwargs, use_sde, parts["weights"], classes)
    return _Said(policy_class, policy_kwargs, observations, actions, n_envs, arguments, counters, parts)


def _changed(
    said: _Said, given: Mapping[str, Any], changes: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arguments with what is given and changed of them, and the changes that are of attributes."""
    attributes = dict(changes)
    if attributes.pop("policy_kwargs", said.policy_kwargs) != said.policy_kwargs:
        raise ValueError(f"policy_kwargs can't change when a model is loaded: it has {said.policy_kwargs}")
    arguments = said.arguments | {name: value for name, value in given.items() if name in said.arguments}
    arguments |= {name: attributes.pop(name) for name in list(attributes) if name in arguments}
    use_sde = said.arguments["use_sde"]
    if arguments["use_sde"] != use_sde:
        # Only Box actions can have it, and there it has weights of its own.
        raise ValueError(f"use_sde can't change when a model is loaded: it has use_sde={use_sde}")
    return arguments, attributes


def _made(
    cls: type[Model], said: _Said, arguments: dict[str, Any], env: VecEnv | None, device: torch.device | str
) -> Model:
    """A model of these arguments, with the weights and all else that the description says."""
    kwargs = arguments | {"policy_kwargs": said.policy_kwargs, "device": device, "_init_setup_model": False}
    model = cls(said.policy_class, env, **kwargs)
    model.observation_space, model.action_space = said.observation_space, said.action_space
    model.n_envs = said.n_envs if env is None else env.num_envs
    model._setup_model()
    model.policy.load_state_dict(said.parts["weights"])
    _load_optimizer(model.policy.optimizer, said.parts["optimizer"])
    model.policy.weights_changed()
    for name, value in said.counters.items():
        setattr(model, _ATTRIBUTES.get(name, name), value)
    model.memory_statistics = _numbers(said.parts["memory_statistics"], "memory_statistics")
    episodes, successes = said.parts["episodes"], said.parts["successes"]
    if episodes is not None and successes is not None:
        windows = windows_from_tree(episodes, successes, model._stats_window_size)
        model.ep_info_buffer, model.ep_success_buffer = windows
    return model


def policy_kwargs_from_tree(tree: Tree) -> dict[str, Any]:
    """The `policy_kwargs` of the model that was described.

    Raises:
        CheckpointError: if the tree isn't a model's, or they are no arguments by name.
    """
    with fitting_together():
        if not isinstance(tree, dict):
            raise CheckpointError("this is no model: take another file")
        kwargs = argument_from_tree(tree["policy_kwargs"], "policy_kwargs")
        if not isinstance(kwargs, dict):
            raise CheckpointError("policy_kwargs aren't arguments by name: take another checkpoint")
        return kwargs


def restore_parameters(model: ExpireSpanPPO, tree: Tree, exact_match: bool) -> None:
    """Gives a model the weights and the optimiser's state that were described, all of them or none.

    No other model is made of the tree: that would seed all random generators anew.

    Args:
        model: changed in place.
        tree: of `model_to_tree`.
        exact_match: whether just the model's weights must be there; else those that both have are set.

    Raises:
        CheckpointError: if the tree isn't a model's, or doesn't fit this one.
    """
    with fitting_together():
        part = _described(tree)
        weights, own = checked_weights(part["weights"]), model.policy.state_dict()
        # Looked at beforehand, since PyTorch sets those that fit before it says which don't.
        names = weights.keys() | own.keys() if exact_match else weights.keys() & own.keys()
        check_shapes(weights, own, names, "this model", "the model")
        _load_optimizer(model.policy.optimizer, part["optimizer"])
        model.policy.load_state_dict(weights, strict=exact_match)


def _described(tree: Tree) -> dict[str, Tree]:
    """The parts of a model's description."""
    part = fields(
        tree,
        "a model",
        *("kind", "version", "policy_class", "policy_kwargs", "observation_space", "action_space", "n_envs"),
        *("arguments", "schedules", "counters", "memory_statistics", "episodes", "successes", "weights"),
        *("optimizer", "training"),
    )
    check_kind(part["kind"], KIND)
    return part


def _load_optimizer(optimizer: optim.Optimizer, tree: Tree) -> None:
    state = argument_from_tree(tree, "optimizer")
    groups = fields(state, "optimizer", "state", "param_groups")
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert isinstance(groups["state"], dict)
    for number, kept in groups["state"].items():
        parameter = parameters[number]
        for name, value in kept.items():
            if isinstance(value, Tensor) and value.dim() > 0 and value.shape != parameter.shape:
                raise CheckpointError(f"the optimiser's {shown(name)} doesn't have its weight's shape")
    assert isinstance(groups["param_groups"], list)
    for kept, own in zip(groups["param_groups"], optimizer.param_groups, strict=True):
        # Another version of PyTorch may have more of them, or fewer.
        if kept.keys() - own.keys() and own.keys() - kept.keys():
            raise CheckpointError(f"the optimiser's state is another's than {type(optimizer).__name__}'s")
    # A copy: tensors of the same device would be shared with the tree, and with whoever else has it.
    optimizer.load_state_dict(copy.deepcopy(state))


def _with_defaults(arguments: Tree) -> Tree:
    """With those that models of before don't have, as they behave without them."""
    if not isinstance(arguments, dict):
        return arguments
    return {"read_loss_coef": 1e-3, "min_advantage_std": 0.0, "forget_at_success": None} | arguments


def _typed(tree: Tree, what: str, types: Mapping[str, tuple[type[Any], ...]]) -> dict[str, Any]:
    """These fields, each of one of its types."""
    found = fields(tree, what, *types)
    for name, value in found.items():
        boolean = isinstance(value, bool)
        if not isinstance(value, types[name]) or (boolean and bool not in types[name]):
            raise CheckpointError(f"{name} is {shown(value)}: take another checkpoint")
    return dict(found)


def _numbers(tree: Tree, what: str) -> dict[str, float]:
    if not isinstance(tree, dict) or not all(isinstance(value, int | float) for value in tree.values()):
        raise CheckpointError(f"{what} aren't numbers by name: take another checkpoint")
    return {name: float(value) for name, value in tree.items()}


def _as(types: tuple[type[Any], ...], value: Any) -> Any:
    """A number as Python's own, of the first of these types that it is: NumPy's would be refused when they are read."""
    if isinstance(value, bool | np.bool_) and bool in types:
        return bool(value)
    if isinstance(value, Integral | np.bool_) and int in types:
        return int(value)
    return float(value) if isinstance(value, Real) and float in types else value
