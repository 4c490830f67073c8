"""Models as trees for checkpoints, and back. Nothing that a file says is run or imported."""

import copy
from collections import deque
from collections.abc import Iterable, Mapping
from itertools import chain
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.utils import check_for_correct_spaces
from stable_baselines3.common.vec_env import VecEnv, VecNormalize, unwrap_vec_normalize
from torch import Tensor, optim

from agents import checkpoint
from agents.argument_checks import check_argument
from agents.checkpoint import CheckpointError, Tree, fields
from agents.checkpoint.arguments import argument_from_tree, argument_to_tree
from agents.checkpoint.errors import shown
from agents.policies import ExpireSpanActorCriticPolicy
from agents.policy_saving import check_kind, check_weights, fitting_together, quiet
from agents.rollout import fit_segments
from agents.tensor_rollout import tensor_env_of
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
_PRIVATE = {"stats_window_size": "_stats_window_size"}
_COUNTERS: dict[str, tuple[type[Any], ...]] = {
    **dict.fromkeys(("num_timesteps", "_n_updates"), (int,)),
    **dict.fromkeys(("_current_progress_remaining", "span_coefficient"), _NUMBER),
}
"""What a training has counted so far."""
_EPISODE: dict[str, type[Any]] = {"r": np.float64, "l": np.int64, "t": np.float64}
"""What is kept of an episode, by Monitor's names: its return and length, and when it ended."""
_POSITION = ("obs", "starts", "memory", "env", "env_identity")
"""What a training has of its environments; None where their state can't be saved."""


# --- the model ---


def model_to_tree(model: ExpireSpanPPO, training: Tree = None) -> Tree:
    """All that makes a model, and of a training, if given, what `training_to_tree` says."""
    aliases = {cls: name for name, cls in model.policy_aliases.items()}
    policy_class = aliases.get(model.policy_class) or checkpoint.class_to_tree(model.policy_class)
    arguments = {name: _as(types, getattr(model, _PRIVATE.get(name, name))) for name, types in _ARGUMENTS.items()}
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
        "counters": {name: getattr(model, name) for name in _COUNTERS},
        "memory_statistics": dict(model.memory_statistics),
        "episodes": None if model.ep_info_buffer is None else _episodes_to_tree(model.ep_info_buffer),
        "successes": None if model.ep_success_buffer is None else _successes_to_tree(model.ep_success_buffer),
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
    for name, value in chain((custom_objects or {}).items(), (changes or {}).items()):
        check_argument(name, value)
    given = dict(custom_objects or {}) | {name: value for name, value in (changes or {}).items() if name in _SCHEDULES}
    with fitting_together():
        part = _described(tree)
        name = part["policy_class"]
        policy_class = (
            cls.policy_aliases[name]
            if isinstance(name, str) and name in cls.policy_aliases
            else checkpoint.class_from_tree(name, classes)
        )
        if not (isinstance(policy_class, type) and issubclass(policy_class, ExpireSpanActorCriticPolicy)):
            raise CheckpointError(f"policy_class is {shown(name)}, which is no policy with a memory")
        policy_kwargs = given.get("policy_kwargs")
        if policy_kwargs is None:
            policy_kwargs = argument_from_tree(part["policy_kwargs"], "policy_kwargs", classes)
        observations = checkpoint.space_from_tree(part["observation_space"])
        actions = checkpoint.space_from_tree(part["action_space"])
        arguments = _typed(_with_defaults(part["arguments"]), "arguments", _ARGUMENTS)
        described = fields(part["schedules"], "schedules", *_SCHEDULES)
        for name, schedule in described.items():
            arguments[name] = None if schedule is None else checkpoint.schedule_from_tree(schedule, name, given)
        counters = _typed(part["counters"], "counters", _COUNTERS)
        n_envs = _typed({"n_envs": part["n_envs"]}, "a model", {"n_envs": (int,)})["n_envs"]
        use_sde = arguments["use_sde"]
        check_weights(policy_class, observations, actions, policy_kwargs, use_sde, part["weights"], classes)

    arguments |= {name: value for name, value in given.items() if name in arguments}
    attributes = dict(changes or {})
    if attributes.pop("policy_kwargs", policy_kwargs) != policy_kwargs:
        raise ValueError(f"policy_kwargs can't change when a model is loaded: it has {policy_kwargs}")
    arguments |= {name: attributes.pop(name) for name in list(attributes) if name in arguments}
    if arguments["use_sde"] != use_sde:
        # Only Box actions can have it, and there it has weights of its own.
        raise ValueError(f"use_sde can't change when a model is loaded: it has use_sde={use_sde}")
    if env is not None:
        check_for_correct_spaces(env, observations, actions)
    sizes = ("n_steps", "batch_size", "n_epochs", "segment_length")
    if any(name in (changes or {}) or name in given for name in sizes):
        # Wrong ones aren't the file's fault.
        with quiet():
            n_steps, batch_size, n_epochs, segment_length = (arguments[name] for name in sizes)
            fit_segments(n_steps, n_envs if env is None else env.num_envs, batch_size, n_epochs, segment_length)
    with fitting_together(), quiet():
        model = cls(policy_class, env, policy_kwargs=policy_kwargs, device=device, _init_setup_model=False, **arguments)
        model.observation_space, model.action_space = observations, actions
        model.n_envs = n_envs if env is None else env.num_envs
        model._setup_model()
        model.policy.load_state_dict(part["weights"])
        _load_optimizer(model.policy.optimizer, part["optimizer"])
        model.policy.weights_changed()
        for name, value in counters.items():
            setattr(model, name, value)
        model.memory_statistics = _numbers(part["memory_statistics"], "memory_statistics")
        _restore_episodes(model, part["episodes"], part["successes"])
    for name, value in attributes.items():
        if name == "n_envs" or not hasattr(model, name):
            raise ValueError(f"{name}={value!r} is nothing that a loaded model can be given")
        setattr(model, name, value)
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
        weights, own = part["weights"], model.policy.state_dict()
        if not isinstance(weights, dict) or not all(isinstance(weight, Tensor) for weight in weights.values()):
            raise CheckpointError("weights aren't tensors by name: take another checkpoint")
        # Looked at beforehand, since PyTorch sets those that fit before it says which don't.
        found, needed = ({name: tuple(weight.shape) for name, weight in kept.items()} for kept in (weights, own))
        for name in sorted(found.keys() | needed.keys() if exact_match else found.keys() & needed.keys()):
            has, needs = (shapes.get(name, "no such weight") for shapes in (found, needed))
            if has != needs:
                raise CheckpointError(
                    f"the weight {shown(name)} doesn't fit this model: by its shape the file has {has}, the model "
                    f"{needs}: take another checkpoint"
                )
        _load_optimizer(model.policy.optimizer, part["optimizer"])
        model.policy.load_state_dict(weights, strict=exact_match)


