"""What can't work, and what is said then."""

import io
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.envs.classic_control import CartPoleEnv
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from agents import ExpireSpanPPO
from agents.space_checks import check_environment
from tests.agents.sb3.models import ROLLOUT, clocks, tiny
from tests.agents.worlds import ClockEnv, box


class Refusal(NamedTuple):
    """What is asked for, and the error that says why not."""

    ask: Callable[[], object]
    error: type[Exception]
    message: str
    """A part of it, with what is wrong and, where there is something, what would be right."""


class WithoutMemory(ExpireSpanPPO):
    """Which policies there are isn't checked in a signature here."""

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"Plain": ActorCriticPolicy}


def loaded_alone() -> ExpireSpanPPO:
    """A model from its file, without environments."""
    stream = io.BytesIO()
    tiny().save(stream)
    stream.seek(0)
    return ExpireSpanPPO.load(stream, device="cpu")


def _seeing(space: spaces.Space, policy: str = "MlpPolicy") -> Callable[[], object]:
    return lambda: tiny(clocks(observations=space), policy)


def _doing(space: spaces.Space, **arguments: Any) -> Callable[[], object]:
    return lambda: tiny(clocks(actions=space), **arguments)


def _with(**arguments: Any) -> Callable[[], object]:
    return lambda: tiny(**arguments)


def _normalised_bytes() -> ExpireSpanPPO:
    return tiny(VecNormalize(clocks(observations=spaces.Box(0, 10, (3,), np.uint8)))).learn(ROLLOUT)


