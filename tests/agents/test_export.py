"""An exported acting step does what `predict` does, where nothing but PyTorch is installed."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from agents.export import export_step
from tests.agents.exporting import CASES, RARE
from tests.agents.models import DEVICES, clock_model

LOADER = """
import json, sys
for name in ("agents", "expire_span", "envs", "experiments", "stable_baselines3", "gymnasium", "jaxtyping"):
    sys.modules[name] = None  # importing it fails
import torch

folder, device, *names = sys.argv[1:]
worst = {}
for name in names:
    program = torch.export.load(f"{folder}/{name}.pt2")
    empty = program.example_inputs[1]["state"]
    step = program.module()
    errors = worst[name] = {}
    for trace in torch.load(f"{folder}/{name}.trace"):
        n_envs = len(trace[0]["episode_starts"])
        # Where an episode starts, whatever is there counts for nothing.
        state = {
            key: torch.ones(len(part), n_envs, *part.shape[2:], dtype=part.dtype, device=device)
            for key, part in empty.items()
        }
        for wanted in trace:
            obs = wanted.pop("obs")
            obs = {key: part.to(device) for key, part in obs.items()} if isinstance(obs, dict) else obs.to(device)
            with torch.no_grad():
                out = step(obs=obs, state=state, episode_starts=wanted.pop("episode_starts").to(device))
            state = out.pop("state")
            assert out.keys() == wanted.keys(), (out.keys(), wanted.keys())
            for key, value in wanted.items():
                assert out[key].shape == value.shape and out[key].dtype == value.dtype, (key, out[key], value)
                errors[key] = max(errors.get(key, 0.0), (out[key].cpu() - value).abs().max().item())
print(json.dumps(worst))
"""


def errors(folder: Path, device: str, cases: Sequence[str]) -> dict[str, dict[str, float]]:
    """For each case, the greatest difference in each of the program's outputs from what the policy does."""
    _run(["-m", "tests.agents.exporting", str(folder), device, *cases], Path.cwd())
    found: dict[str, dict[str, float]] = json.loads(_run(["-c", LOADER, str(folder), device, *cases], folder))
    return found


def _run(arguments: list[str], folder: Path) -> str:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()[-1] if done.stdout else ""


@pytest.mark.parametrize(
    "cases",
    [tuple(case for case in CASES if case not in RARE), pytest.param(RARE, marks=pytest.mark.slow)],
    ids=["common", "rare"],
)
@pytest.mark.parametrize("device", DEVICES)
def test_it_does_what_predict_does(tmp_path: Path, device: str, cases: tuple[str, ...]) -> None:
    """Would catch: a memory that isn't carried, or survives an episode's start; an empty state that isn't told from a
    full one; a number of environments that was traced as a constant; actions not as the environment takes them;
    operators or classes in the file that only this package knows."""
    for case, differences in errors(tmp_path, device, cases).items():
        assert differences.pop("actions") <= (1e-5 if case in ("box", "squashed") else 0), case
        assert max(differences.values()) < 1e-4, case


def test_what_cannot_be_exported(tmp_path: Path) -> None:
    """Would catch: a traceback from inside the tracer where a mistake of the caller was meant."""
    policy = clock_model().policy
    with pytest.raises(ValueError, match="n_envs=0 must be at least 1, or None"):
        export_step(policy, 0, tmp_path / "step")
    with pytest.raises(FileNotFoundError, match="nowhere is no folder"):
        export_step(policy, None, tmp_path / "nowhere" / "step")
