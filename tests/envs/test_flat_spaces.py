"""Flat spaces: nothing is lost, and Stable-Baselines3 takes what comes out."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.preprocessing import get_flattened_obs_dim

from envs.flat_spaces import FlatSpaces

Space = gym.Space[Any]


class RandomEnv(gym.Env[Any, Any]):
    """Random observations of a space; keeps the last action, and takes only those of a space."""

    def __init__(self, observations: Space, actions: Space) -> None:
        self.observation_space, self.action_space = observations, actions
        self.seen: Any = None
        self.done: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """The seed fixes the observations."""
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.seen = self.observation_space.sample()
        return self.seen, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Refuses an action that isn't one."""
        assert action in self.action_space, f"{action} isn't in {self.action_space}"
        self.done, self.seen = action, self.observation_space.sample()
        return self.seen, 1.0, False, False, {}


def _multi_discrete(shape: tuple[int, ...], size: int, start: int) -> Space:
    return spaces.MultiDiscrete(np.full(shape, size), start=np.full(shape, start))


BOXES = st.sampled_from([(), (2,), (2, 3)]).map(lambda shape: spaces.Box(-1, 2, shape, np.float32))
COUNTING = st.one_of(
    st.builds(lambda n, start: spaces.Discrete(n, start=start), st.integers(1, 4), st.integers(-3, 3)),
    st.builds(_multi_discrete, st.sampled_from([(1,), (3,), (2, 2)]), st.integers(1, 4), st.integers(-3, 3)),
    st.sampled_from([spaces.MultiBinary(3), spaces.MultiBinary((2, 2))]),
)


def nested(leaves: st.SearchStrategy[Space]) -> st.SearchStrategy[Space]:
    """Spaces of such parts, at any depth."""
    return st.recursive(
        leaves,
        lambda parts: st.one_of(
            st.lists(parts, min_size=1, max_size=3).map(spaces.Tuple),
            st.dictionaries(st.sampled_from("abc"), parts, min_size=1, max_size=3).map(spaces.Dict),
        ),
        max_leaves=6,
    )


def part_of(space: Space, value: Any, path: str) -> tuple[Space, Any]:
    """The part at a path such as `a/0`, and its value."""
    for name in path.split("/") if path else ():
        assert isinstance(space, spaces.Dict | spaces.Tuple)
        key: Any = name if isinstance(space, spaces.Dict) else int(name)
        space, value = space[key], value[key]
    return space, value


def flat_parts(space: Space, value: Any) -> list[np.ndarray]:
    """All numbers of a value in order, counted from 0."""
    if isinstance(space, spaces.Dict):
        return [number for name, part in space.items() for number in flat_parts(part, value[name])]
    if isinstance(space, spaces.Tuple):
        return [number for part, own in zip(space, value, strict=True) for number in flat_parts(part, own)]
    return [np.ravel(np.asarray(value) - getattr(space, "start", 0))]


@given(nested(st.one_of(BOXES, COUNTING)), st.integers(0, 99))
@settings(max_examples=60)
def test_observations_keep_every_part(space: Space, seed: int) -> None:
    """Catches: a part lost, in another's place or off by its start, or a value outside of the flat space."""
    base = RandomEnv(space, spaces.Discrete(2))
    env = FlatSpaces(base)
    for observe in (lambda: env.reset(seed=seed)[0], lambda: env.step(1)[0]):
        observation = observe()
        assert observation in env.observation_space
        parts = observation if isinstance(env.observation_space, spaces.Dict) else {"": observation}
        for path, flat in parts.items():
            part, value = part_of(space, base.seen, path)
            np.testing.assert_array_equal(np.ravel(flat), flat_parts(part, value)[0])
        assert sum(np.size(flat) for flat in parts.values()) == sum(map(np.size, flat_parts(space, base.seen)))


@given(st.one_of(nested(BOXES), nested(COUNTING)), st.integers(0, 99))
@settings(max_examples=60)
def test_actions_reach_every_part(space: Space, seed: int) -> None:
    """Catches: an action that the environment refuses, or numbers that arrive in another part than they were for."""
    base = RandomEnv(spaces.Discrete(2), space)
    env = FlatSpaces(base)
    env.action_space.seed(seed)
    action = env.action_space.sample()
    env.step(action)
    np.testing.assert_array_equal(np.concatenate(flat_parts(space, base.done)), np.ravel(action))


@given(nested(st.one_of(BOXES, COUNTING)), st.one_of(nested(BOXES), nested(COUNTING)))
@settings(max_examples=30)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_stable_baselines3_takes_them(observations: Space, actions: Space) -> None:
    """Catches: a space that is flat in our eyes only."""
    env = FlatSpaces(RandomEnv(observations, actions))
    check_env(env, warn=False, skip_render_check=True)
    parts = env.observation_space
    for part in parts.values() if isinstance(parts, spaces.Dict) else [parts]:
        assert get_flattened_obs_dim(part) > 0


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1", "Taxi-v4"])
def test_flat_spaces_stay_as_they_are(env_id: str) -> None:
    """Catches: a wrapper that copies or converts what needs none of it."""
    base = gym.make(env_id)
    env = FlatSpaces(base)
    assert (env.observation_space, env.action_space) == (base.observation_space, base.action_space)
    observation = base.observation_space.sample()
    action = base.action_space.sample()
    assert env.observation(observation) is observation
    assert env.action(action) is action


@pytest.mark.parametrize(
    ("observations", "actions", "message"),
    [
        (spaces.Text(3), spaces.Discrete(2), "Text can't be made flat, only Box, Discrete"),
        (spaces.Discrete(2), spaces.Sequence(spaces.Discrete(2)), "Sequence can't be made flat"),
        (spaces.Discrete(2), spaces.Tuple([spaces.Discrete(2), spaces.Box(0, 1)]), "actions that mix Boxes"),
        (
            spaces.Dict({"a/0": spaces.Discrete(2), "a": spaces.Tuple([spaces.Discrete(2)])}),
            spaces.Discrete(2),
            "two parts of the observations have the same name",
        ),
    ],
)
def test_what_cant_be_flat_is_refused(observations: Space, actions: Space, message: str) -> None:
    """Catches: a wrong space far into a training, or a part that takes another's place."""
    with pytest.raises(ValueError, match=message):
        FlatSpaces(RandomEnv(observations, actions))
