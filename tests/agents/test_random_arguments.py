"""Whatever the library's constructors are given, they make something that works, or a ValueError of one line."""

import inspect
import math
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stable_baselines3.common.vec_env import DummyVecEnv

from agents import ExpireSpanPPO
from agents.cores import core_maker
from expire_span import ExpireSpanCore
from tests.agents.models import clock_model
from tests.agents.worlds import ClockEnv, box

NUMBERS = st.sampled_from([-(10**6), -1, 0, 1, 2, 3, 4, 6, 8, 16, 0.5, 1.5, -0.1, 1e-30, 1e30, math.nan, math.inf])
OTHERS = st.sampled_from(["", "x", None, True, False, [], [1], {}, (2,), b"", object()])
"""Of wrong types, mostly."""
SIZES: dict[str, Any] = {
    "dim": st.sampled_from([2, 4, 8, 16]),
    "depth": st.integers(1, 2),
    "heads": st.sampled_from([1, 2]),
    "slots": st.integers(0, 9),
    "max_span": st.floats(0.5, 100),
    "ramp_length": st.floats(0.5, 20),
    "seq_len": st.integers(1, 20),
    "initial_span": st.floats(0.01, 0.99),
    "spans": st.sampled_from(["learned", "fixed"]),
    "backend": st.sampled_from(["plain", "sdpa"]),
    "ramp_power": st.floats(0.5, 10),
    "read_margin": st.just(0.0) | st.floats(1, 10),
    "log_position": st.just(True),
    "count_matches": st.booleans(),
    "ramp_gradient": st.just(True),
}
AGENT: dict[str, Any] = {
    "n_steps": st.integers(1, 20),
    "batch_size": st.integers(1, 60),
    "n_epochs": st.integers(1, 2),
    "segment_length": st.none() | st.integers(1, 4),
    "memory_budget": st.none() | st.floats(0, 9),
    "forget_at_success": st.none() | st.floats(0, 1),
    "clip_range_vf": st.none() | st.floats(0.1, 1),
    "target_kl": st.none() | st.floats(0.01, 1),
    "expire_loss_coef": st.floats(0, 1),
    "read_loss_coef": st.floats(0, 1),
    "learning_rate": st.floats(1e-6, 1e-2),
    "clip_range": st.floats(0.05, 0.5),
    "max_grad_norm": st.floats(0.1, 10),
    "normalize_advantage": st.booleans(),
    "min_advantage_std": st.floats(0, 2),
    "use_sde": st.booleans(),
    "sde_sample_freq": st.integers(-1, 3),
    "precision": st.sampled_from(["float32", "tf32", "bf16"]),
    "cuda_graphs": st.booleans(),
    "stats_window_size": st.integers(1, 9),
    "seed": st.none() | st.integers(0, 99) | st.integers(0, 99).map(np.int64),
    **{name: st.floats(0, 1) for name in ("gamma", "gae_lambda", "ent_coef", "vf_coef")},
}
NOT_DRAWN = {"policy", "env", "tensorboard_log", "policy_kwargs", "verbose", "device", "_init_setup_model", "compile"}
"""SB3's own affair, or drawn apart; and what takes minutes."""


def drawn(examples: int) -> Callable[[Any], Any]:
    """The same examples at every run."""
    return settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )


