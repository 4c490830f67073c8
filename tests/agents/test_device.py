"""What crosses between host and device while a rollout is collected; needs CUDA."""

import json
from collections import Counter
from pathlib import Path

import pytest
import torch
from gymnasium import spaces
from torch.profiler import ProfilerActivity, profile

from agents.cores import tensors_of
from agents.host_rollout import HostRollout
from tests.agents.models import clock_model, collect
from tests.agents.worlds import box

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")

N_ENVS, N_STEPS, OBSERVATION = 8, 32, 5


def copies(trace: Path) -> dict[str, list[int]]:
    """Sizes in bytes of the copies in a trace, by direction (`HtoD`, `DtoH`)."""
    found: dict[str, list[int]] = {"HtoD": [], "DtoH": []}
    for event in json.loads(trace.read_text())["traceEvents"]:
        if event.get("cat") == "gpu_memcpy":
            for direction, sizes in found.items():
                if direction in event["name"]:
                    sizes.append(event["args"]["bytes"])
    return found


def test_only_the_environments_side_crosses(tmp_path: Path) -> None:
    """Would catch: a memory, a buffer, a value or a statistic that visits the host at every step. What remains:
    observations, episode starts and (once) rewards go to the device, actions come back, statistics once a rollout."""
    action_space = spaces.Discrete(3)
    model = clock_model(box(OBSERVATION), action_space, n_envs=N_ENVS, device="cuda")
    model.env.env_method("__init__", box(OBSERVATION), action_space, mean_length=1e9)  # type: ignore[union-attr]
    collect(model)
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
        collect(model)
        torch.cuda.synchronize()
    profiled.export_chrome_trace(str(tmp_path / "trace.json"))
    found = copies(tmp_path / "trace.json")
    counts = {direction: Counter(sizes) for direction, sizes in found.items()}
    print(f"copies of one rollout by size in bytes: {counts}")
    observation, starts, actions = N_ENVS * OBSERVATION * 4, N_ENVS, N_ENVS * 8
    per_step_up, per_step_down = observation + starts, actions
    # One observation more values the last step; quantiles and statistics of the memory are a few words.
    assert sum(found["HtoD"]) <= per_step_up * (N_STEPS + 1) + N_STEPS * N_ENVS * 4 + 64
    assert sum(found["DtoH"]) <= per_step_down * N_STEPS + 64
    assert counts["HtoD"][observation] >= N_STEPS
    assert counts["DtoH"][actions] >= N_STEPS


def test_memory_and_buffer_lie_on_the_device() -> None:
    """Would catch: a buffer that SB3 would keep in numpy, or a state that was moved."""
    model = clock_model(device="cuda")
    collect(model)
    assert isinstance(model._rollout, HostRollout)
    buffer, state = model.rollout_buffer, model._rollout.groups[0].actor.state
    kept = [buffer.obs, buffer.actions, *buffer.memory, buffer.advantages, *tensors_of(state.cache)]
    assert all(isinstance(tensor, torch.Tensor) and tensor.device.type == "cuda" for tensor in kept)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
@pytest.mark.parametrize("first", ["cuda:0", "cuda:1"])
def test_any_gpu_is_trained_on_as_the_first(first: str) -> None:
    """Would catch: a graph that is captured on whichever GPU is the current one, not where the tensors are, and a
    stream for captures that belongs to the GPU that came first."""
    second = "cuda:1" if first == "cuda:0" else "cuda:0"
    for device in (first, second):
        model = clock_model(device=device)
        collect(model)
        model.train()
        assert all(weight.isfinite().all() and str(weight.device) == device for weight in model.policy.parameters())