# --- the training ---


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
        "normalization": None if normalize is None else _normalization_to_tree(normalize),
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
            _restore_normalization(normalize, part["normalization"])
        tensor_env = tensor_env_of(env, model.device)
        notes = []
        if tensor_env is not None and part["env"] is not None:
            if part["env_identity"] != tensor_env.identity:
                raise CheckpointError("the training was of another task, or had other arguments")
            state = tensor_env.get_state()
            tensor_env.set_state(type(state)(**_like(part["env"], state._asdict(), "env")))
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


def _episodes_to_tree(infos: Iterable[dict[str, Any]]) -> Tree:
    """Arrays of what Monitor says of episodes, and of what else is a number of each (its `info_keywords`): of single
    values a file holds only so many."""
    every = list(infos)
    shared = [name for name in (every[0] if every else {}) if all(_is_number(info.get(name)) for info in every)]
    names = [*_EPISODE, *(name for name in shared if name not in _EPISODE)]
    columns = {name: [info.get(name) for info in every] for name in names}
    return {
        name: np.nan_to_num([value if _is_number(value) else 0 for value in column]).astype(_EPISODE.get(name, float))
        for name, column in columns.items()
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number)


def _successes_to_tree(successes: Iterable[Any]) -> Tree:
    return np.array([bool(won) for won in successes], np.bool_)


