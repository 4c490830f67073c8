"""The compiled agent, in a process of its own: the tests' checks of shapes can't be traced."""

import json
import subprocess
import sys
from typing import Any

import pytest

ROLLOUT = """
import json
import sys

import torch
from stable_baselines3.common.logger import Logger

from agents import ExpireSpanPPO


def deviation(model, env, callback):
    # Of log-probabilities in a new rollout, as acted and as trained.
    model.collect_rollouts(env, callback, model.rollout_buffer, model.n_steps)
    batch = model.rollout_buffer.minibatch(torch.arange(8))
    with torch.no_grad():
        now = model.policy.evaluate_segments(
            batch.obs, batch.actions, batch.memory, batch.episode_starts, batch.action_masks
        )
    return float((now.log_prob - batch.old_log_prob).abs().max())
"""

SCRIPT = """
from torch._dynamo.utils import counters
from envs.batched import BatchedVecEnv, make_batched

core, other, masked = json.loads(sys.argv[1])
allowed = torch.arange(3) != torch.arange(4)[:, None] % 3


def agent(core):
    env = BatchedVecEnv(make_batched("MiniGrid-MemoryS7-v0", 4, seed=1, agent_view_size=3, max_steps=11))
    if masked:
        # One of the three actions may not be taken, by turns.
        env.tensor_env.action_masks = lambda: allowed
    model = ExpireSpanPPO(
        "MlpPolicy", env, n_steps=32, segment_length=16, batch_size=64, seed=0, device="cpu", compile=True,
        policy_kwargs=core,
    )
    model.set_logger(Logger(None, []))
    torch.nn.init.normal_(model.policy.action_net.weight)
    return model, env, model._setup_learn(10**6)[1]


agents = [agent(core), agent(core | other)]
graphs = []
for _ in range(4):
    for model, env, callback in agents:
        assert deviation(model, env, callback) < 1e-4
        assert not masked or allowed.expand(32, 4, 3).gather(-1, model.rollout_buffer.actions[..., None]).all()
        model.train()
    graphs.append(counters["stats"]["unique_graphs"])
assert not counters["graph_break"], dict(counters["graph_break"])
assert graphs[0] == graphs[-1], graphs
print("graphs:", graphs)
"""


EXPIRING = {"dim": 16, "heads": 2, "slots": 20, "ramp_length": 4}
CORES = [
    (EXPIRING, {"max_span": 12.0}, False),
    (EXPIRING, {"spans": "fixed", "max_span": 12.0}, True),
    ({"core": "lstm", "dim": 16, "hidden_size": 24}, {"hidden_size": 16}, False),
    ({"core": "gru", "dim": 16}, {"hidden_size": 24}, True),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("core", "other", "masked"), CORES, ids=["expire-span", "expire-span-masked", "lstm", "gru-masked"]
)
def test_compiled_once_and_whole(core: dict[str, Any], other: dict[str, Any], masked: bool) -> None:
    """Would catch: a graph break, a compilation anew in every rollout (a coefficient that is compiled in), compiled
    acting that differs from training, and the program of one agent run for another one in the same process, that
    differs in a number only, or in a module that it lacks."""
    command = [sys.executable, "-c", ROLLOUT + SCRIPT, json.dumps((core, other, masked))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


IMAGES = """
import numpy as np
from gymnasium import Env, spaces
from stable_baselines3.common.vec_env import DummyVecEnv


class Noise(Env):
    observation_space = spaces.Box(0, 255, (36, 36, 3), np.uint8)
    action_space = spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), float(action), bool(self.np_random.random() < 0.1), False, {}


def agent(dim):
    env = DummyVecEnv([Noise] * 4)
    core = {"dim": dim, "heads": 2, "depth": 1, "slots": 8, "max_span": 12.0, "ramp_length": 4}
    model = ExpireSpanPPO(
        "CnnPolicy", env, n_steps=16, segment_length=8, batch_size=32, seed=0, device="cpu", compile=True,
        policy_kwargs={**core, "features_extractor_kwargs": {"features_dim": 16}},
    )
    model.set_logger(Logger(None, []))
    return model, env, model._setup_learn(10**6)[1]


agents = [agent(16), agent(24)]
worst = []
for _ in range(2):
    for model, env, callback in agents:
        worst.append(deviation(model, env, callback))
        model.train()
print(json.dumps(worst))
"""


@pytest.mark.slow
def test_images_compiled() -> None:
    """Would catch: a program in pieces, as Stable-Baselines3's look at images makes of it, of which one agent's are run
    for another one; happened where PyTorch was told to skip its guards."""
    done = subprocess.run(
        [sys.executable, "-c", ROLLOUT + IMAGES], capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert max(json.loads(done.stdout.splitlines()[-1])) < 1e-4