TWO_DIMENSIONS = spaces.MultiDiscrete(np.array([[2, 3], [2, 2]]))
SMALL_IMAGE = spaces.Box(0, 255, (8, 8, 3), np.uint8)
REFUSALS = {
    "`policy_kwargs` with `share_features_extractor=False`": Refusal(
        _with(policy_kwargs={"share_features_extractor": False}), ValueError, "actor and critic read one memory"
    ),
    "`policy_kwargs` of RecurrentPPO, such as `lstm_hidden_size`": Refusal(
        _with(policy_kwargs={"lstm_hidden_size": 8}),
        ValueError,
        "neither the policy nor its core expire-span has an argument lstm_hidden_size; the core has dim",
    ),
    "`policy_kwargs` with a name misspelt": Refusal(
        _with(policy_kwargs={"slot": 5}), ValueError, "has an argument slot; did you mean slots? The core has dim"
    ),
    "`policy_kwargs` with an argument of the agent": Refusal(
        _with(policy_kwargs={"segment_length": 8}),
        ValueError,
        "segment_length is an argument of the agent itself, outside of policy_kwargs",
    ),
    '`policy_kwargs` with `activation_fn="relu"`, a word': Refusal(
        _with(policy_kwargs={"activation_fn": "relu"}), ValueError, "must be a class, such as torch.nn.ReLU"
    ),
    "a class, or a function, that makes environments": Refusal(
        lambda: check_environment(CartPoleEnv),  # which an agent's signature refuses before, in tests
        ValueError,
        "env is a type that makes environments: make one first, env=CartPoleEnv(...)",
    ),
    "a vector environment of Gymnasium's": Refusal(
        lambda: check_environment(gym.make_vec("CartPole-v1", 2)),
        ValueError,
        "use one of Stable-Baselines3's: make_vec_env(...) or DummyVecEnv([...])",
    ),
    '`policy="MlpLstmPolicy"`': Refusal(
        _with(policy="MlpLstmPolicy"),
        ValueError,
        "must be one of MlpPolicy, CnnPolicy, MultiInputPolicy (an LSTM is policy_kwargs=",
    ),
    "`VecNormalize` of the observations of a `Box` of `uint8` that isn't an image, such as MiniGrid's codes": Refusal(
        _normalised_bytes,
        ValueError,
        "observations are float32, and their space says uint8. VecNormalize leaves a space as it is unless",
    ),
    "`policy=ActorCriticPolicy`, or another without a memory": Refusal(
        lambda: WithoutMemory("Plain", "CartPole-v1"),
        ValueError,
        "policy=ActorCriticPolicy has no expiring memory; take one of",
    ),
    '`policy="MlpPolicy"` of `Dict` observations': Refusal(
        _seeing(spaces.Dict({"a": box(2)})), ValueError, "You must use `MultiInputPolicy`"
    ),
    '`policy="MultiInputPolicy"` of others': Refusal(
        _seeing(box(2), "MultiInputPolicy"), ValueError, "MultiInputPolicy reads dict observations"
    ),
    '`policy="CnnPolicy"` of vectors, or of MiniGrid\'s codes': Refusal(
        _seeing(box(2), "CnnPolicy"), AssertionError, "You should use NatureCNN only with images"
    ),
    "images below 36 by 36 pixels for `NatureCNN`": Refusal(
        _seeing(SMALL_IMAGE, "CnnPolicy"), ValueError, "SB3's NatureCNN needs 36 by 36 pixels at least: enlarge them"
    ),
    "such images in a `Dict`": Refusal(
        _seeing(spaces.Dict({"a": SMALL_IMAGE}), "MultiInputPolicy"),
        ValueError,
        "observations['a'] are images of shape",
    ),
    "`Discrete` observations that don't start at 0": Refusal(
        _seeing(spaces.Discrete(3, start=1)), ValueError, "counted from 1: count them from 0"
    ),
    "`MultiDiscrete` observations of several dimensions": Refusal(
        _seeing(TWO_DIMENSIONS), ValueError, "observations are a MultiDiscrete of shape (2, 2)"
    ),
    "`Box` observations without a dimension": Refusal(
        _seeing(spaces.Box(-1, 1, ())), ValueError, "observations are numbers without a dimension"
    ),
    "`Tuple` observations": Refusal(
        _seeing(spaces.Tuple([box(2)])), NotImplementedError, "observation space is not supported"
    ),
    "a `Dict` within a `Dict`": Refusal(
        _seeing(spaces.Dict({"a": spaces.Dict({"b": box(2)})}), "MultiInputPolicy"),
        NotImplementedError,
        "Nested observation spaces are not supported",
    ),
    "`Discrete` actions that don't start at 0": Refusal(
        _doing(spaces.Discrete(3, start=1)), ValueError, "actions are Discrete(3, start=1), counted from 1: count them"
    ),
    "`MultiDiscrete` actions that don't start at 0": Refusal(
        _doing(spaces.MultiDiscrete([3, 2], start=[0, 1])), ValueError, "counted from [0 1]: count them from 0"
    ),
    "`MultiDiscrete` actions of several dimensions": Refusal(
        _doing(TWO_DIMENSIONS), ValueError, "actions are a MultiDiscrete of shape (2, 2)"
    ),
    "`MultiBinary` actions of several dimensions": Refusal(
        _doing(spaces.MultiBinary([2, 2])), AssertionError, "You can flatten it instead"
    ),
    "`Dict` or `Tuple` actions": Refusal(
        _doing(spaces.Dict({"a": box(2)})), AssertionError, "The algorithm only supports"
    ),
    "`Box` actions without bounds": Refusal(
        _doing(spaces.Box(-np.inf, np.inf, (2,))), AssertionError, "must have a finite lower and upper bound"
    ),
    "`use_sde=True` with other actions than `Box`": Refusal(
        _with(use_sde=True), ValueError, "can only be used with continuous actions"
    ),
    "`squash_output=True` without `use_sde=True`": Refusal(
        _doing(box(2), policy_kwargs={"squash_output": True}), AssertionError, "only available when using gSDE"
    ),
    "`clip_range_vf` of 0 or less": Refusal(
        _with(clip_range_vf=0.0), ValueError, "clip_range_vf=0.0 must be a finite number above 0"
    ),
    "`set_env` with another number of environments": Refusal(
        lambda: tiny().set_env(DummyVecEnv([lambda: ClockEnv(box(3), spaces.Discrete(4))])),
        AssertionError,
        "number of environments to be set is different",
    ),
    "`set_env` or `load` with other spaces": Refusal(
        lambda: tiny().set_env(clocks(box(4))), ValueError, "Observation spaces do not match"
    ),
    "`learn` without environments": Refusal(
        lambda: loaded_alone().learn(ROLLOUT),
        ValueError,
        "there are no environments to learn in: call set_env(env), or load",
    ),
}
