"""The agent to compare with that isn't ours: sb3-contrib's `RecurrentPPO`, by the task's settings.

What a task says of learning it is given as far as it has it, with the same encoder of observations; its policy is the
stock one, an LSTM of 256 each for actor and critic and two layers of 64 behind. It is trained on the same environments
and judged by the same episodes.
"""

import dataclasses
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from agents.extractors import MiniGridExtractor
from experiments import contrib, runs
from experiments.callbacks import OurCallback, Saves, StopRequest
from experiments.config import TrainConfig
from experiments.environments import training_envs
from experiments.errors import user_errors
from experiments.learning import learn, open_log
from experiments.model import embeds_codes, learning_arguments, policy_name

NAME = "recurrent-ppo"
"""As `--agents` has it."""
OF_CORE = {"dim"}
"""What it takes of the task's core: the width of the encoder."""
NOT_OF_AGENT = {
    *("segment_length", "min_advantage_std", "precision", "compile", "cuda_graphs"),
    *("net_arch", "activation_fn", "policy_args"),
}
"""What it doesn't have of the settings of learning, or isn't given."""
MODEL = runs.PEER
"""In a run folder, as Stable-Baselines3 saves it."""


def train(config: TrainConfig, run_dir: Path, request: StopRequest, command: str) -> bool:
    """Trains, from wherever the last save was; whether to the end.

    Args:
        config: the task's settings.
        run_dir: the run folder.
        request: ends the training once it is made, and it is saved, before the next rollout.
        command: for the run folder's record.
    """
    device = runs.check_device(config.device)
    config = dataclasses.replace(config, run_dir=str(run_dir))
    before = load(run_dir, device) if (run_dir / MODEL).is_file() else None
    first = 0 if before is None else before.num_timesteps
    # What Stable-Baselines3 loads draws from its beginning again, and so would new environments: the same once more.
    seed = config.seed + first
    with closing(training_envs(config.env, seed, device)) as vec_env:
        with user_errors(OSError, prefix=f"{run_dir} can't be written: "):
            if before is None:
                model = _new(config, vec_env, device)
                runs.create(run_dir, config, device, command)
            else:
                model = before
                model.set_env(vec_env)
                model.set_random_seed(seed)
                runs.note_continuation(run_dir, config, device, command, first)
        saves = SavesModel(run_dir, config.checkpoint_every, request)
        request.saved = False
        open_log(model, run_dir)
        reason = learn(model, config, request, LogsEpisodes(), saves, is_new=before is None)
    if reason != "signal":
        saves.save()
    runs.write_json(run_dir / runs.SUMMARY, {"stopped_by": reason, "timesteps": saves.steps})
    return reason != "signal"


def _new(config: TrainConfig, vec_env: VecEnv, device: torch.device) -> OnPolicyAlgorithm:
    policy_kwargs: dict[str, Any] = {}
    if embeds_codes(config.agent, vec_env.observation_space):
        sizes = {"features_dim": config.core.dim, "pooled": config.agent.pooled}
        policy_kwargs = {"features_extractor_class": MiniGridExtractor, "features_extractor_kwargs": sizes}
    algorithm = contrib.recurrent_ppo()
    model: OnPolicyAlgorithm = algorithm(
        policy_name(config.agent, vec_env.observation_space).replace("Policy", "LstmPolicy"),
        vec_env,
        policy_kwargs=policy_kwargs,
        seed=config.seed,
        device=device,
        **learning_arguments(config.agent, algorithm),
    )
    return model


def load(run_dir: Path, device: torch.device) -> OnPolicyAlgorithm:
    """The agent as it was saved last. For files that this program wrote: what Stable-Baselines3 loads can run code."""
    model: OnPolicyAlgorithm = contrib.recurrent_ppo().load(run_dir / MODEL, device=device)
    return model


class SavesModel(Saves):
    """Saves the agent as it is, in place of the one before.

    Args:
        run_dir: the run folder.
        every: environment steps between two saves.
        request: as `Saves`.
    """

    def __init__(self, run_dir: Path, every: int, request: StopRequest) -> None:
        super().__init__(every, request)
        self._path = run_dir / MODEL
        self.steps = 0
        """Environment steps of what is saved."""

    def save(self) -> None:
        """Saves the agent as it is now."""
        with runs.written_whole(self._path) as partial:
            self.model.save(partial)
        self.steps = self.model.num_timesteps


class LogsEpisodes(OurCallback):
    """Logs how many episodes the logged success rate and return are of, as our agent does."""

    def _on_rollout_end(self) -> None:
        buffers = (self.model.ep_info_buffer or (), self.model.ep_success_buffer or ())
        self.logger.record("rollout/episodes", max(map(len, buffers)))


class Stopped(Exception):
    """A stop was asked for while the agent played."""


class RecurrentActor:
    """The agent in environments, one step after the other, with the likeliest actions, as `experiments.acting.Actor`.

    Args:
        model: the agent.
        is_stopped: asked at each step; then `act` raises `Stopped`.
    """

    def __init__(self, model: OnPolicyAlgorithm, is_stopped: Callable[[], bool] = lambda: False) -> None:
        self._model, self._is_stopped = model, is_stopped
        self._state: Any = None

    def act(
        self,
        observations: Any,
        episode_starts: Bool[np.ndarray, " n_envs"],
        action_masks: Bool[np.ndarray, "n_envs choices"] | None = None,
    ) -> tuple[np.ndarray, None]:
        """Actions as the environments take them; of a memory in slots there is nothing to tell."""
        if self._is_stopped():
            raise Stopped
        actions, self._state = self._model.predict(observations, self._state, episode_starts, deterministic=True)
        return actions, None
