"""The compiled agent, in a process of its own: the tests' checks of shapes can't be traced."""

import subprocess
import sys

import pytest

SCRIPT = """
import torch
from stable_baselines3.common.logger import Logger
from torch._dynamo.utils import counters
from agents import ExpireSpanPPO
from envs.batched import BatchedVecEnv, make_batched

env = BatchedVecEnv(make_batched("MiniGrid-MemoryS7-v0", 4, seed=1, agent_view_size=3, max_steps=11))
core = {"dim": 16, "heads": 2, "slots": 20, "ramp_length": 4}
model = ExpireSpanPPO(
    "MlpPolicy", env, n_steps=32, segment_length=16, batch_size=64, seed=0, device="cpu", compile=True,
    policy_kwargs=core,
)
model.set_logger(Logger(None, []))
torch.nn.init.normal_(model.policy.action_net.weight)
_, callback = model._setup_learn(10**6)
graphs = []
for _ in range(4):
    model.collect_rollouts(env, callback, model.rollout_buffer, 32)
    batch = model.rollout_buffer.minibatch(torch.arange(8))
    with torch.no_grad():
        now = model.policy.evaluate_segments(batch.obs, batch.actions, batch.memory, batch.episode_starts)
    assert (now.log_prob - batch.old_log_prob).abs().max() < 1e-4
    model.train()
    graphs.append(counters["stats"]["unique_graphs"])
assert not counters["graph_break"], dict(counters["graph_break"])
assert graphs[0] == graphs[-1], graphs
print("graphs:", graphs)
"""


@pytest.mark.slow
def test_compiled_once_and_whole() -> None:
    """Would catch: a graph break, a compilation anew in every rollout (a coefficient that is compiled in), and
    compiled acting that differs from training."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