@pytest.fixture(autouse=True)
def _unchecked_annotations() -> Iterator[None]:
    """Outside the tests nobody checks the annotations, and the library's own errors must be as good."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@st.composite
def arguments(draw: st.DrawFn, good: dict[str, Any]) -> dict[str, Any]:
    """Arguments that fit by themselves, up to two of them replaced."""
    chosen = draw(st.fixed_dictionaries({}, optional=good))
    for _ in range(draw(st.integers(0, 2))):
        chosen[draw(st.sampled_from(sorted(good)))] = draw(NUMBERS | OTHERS)
    return chosen


def assert_told(error: ValueError) -> None:
    """One line, in words."""
    assert "\n" not in str(error), error
    assert len(str(error).split()) > 3, error


def check_core(given: dict[str, Any]) -> None:
    """A core is made and takes a segment and a step, or is refused."""
    try:
        core = ExpireSpanCore(**{"dim": 8, "depth": 1, "heads": 2} | given)
    except ValueError as error:
        assert_told(error)
        return
    x = torch.randn(2, 5, core.dim)
    segment = core(x)
    step = core.step(x[:, 0], core.cache(segment.memory), torch.zeros(2, dtype=torch.bool))
    assert segment.output.isfinite().all()
    assert step.output.isfinite().all()


def check_agent(given: dict[str, Any], kwargs: dict[str, Any], action_space: spaces.Space[Any]) -> None:
    """An agent is made and acts, or is refused."""
    env = DummyVecEnv([lambda: ClockEnv(box(3), action_space)] * 2)
    of_ours = {"dim": 8, "depth": 1, "heads": 2, "slots": 3, "ramp_length": 2}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = ExpireSpanPPO(
                "MlpPolicy",
                env,
                device="cpu",
                compile=False,
                policy_kwargs=of_ours | kwargs,
                **{"n_steps": 8, "batch_size": 16} | given,
            )
    except ValueError as error:
        assert_told(error)
        return
    obs = env.reset()
    assert isinstance(obs, np.ndarray)
    actions, _ = model.predict(obs)
    assert len(actions) == 2


AGENTS = {
    "given": arguments(AGENT),
    "kwargs": arguments(SIZES | {"core": st.just("expire-span"), "ortho_init": st.booleans()})
    | arguments({"core": st.sampled_from(["lstm", "gru"]), "dim": SIZES["dim"], "hidden_size": SIZES["dim"]}),
    "action_space": st.sampled_from([spaces.Discrete(3), box(2), spaces.MultiBinary(2)]),
}
CORES = arguments(SIZES | {"random_shortening": st.booleans()})


def test_every_argument_is_drawn() -> None:
    """Would catch: an argument that was added, and that nothing here is about."""
    assert set(inspect.signature(ExpireSpanPPO).parameters) - NOT_DRAWN == AGENT.keys()
    assert set(inspect.signature(ExpireSpanCore).parameters) - {"random_shortening"} == SIZES.keys()
    assert core_maker("expire-span", {}).keywords.keys() <= SIZES.keys()


@drawn(300)
@given(given_=CORES)
def test_cores(given_: dict[str, Any]) -> None:
    """Would catch: a size that fails in a matrix product, or never and gives NaN."""
    check_core(given_)


@drawn(200)
@given(**AGENTS)
def test_agents(given: dict[str, Any], kwargs: dict[str, Any], action_space: spaces.Space[Any]) -> None:
    """Would catch: the same of an agent's numbers and its policy's keyword arguments."""
    check_agent(given, kwargs, action_space)


def small_agent(**given: Any) -> ExpireSpanPPO:
    """An agent of small sizes, but for those that are given."""
    env = DummyVecEnv([lambda: ClockEnv(box(3), spaces.Discrete(3))])
    sizes: dict[str, Any] = {"n_steps": 8, "batch_size": 8, "compile": False, "device": "cpu"}
    kwargs = {"dim": 8, "depth": 1, "heads": 2, "slots": 3, "ramp_length": 2} | given.pop("policy_kwargs", {})
    return ExpireSpanPPO("MlpPolicy", env, policy_kwargs=kwargs, **sizes | given)


OF_A_POLICY: list[dict[str, Any]] = [{name: 10**20} for name in ("dim", "depth", "heads", "slots", "seq_len")]
OF_A_POLICY += [{"net_arch": [8, 10**20]}, {"net_arch": {"vf": [10**20]}}]


@pytest.mark.parametrize("kwargs", OF_A_POLICY, ids=str)
def test_sizes_of_a_policy_beyond_64_bits(kwargs: dict[str, Any]) -> None:
    """Would catch: an OverflowError, or PyTorch's stack of C++ calls in place of the argument's name; layers that are
    made without end."""
    most = {"depth": 1000, "seq_len": 65536}.get(next(iter(kwargs)), 10**12)
    with pytest.raises(ValueError, match=rf"^{next(iter(kwargs))}=1{'0' * 20} must be at most {most}$"):
        small_agent(policy_kwargs=kwargs)


@pytest.mark.parametrize("core", ["lstm", "gru"])
@pytest.mark.parametrize("name", ["dim", "depth", "hidden_size"])
def test_sizes_of_a_recurrent_core_beyond_64_bits(core: str, name: str) -> None:
    """Would catch: the same of an LSTM's or GRU's sizes."""
    with pytest.raises(ValueError, match=f"^{name}=10* must be at most 10*$"):
        core_maker(core, {name: 10**20})()


@pytest.mark.parametrize("name", ["n_steps", "batch_size", "n_epochs", "stats_window_size"])
def test_sizes_of_a_training_beyond_64_bits(name: str) -> None:
    """Would catch: the same of an agent's sizes, when it has been made and begins to learn."""
    with pytest.raises(ValueError, match=f"^{name}=10* must be (at most 10*|a whole number between 1 and 1e.12)$"):
        small_agent(**{name: 10**20})


def test_a_seed_of_numpy(tmp_path: Path) -> None:
    """Would catch: a TypeError of Python's generator, other weights than the same whole number gives, or a seed that a
    file can't hold."""
    models = [small_agent(seed=seed) for seed in (3, np.int64(3))]
    one, other = (model.policy.parameters_to_vector() for model in models)
    np.testing.assert_array_equal(one, other)
    models[1].save(tmp_path / "model")
    assert ExpireSpanPPO.load(tmp_path / "model", device="cpu").seed == 3
    assert ExpireSpanPPO.load(tmp_path / "model", device="cpu", seed=np.uint32(4)).seed == 4


@pytest.mark.slow
@pytest.mark.timeout(3600)
@drawn(10_000)
@given(given_=CORES)
def test_ten_thousand_cores(given_: dict[str, Any]) -> None:
    """The same, ten thousand times."""
    check_core(given_)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@drawn(10_000)
@given(**AGENTS)
def test_ten_thousand_agents(given: dict[str, Any], kwargs: dict[str, Any], action_space: spaces.Space[Any]) -> None:
    """The same, ten thousand times."""
    check_agent(given, kwargs, action_space)


def test_sizes_of_numpy() -> None:
    """Would catch: a whole number that the checks let pass and that PyTorch, or a queue, doesn't take."""
    given = {"n_steps": 32, "segment_length": 8, "stats_window_size": 5, "n_epochs": 1, "batch_size": 24}
    sizes: dict[str, Any] = {name: np.int64(size) for name, size in given.items()}
    model = clock_model(**sizes)
    model.learn(2 * 32 * model.n_envs)
    assert model.num_timesteps == 2 * 32 * model.n_envs
