"""PPO with an expiring memory, to a Stable-Baselines3 user what sb3-contrib's RecurrentPPO is."""

import math
import warnings
from collections import defaultdict
from collections.abc import Sequence
from numbers import Integral
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from gymnasium import spaces
from jaxtyping import Float
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from stable_baselines3.common.utils import FloatSchedule, obs_as_tensor
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor
from torch.nn import functional

from agents.memory_statistics import MemoryStatistics
from agents.policies import CnnPolicy, ExpireSpanActorCriticPolicy, MlpPolicy, MultiInputPolicy, PolicyState
from agents.rollout import Minibatch, SegmentRolloutBuffer
from agents.span_coefficient import updated_coefficient

Self = TypeVar("Self", bound="ExpireSpanPPO")


class ExpireSpanPPO(OnPolicyAlgorithm):
    """Proximal policy optimisation (Schulman et al. 2017, arXiv 1707.06347) of a policy with an expiring memory.

    The memory is carried from step to step and from rollout to rollout on the policy's device. A rollout is
    trained on in whole segments, each from the memory as it was when the segment began, so that before the first
    gradient step acting and training agree (the PPO ratio is 1).

    The arguments are those of sb3-contrib's RecurrentPPO where they mean the same; three defaults differ:
    `batch_size` 256 (there 128), `n_epochs` 4 (10), `ent_coef` 0.01 (0.0).

    Args:
        policy: `"MlpPolicy"`, `"CnnPolicy"`, `"MultiInputPolicy"`, or a subclass of `ExpireSpanActorCriticPolicy`.
        env: an environment, a vector of them, or a registered id.
        learning_rate: or a schedule of the progress remaining (1 to 0).
        n_steps: steps of each environment in a rollout.
        batch_size: steps in a minibatch, rounded to whole segments.
        n_epochs: passes over a rollout.
        gamma: discount.
        gae_lambda: lambda of generalised advantage estimation.
        clip_range: of the policy's ratio; a number or a schedule.
        clip_range_vf: of the value's change; None: not clipped.
        normalize_advantage: to mean 0 and deviation 1 in each minibatch.
        ent_coef, vf_coef: weights of entropy and value loss.
        max_grad_norm: the gradient's norm is cut to it.
        use_sde, sde_sample_freq: state-dependent exploration, as in SB3.
        target_kl: stop a rollout's updates once the approximate KL divergence exceeds 1.5 times it; None: never.
        stats_window_size: episodes that the logged means are over.
        tensorboard_log, policy_kwargs, verbose, seed, device, _init_setup_model: as in SB3; the memory core's
            sizes go into `policy_kwargs`.
        segment_length: steps trained in one call of the core, a divisor of `n_steps`; default: the greatest up
            to 64.
        expire_loss_coef: the greatest weight of the span loss, reached while memories exceed the budget.
        memory_budget: live memories a step and layer that cost nothing (see `updated_coefficient`), or a schedule;
            default: half of the slots; 0 charges always, with `expire_loss_coef` as a constant.

    Raises:
        ValueError: for sizes that don't fit.
    """

    policy: ExpireSpanActorCriticPolicy
    rollout_buffer: SegmentRolloutBuffer  # type: ignore[assignment]  # SB3's lies on the host, step by step
    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": MlpPolicy,
        "CnnPolicy": CnnPolicy,
        "MultiInputPolicy": MultiInputPolicy,
    }

    def __init__(
        self,
        policy: str | type[ExpireSpanActorCriticPolicy],
        env: GymEnv | str | None,
        learning_rate: float | Schedule = 3e-4,
        n_steps: int = 128,
        batch_size: int = 256,
        n_epochs: int = 4,
        gamma: float = 0.99,
        gae_lambda: float = 0.95,
        clip_range: float | Schedule = 0.2,
        clip_range_vf: float | Schedule | None = None,
        normalize_advantage: bool = True,
        ent_coef: float = 0.01,
        vf_coef: float = 0.5,
        max_grad_norm: float = 0.5,
        use_sde: bool = False,
        sde_sample_freq: int = -1,
        target_kl: float | None = None,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
        *,
        segment_length: int | None = None,
        expire_loss_coef: float = 1e-4,
        memory_budget: float | Schedule | None = None,
    ) -> None:
        super().__init__(
            policy,
            env,  # type: ignore[arg-type]  # SB3's own load passes None, against its annotation
            learning_rate=learning_rate,
            n_steps=n_steps,
            gamma=gamma,
            gae_lambda=gae_lambda,
            ent_coef=ent_coef,
            vf_coef=vf_coef,
            max_grad_norm=max_grad_norm,
            use_sde=use_sde,
            sde_sample_freq=sde_sample_freq,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            policy_kwargs=policy_kwargs,
            verbose=verbose,
            seed=seed,
            device=device,
            _init_setup_model=False,
            supported_action_spaces=(spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary),
        )
        self.batch_size = batch_size
        self.n_epochs = n_epochs
        self.clip_range = clip_range
        self.clip_range_vf = clip_range_vf
        self.normalize_advantage = normalize_advantage
        self.target_kl = target_kl
        self.segment_length = segment_length
        self.expire_loss_coef = expire_loss_coef
        self.memory_budget = memory_budget
        self.memory_statistics: dict[str, float] = {}
        """What the memory did in the last rollout, see `MemoryStatistics.read`."""
        self.span_coefficient = 0.0
        """The weight of the span loss now."""
        self._state: PolicyState | None = None
        if _init_setup_model:
            self._setup_model()

    # --- set-up, save and load ---

    def _setup_model(self) -> None:
        self._setup_lr_schedule()
        self.set_random_seed(self.seed)
        if not issubclass(self.policy_class, ExpireSpanActorCriticPolicy):
            raise ValueError(
                f"policy={self.policy_class.__name__} has no expiring memory; take one of {list(self.policy_aliases)} "
                f"or a subclass of ExpireSpanActorCriticPolicy"
            )
        policy = self.policy_class(
            self.observation_space, self.action_space, self.lr_schedule, use_sde=self.use_sde, **self.policy_kwargs
        )
        self.policy = policy.to(self.device)
        core = self.policy.core
        if 0 < core.slots <= core.ramp_length:
            warnings.warn(
                f"slots={core.slots} don't exceed ramp_length={core.ramp_length}: every state lives for the ramp at "
                f"least, so live states will be evicted; take more slots or a shorter ramp",
                stacklevel=3,
            )
        segment_length, self._segments_per_batch = self._fit_sizes()
        self.memory_budget = FloatSchedule(core.slots / 2 if self.memory_budget is None else self.memory_budget)
        self.rollout_buffer = SegmentRolloutBuffer(
            self.n_steps,
            self.n_envs,
            segment_length,
            self.observation_space,
            self.action_space,
            core,
            self.device,
            self.gamma,
            self.gae_lambda,
        )
        self.clip_range = FloatSchedule(self.clip_range)
        if self.clip_range_vf is not None:
            self.clip_range_vf = FloatSchedule(self.clip_range_vf)

    def _fit_sizes(self) -> tuple[int, int]:
        """The length of a segment, and the number of segments in a minibatch."""
        for name, size in (("n_steps", self.n_steps), ("batch_size", self.batch_size), ("n_epochs", self.n_epochs)):
            if not isinstance(size, Integral) or isinstance(size, bool) or size < 1:
                raise ValueError(f"{name}={size!r} must be a whole number, at least 1")
        for name, weight in (("expire_loss_coef", self.expire_loss_coef), ("memory_budget", self.memory_budget)):
            if isinstance(weight, int | float) and weight < 0:
                raise ValueError(f"{name}={weight} must be 0 or more")
        divisors = [n for n in range(1, self.n_steps + 1) if self.n_steps % n == 0]
        length = self.segment_length
        if length is None:
            length = max(n for n in divisors if n <= 64)
            if length < min(16, self.n_steps):
                warnings.warn(
                    f"n_steps={self.n_steps} can only be cut into segments of {length} steps, too short to learn "
                    f"from; take a multiple of 32 or 64",
                    stacklevel=4,
                )
        elif length not in divisors:
            raise ValueError(
                f"segment_length={length} doesn't divide n_steps={self.n_steps}; it can be one of {divisors}"
            )
        available = self.n_steps * self.n_envs // length
        segments = min(max(1, round(self.batch_size / length)), available)
        if segments * length != self.batch_size and segments < available:
            warnings.warn(
                f"batch_size={self.batch_size} is rounded to {segments * length}: {segments} whole segment(s) of "
                f"{length} steps, of {available} in a rollout",
                stacklevel=4,
            )
        return length, segments

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_state"]

    # --- acting ---

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, Any]:
        """Actions for observations, and the state for the next call; see the policy's `predict`."""
        return self.policy.predict(observation, state, episode_start, deterministic)

    def collect_rollouts(
        self,
        env: VecEnv,
        callback: BaseCallback,
        rollout_buffer: RolloutBuffer | SegmentRolloutBuffer,
        n_rollout_steps: int,
    ) -> bool:
        """Fills the buffer with `n_rollout_steps` of each environment; False if the callback stopped it.

        All that is carried and kept stays on the policy's device. What crosses at each step: observations and episode
        starts go there, actions come back, with two flags of PyTorch's check that the probabilities are valid; the
        final observations of episodes cut off go there too. Rewards go, and statistics come back, once a rollout.
        """
        obs: Any = self._last_obs
        assert obs is not None, "learn() resets the environments first"
        assert isinstance(rollout_buffer, SegmentRolloutBuffer)
        self.policy.set_training_mode(False)
        statistics = MemoryStatistics()
        state = self._first_state(env.num_envs)
        rollout_rewards = np.zeros((n_rollout_steps, env.num_envs), dtype=np.float32)
        bootstraps = torch.zeros(n_rollout_steps, env.num_envs, device=self.device)
        if self.use_sde:
            self.policy.reset_noise(env.num_envs)
        callback.on_rollout_start()

        for step in range(n_rollout_steps):
            if self.use_sde and self.sde_sample_freq > 0 and step % self.sde_sample_freq == 0:
                self.policy.reset_noise(env.num_envs)
            rollout_buffer.store_memory(step, state.cache.memory)
            with torch.no_grad():
                obs_tensor = obs_as_tensor(obs, self.device)
                starts = torch.as_tensor(self._last_episode_starts, dtype=torch.bool, device=self.device)
                act = self.policy.act(obs_tensor, state, starts, in_place=True)
            state = act.state
            actions, values, log_probs = act.actions, act.values, act.log_prob
            rollout_buffer.store(step, obs_tensor, starts, actions, values, log_probs)
            statistics.add(act.step)

            clipped_actions = self.policy.to_env_actions(actions)
            self._state = None  # written already: not to be gone on with should the environments raise
            new_obs, rewards, dones, infos = env.step(clipped_actions)
            # Together and before the callback, which may stop here: memory and environments stay in step.
            self._state, self._last_obs, self._last_episode_starts = state, new_obs, dones  # type: ignore[assignment]
            rollout_rewards[step] = rewards
            self.num_timesteps += env.num_envs
            callback.update_locals(locals())
            if not callback.on_step():
                return False
            self._update_info_buffer(list(infos), dones)
            self._bootstrap(bootstraps[step], state, dones, infos)
            obs = new_obs

        with torch.no_grad():
            last_dones = torch.as_tensor(dones, dtype=torch.bool, device=self.device)
            last_values = self.policy.predict_values(obs_as_tensor(obs, self.device), state, last_dones)
        rollout_buffer.compute_returns_and_advantage(
            torch.as_tensor(rollout_rewards, device=self.device) + self.gamma * bootstraps, last_values, last_dones
        )
        self.memory_statistics = statistics.read(self.policy.core.slots)
        for name, value in self.memory_statistics.items():
            self.logger.record(f"memory/{name}", value)
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    def _first_state(self, n_envs: int) -> PolicyState:
        """The state that a rollout starts from: the last one's memory, seen with the weights as they are now."""
        if self._state is not None:
            return self.policy.projected(self._state.cache.memory)
        # A loaded model may be in mid-episode, but what it remembered of it isn't saved.
        self._last_episode_starts = np.ones(n_envs, dtype=bool)
        return self.policy.initial_state(n_envs)

    def _bootstrap(
        self,
        bootstraps: Float[Tensor, " n_envs"],
        state: PolicyState,
        dones: np.ndarray,
        infos: Sequence[dict[str, Any]],
    ) -> None:
        """Writes the value of the final observation where an episode was cut off by its time limit.

        It is seen with the memory of that episode, as the next step would have seen it.
        """
        cut = [
            i
            for i in np.flatnonzero(dones).tolist()
            if infos[i].get("TimeLimit.truncated") and "terminal_observation" in infos[i]
        ]
        if not cut:
            return
        finals = [infos[i]["terminal_observation"] for i in cut]
        if isinstance(self.observation_space, spaces.Dict):
            stacked: Any = {key: np.stack([final[key] for final in finals]) for key in finals[0]}
        else:
            stacked = np.stack(finals)
        with torch.no_grad():
            rows = torch.as_tensor(cut, device=self.device)
            of_cut = PolicyState(state.cache.select(rows), state.version)
            starts = torch.zeros(len(cut), dtype=torch.bool, device=self.device)
            bootstraps[rows] = self.policy.predict_values(obs_as_tensor(stacked, self.device), of_cut, starts)

    # --- training ---

    def train(self) -> None:
        """Updates the policy from the rollout: `n_epochs` passes over its segments."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        assert callable(self.clip_range)
        assert callable(self.memory_budget)
        budget = self.memory_budget(self._current_progress_remaining)
        self.span_coefficient = updated_coefficient(
            self.span_coefficient, self.memory_statistics["live_memories"], budget, self.expire_loss_coef
        )
        clip_range = self.clip_range(self._current_progress_remaining)
        clip_range_vf = None
        if callable(self.clip_range_vf):
            clip_range_vf = self.clip_range_vf(self._current_progress_remaining)

        logs: dict[str, list[Tensor]] = defaultdict(list)
        for _ in range(self.n_epochs):
            if not self._epoch(clip_range, clip_range_vf, logs):
                break
        self.policy.weights_changed()
        for name, values in logs.items():
            self.logger.record(f"train/{name}", torch.stack(values).mean().item())
        self.logger.record("train/explained_variance", self._explained_variance())
        if hasattr(self.policy, "log_std"):
            self.logger.record("train/std", self.policy.log_std.exp().mean().item())
        self.logger.record("train/span_coef", self.span_coefficient)
        self.logger.record("train/memory_budget", budget)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/clip_range", clip_range)
        if clip_range_vf is not None:
            self.logger.record("train/clip_range_vf", clip_range_vf)

    def _epoch(self, clip_range: float, clip_range_vf: float | None, logs: dict[str, list[Tensor]]) -> bool:
        """One pass over the segments; False once the policy has moved further than `target_kl` allows."""
        optimizer = self.policy.optimizer
        for batch in self.rollout_buffer.minibatches(self._segments_per_batch):
            loss, parts = self._loss(batch, clip_range, clip_range_vf)
            for name, part in parts.items():
                logs[name].append(part)
            if self.target_kl is not None and parts["approx_kl"].item() > 1.5 * self.target_kl:
                self._n_updates += 1
                return False
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
            optimizer.step()
        self._n_updates += 1
        return True

    def _loss(
        self, batch: Minibatch, clip_range: float, clip_range_vf: float | None
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """PPO's loss of a minibatch with the span loss, and its parts for the log."""
        now = self.policy.evaluate_segments(batch.obs, batch.actions, batch.memory, batch.episode_starts)
        advantages = batch.advantages
        if self.normalize_advantage and advantages.numel() > 1:
            advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        log_ratio = now.log_prob - batch.old_log_prob
        ratio = log_ratio.exp()
        policy_loss = -torch.min(advantages * ratio, advantages * ratio.clamp(1 - clip_range, 1 + clip_range)).mean()
        values = now.values
        if clip_range_vf is not None:
            values = batch.old_values + (values - batch.old_values).clamp(-clip_range_vf, clip_range_vf)
        value_loss = functional.mse_loss(values, batch.returns)
        entropy = -now.log_prob.mean() if now.entropy is None else now.entropy.mean()
        loss = policy_loss - self.ent_coef * entropy + self.vf_coef * value_loss + self.span_coefficient * now.span_loss
        with torch.no_grad():
            parts = {
                "loss": loss,
                "policy_gradient_loss": policy_loss,
                "value_loss": value_loss,
                "entropy_loss": -entropy,
                "span_loss": now.span_loss,
                # Schulman's low-variance estimate, http://joschu.net/blog/kl-approx.html
                "approx_kl": (ratio - 1 - log_ratio).mean(),
                "clip_fraction": ((ratio - 1).abs() > clip_range).float().mean(),
            }
        return loss, {name: part.detach() for name, part in parts.items()}

    def _explained_variance(self) -> float:
        """1 - Var(returns - values) / Var(returns) over the rollout; NaN where all returns are equal."""
        returns, values = self.rollout_buffer.returns, self.rollout_buffer.values
        variance = returns.var(correction=0).item()
        return math.nan if variance == 0 else 1 - (returns - values).var(correction=0).item() / variance

    def learn(
        self: Self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 1,
        tb_log_name: str = "ExpireSpanPPO",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Trains for `total_timesteps` steps, all environments counted; as in SB3."""
        return super().learn(total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar)
