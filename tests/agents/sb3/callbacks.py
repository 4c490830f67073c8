"""Callbacks: each entry trains with one and looks at what it did. An entry's docstring is its line on the page."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CallbackList,
    CheckpointCallback,
    EvalCallback,
    EveryNTimesteps,
    LogEveryNTimesteps,
    ProgressBarCallback,
    StopTrainingOnMaxEpisodes,
    StopTrainingOnNoModelImprovement,
    StopTrainingOnRewardThreshold,
)
from stable_baselines3.common.logger import configure
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

from agents import ExpireSpanPPO
from tests.agents.sb3.models import N_ENVS, ROLLOUT, clocks, played, tiny


class Counter(BaseCallback):
    """How often it was called."""

    def _on_step(self) -> bool:
        return True


def best_model(folder: Path) -> None:
    """Saves the best model as `best_model.safetensors`, which `ExpireSpanPPO.load("…/best_model")` finds."""
    model = tiny()
    callback = evaluation(best_model_save_path=str(folder), log_path=str(folder))
    model.learn(2 * ROLLOUT, callback=callback)
    assert (folder / "best_model.safetensors").is_file()
    best = ExpireSpanPPO.load(folder / "best_model", device="cpu")
    assert played(best, clocks()).shape == (3, N_ENVS)
    assert np.load(folder / "evaluations.npz")["results"].shape == (2 * ROLLOUT // N_ENVS // EVERY, 2)
    assert np.isfinite(callback.last_mean_reward)


def reward_threshold(folder: Path) -> None:
    """In `EvalCallback(callback_on_new_best=…)`."""
    model = tiny()
    model.learn(5 * ROLLOUT, callback=evaluation(callback_on_new_best=StopTrainingOnRewardThreshold(-1e3)))
    assert model.num_timesteps == EVERY * N_ENVS


def no_improvement(folder: Path) -> None:
    """In `EvalCallback(callback_after_eval=…)`."""
    model = tiny()
    callback = evaluation(callback_after_eval=StopTrainingOnNoModelImprovement(1, min_evals=1))
    # What can't be improved on.
    callback.best_mean_reward = np.inf
    model.learn(5 * ROLLOUT, callback=callback)
    assert model.num_timesteps == 3 * EVERY * N_ENVS


def max_episodes(folder: Path) -> None:
    """Counts the episodes of all environments."""
    model = tiny()
    model.learn(100 * ROLLOUT, callback=StopTrainingOnMaxEpisodes(2))
    assert model.num_timesteps < 100 * ROLLOUT


def checkpoints(folder: Path) -> None:
    """SB3 gives the file its name, `rl_model_12_steps.zip`; its content is safetensors, no zip and no pickle, and
    `ExpireSpanPPO.load` reads it by that name. `save_vecnormalize=True` adds SB3's own `.pkl`, which unpickles."""
    model = tiny(VecNormalize(clocks()))
    every = ROLLOUT // N_ENVS
    model.learn(2 * ROLLOUT, callback=CheckpointCallback(every, str(folder), save_vecnormalize=True))
    names = [f"rl_model_{steps}_steps.zip" for steps in (ROLLOUT, 2 * ROLLOUT)]
    assert {path.name for path in folder.glob("*.zip")} == set(names)
    for name, steps in zip(names, (ROLLOUT, 2 * ROLLOUT), strict=True):
        loaded = ExpireSpanPPO.load(folder / name, clocks(), device="cpu")
        assert loaded.num_timesteps == steps
        loaded.learn(ROLLOUT, reset_num_timesteps=False)
    statistics = VecNormalize.load(str(folder / f"rl_model_vecnormalize_{ROLLOUT}_steps.pkl"), clocks()).obs_rms
    assert isinstance(statistics, RunningMeanStd)
    assert statistics.count > ROLLOUT


def every_n_timesteps(folder: Path) -> None:
    """Calls another callback every so many steps."""
    counter = Counter()
    tiny().learn(2 * ROLLOUT, callback=EveryNTimesteps(ROLLOUT, counter))
    assert counter.n_calls == 2


def log_every_n_timesteps(folder: Path) -> None:
    """Writes the log within a rollout, too."""
    model = tiny()
    model.set_logger(configure(str(folder), ["csv"]))
    model.learn(2 * ROLLOUT, callback=LogEveryNTimesteps(ROLLOUT // 2), log_interval=10)
    rows = list(csv.DictReader((folder / "progress.csv").open()))
    assert [int(row["time/total_timesteps"]) for row in rows] == [steps * ROLLOUT // 2 for steps in (1, 2, 3, 4)]


def progress_bar(folder: Path) -> None:
    """And `learn(progress_bar=True)`; needs `tqdm` and `rich`, which are installed with this package."""
    tiny().learn(ROLLOUT, callback=ProgressBarCallback())
    tiny().learn(ROLLOUT, progress_bar=True)


def several(folder: Path) -> None:
    """And a plain list of callbacks."""
    counters: list[BaseCallback] = [Counter(), Counter(), Counter()]
    model = tiny()
    model.learn(ROLLOUT, callback=CallbackList(counters[:2]))
    model.learn(ROLLOUT, callback=counters[1:])
    assert [counter.n_calls for counter in counters] == [ROLLOUT // N_ENVS * calls for calls in (1, 2, 1)]


def function(folder: Path) -> None:
    """A function of `locals` and `globals`, called at each step (`ConvertCallback`); False stops the training. `locals`
    has `rewards`, `dones`, `infos`, `actions`, `values`, `log_probs`, `new_obs`, as PPO's rollout has them; the three
    tensors are the buffer's: clone what is to outlive the rollout."""
    seen: list[dict[str, Any]] = []

    def look(now: dict[str, Any], _: dict[str, Any]) -> bool:
        seen.append(dict(now))
        return len(seen) < 4

    model = tiny()
    model.learn(5 * ROLLOUT, callback=look)
    assert model.num_timesteps == 4 * N_ENVS
    names = ("rewards", "dones", "infos", "actions", "values", "log_probs", "new_obs")
    assert all(len(seen[0][name]) == N_ENVS for name in names)


EVERY = 3
"""Steps of each environment between evaluations."""


def evaluation(**arguments: Any) -> EvalCallback:
    """Two episodes now and then."""
    return EvalCallback(VecMonitor(clocks()), eval_freq=EVERY, n_eval_episodes=2, verbose=0, **arguments)


CALLBACKS: dict[str, Callable[[Path], None]] = {
    "`EvalCallback`": best_model,
    "`StopTrainingOnRewardThreshold`": reward_threshold,
    "`StopTrainingOnNoModelImprovement`": no_improvement,
    "`StopTrainingOnMaxEpisodes`": max_episodes,
    "`CheckpointCallback`": checkpoints,
    "`EveryNTimesteps`": every_n_timesteps,
    "`LogEveryNTimesteps`": log_every_n_timesteps,
    "`ProgressBarCallback`": progress_bar,
    "`CallbackList`": several,
    "a plain function": function,
}
