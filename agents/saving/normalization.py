"""Running statistics of `VecNormalize` as a tree, and back: SB3's own `VecNormalize.save` pickles them."""

import numpy as np
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecNormalize

from agents.checkpoint import CheckpointError, Tree, fields
from agents.checkpoint.errors import shown


def normalization_to_tree(normalize: VecNormalize) -> Tree:
    """Statistics of what is normalised, and the returns so far."""
    seen = normalize.obs_rms if normalize.norm_obs else None
    return {
        "obs": {name: _statistics(part) for name, part in seen.items()}
        if isinstance(seen, dict)
        else (None if seen is None else _statistics(seen)),
        "returns": _statistics(normalize.ret_rms),
        "so_far": normalize.returns,
    }


def restore_normalization(normalize: VecNormalize, tree: Tree) -> None:
    """Puts them back. Raises a `CheckpointError` for those of another wrapper."""
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


def _statistics(running: RunningMeanStd) -> Tree:
    return {"mean": np.asarray(running.mean), "var": np.asarray(running.var), "count": float(running.count)}


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