def _restore_episodes(model: ExpireSpanPPO, episodes: Tree, successes: Tree) -> None:
    if episodes is None or successes is None:
        return
    if isinstance(episodes, list) and isinstance(successes, list):
        # Models of before have them one by one.
        episodes, successes = _episodes_to_tree(episodes), _successes_to_tree(successes)
    if not isinstance(episodes, dict) or not _EPISODE.keys() <= episodes.keys():
        raise CheckpointError("the last episodes have no r, l or t: take another checkpoint")
    columns = [_column(tree, name, _EPISODE.get(name, np.float64)) for name, tree in episodes.items()]
    if len(set(map(len, columns))) > 1:
        raise CheckpointError("the last episodes have more of r, l or t than of the others: take another checkpoint")
    rows = (dict(zip(episodes, row, strict=True)) for row in zip(*columns, strict=True))
    window = model._stats_window_size
    model.ep_info_buffer = deque(rows, maxlen=window)
    model.ep_success_buffer = deque(_column(successes, "successes", np.bool_), maxlen=window)


def _column(tree: Tree, name: str, dtype: type[Any]) -> list[Any]:
    """The values of an array of one dimension."""
    if not isinstance(tree, np.ndarray) or tree.dtype != dtype or tree.ndim != 1:
        raise CheckpointError(f"{name} of the last episodes isn't a row of {dtype.__name__}: take another checkpoint")
    values: list[Any] = tree.tolist()
    return values


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


def _as(types: tuple[type[Any], ...], value: Any) -> Any:
    """A number as Python's own, of the first of these types that it is: NumPy's would be refused when they are read."""
    if isinstance(value, bool | np.bool_) and bool in types:
        return bool(value)
    if isinstance(value, Integral | np.bool_) and int in types:
        return int(value)
    return float(value) if isinstance(value, Real) and float in types else value


def _starts(tree: Tree, n_envs: int) -> np.ndarray:
    if not isinstance(tree, np.ndarray) or tree.shape != (n_envs,):
        raise CheckpointError(f"the episode starts aren't of {n_envs} environments")
    return tree.astype(bool)


def _running(tree: Tree, like: RunningMeanStd) -> RunningMeanStd:
    part = fields(tree, "normalization", "mean", "var", "count")
    mean, var, count = part["mean"], part["var"], part["count"]
    for kept in (mean, var):
        if not isinstance(kept, np.ndarray) or kept.shape != like.mean.shape:
            raise CheckpointError(f"VecNormalize's statistics aren't of the shape {like.mean.shape}")
    if not isinstance(count, float):
        raise CheckpointError(f"VecNormalize has counted {shown(count)} steps")
    running = RunningMeanStd(shape=like.mean.shape)
    running.mean, running.var, running.count = mean, var, count
    return running


def _statistics(running: RunningMeanStd) -> Tree:
    return {"mean": np.asarray(running.mean), "var": np.asarray(running.var), "count": float(running.count)}


def _normalization_to_tree(normalize: VecNormalize) -> Tree:
    """Running statistics, which SB3's own `VecNormalize.save` pickles."""
    seen = normalize.obs_rms if normalize.norm_obs else None
    return {
        "obs": {name: _statistics(part) for name, part in seen.items()}
        if isinstance(seen, dict)
        else (None if seen is None else _statistics(seen)),
        "returns": _statistics(normalize.ret_rms),
        "so_far": normalize.returns,
    }


def _restore_normalization(normalize: VecNormalize, tree: Tree) -> None:
    part = fields(tree, "normalization", "obs", "returns", "so_far")
    if normalize.norm_obs != (part["obs"] is not None):
        raise CheckpointError("VecNormalize's norm_obs was another: wrap the environments as they were")
    if normalize.norm_obs:
        if isinstance(normalize.obs_rms, dict):
            by_name = fields(part["obs"], "normalization", *normalize.obs_rms)
            normalize.obs_rms = {name: _running(by_name[name], like) for name, like in normalize.obs_rms.items()}
        else:
            normalize.obs_rms = _running(part["obs"], normalize.obs_rms)
    normalize.ret_rms = _running(part["returns"], normalize.ret_rms)
    so_far = part["so_far"]
    if not isinstance(so_far, np.ndarray) or so_far.ndim != 1:
        raise CheckpointError("VecNormalize's returns so far aren't a row of numbers")
    if len(so_far) != normalize.num_envs:
        raise CheckpointError(
            f"VecNormalize is of {normalize.num_envs} environments, the checkpoint has {len(so_far)}: make as many"
        )
    normalize.returns = so_far
