"""PPO with an expiring memory, to a Stable-Baselines3 user what sb3-contrib's RecurrentPPO is."""

import math
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral
from typing import Any, ClassVar, Literal, TypeVar

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
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn
from torch import Tensor

from agents.captured import captured
from agents.collection import (
    Actor,
    Episodes,
    GroupedEnv,
    TensorEnv,
    TensorRollout,
    Timings,
    groups_of,
    tensor_env_of,
    unvalidated,
)
from agents.gradient import MinibatchGradient
from agents.loss import LossParts, Weights
from agents.memory_statistics import MemoryStatistics
from agents.policies import CnnPolicy, ExpireSpanActorCriticPolicy, MlpPolicy, MultiInputPolicy, PolicyState
from agents.rollout import SegmentRolloutBuffer
from agents.span_coefficient import updated_coefficient
from expire_span import Memory

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
        precision: of matrix products: `"float32"`, `"tf32"` (CUDA rounds their inputs to 10 bits) or `"bf16"`
            (autocast to bfloat16). Spans, ages and masks are float32 in each.
        compile: `torch.compile` acting step and loss; takes about a minute, once a process. Default: on CUDA.
        cuda_graphs: capture the acting step, and environments that are tensors with it, as one CUDA graph; not with
            `use_sde`. No part of the policy may then wait for the host.

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
        precision: Literal["float32", "tf32", "bf16"] = "float32",
        compile: bool | None = None,
        cuda_graphs: bool = True,
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
        self.precision, self.compile, self.cuda_graphs = precision, compile, cuda_graphs
        self.timings = Timings()
        """Seconds spent since `learn` began."""
        self._waited = 0.0
        self._memory: Memory | None = None
        self._actors: list[Actor] = []
        self._programs: list[Callable[[], None]] = []
        self._tensor_rollout: TensorRollout | None = None
        self._gradient: MinibatchGradient | None = None
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
        self._statistics = MemoryStatistics(self.n_steps, self.n_envs, core, self.device)
        self._graphs = self.device.type == "cuda" and self.cuda_graphs and not self.use_sde
        self._compiles = self.device.type == "cuda" if self.compile is None else self.compile
        self._act = torch.compile(self.policy.step, dynamic=False) if self._compiles else self.policy.step
        self._gradient = None
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
        return [
            *super()._excluded_save_params(),
            *(
                "_memory",
                "_actors",
                "_programs",
                "_tensor_rollout",
                "_statistics",
                "_act",
                "_gradient",
            ),
        ]

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

        All that is carried and kept stays on the policy's device. Environments that are tensors there (`tensor_env`)
        step in one program with the policy, and their episodes are read at the rollout's end: the callback is called
        at each step, but `infos` are empty, and `dones` tell at the last step who ended an episode in the rollout.
        With others, observations and episode starts go there at each step and actions come back; final observations
        of episodes cut off go there too. Rewards go, and statistics come back, once a rollout.
        """
        assert self._last_obs is not None, "learn() resets the environments first"
        assert isinstance(rollout_buffer, SegmentRolloutBuffer)
        self.policy.set_training_mode(False)
        if self.use_sde:
            self.policy.reset_noise(env.num_envs)
        callback.on_rollout_start()
        began = time.perf_counter()
        tensor_env = tensor_env_of(env, self.device)
        with self._precise():
            if tensor_env is None:
                collected = self._collect_from_host(env, callback, n_rollout_steps)
            else:
                collected = self._collect_tensors(tensor_env, callback, n_rollout_steps)
            if collected is None:
                return False
            rewards, last_values, last_dones = collected
            rollout_buffer.compute_returns_and_advantage(rewards, last_values, last_dones)
        self.memory_statistics = self._statistics.read()
        self._spent(rollout=time.perf_counter() - began)
        for name, value in self.memory_statistics.items():
            self.logger.record(f"memory/{name}", value)
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    def _collect_from_host(
        self, env: VecEnv, callback: BaseCallback, n_rollout_steps: int
    ) -> tuple[Tensor, Tensor, Tensor] | None:
        """Rewards (n_steps, n_envs), last values and last dones; None if the callback stopped it.

        Environments in several groups (`group_slices`, `send`, `receive`) step while the policy acts in the others.
        """
        groups, buffer = groups_of(env), self.rollout_buffer
        ahead = len(groups) > 1
        memory, obs, starts = self._first_memory(env.num_envs), self._last_obs, self._last_episode_starts
        assert starts is not None
        if [actor.rows for actor in self._actors] != list(groups):
            self._actors = [self._new_actor(rows) for rows in groups]
            self._programs = [captured(actor.program, actor.rewind, self._graphs) for actor in self._actors]
        for actor in self._actors:
            actor.begin(Memory(*(part[:, actor.rows] for part in memory)))
            actor.see(_rows(obs, actor.rows), starts[actor.rows])
        rollout_rewards = np.zeros((n_rollout_steps, env.num_envs), dtype=np.float32)
        bootstraps = torch.zeros(n_rollout_steps, env.num_envs, device=self.device)
        sent: dict[int, list[np.ndarray]] = defaultdict(list)
        stopping = False

        def act(group: int, step: int) -> None:
            actor = self._actors[group]
            if self.use_sde and self.sde_sample_freq > 0 and step > 0 and step % self.sde_sample_freq == 0:
                self.policy.reset_noise(env.num_envs)
            buffer.store_memory(step, actor.state.cache.memory, actor.rows)
            self._programs[group]()
            actions = self.policy.to_env_actions(actor.actions)
            sent[step].append(actions)
            self._memory = None  # written already: not to be gone on with should the environments raise
            if ahead:
                assert isinstance(env, GroupedEnv)
                env.send(group, actions)
            else:
                env.step_async(actions)

        def receive(group: int) -> VecEnvStepReturn:
            waiting = time.perf_counter()
            if ahead:
                assert isinstance(env, GroupedEnv)
                received = env.receive(group)
            else:
                received = env.step_wait()
            self._waited += time.perf_counter() - waiting
            return received

        if ahead:
            for group in range(len(groups)):
                act(group, 0)
        for step in range(n_rollout_steps):
            infos: list[dict[str, Any]] = []
            observed, finished = [], []
            for group, actor in enumerate(self._actors):
                if not ahead:
                    act(group, step)
                group_obs, rewards, group_dones, group_infos = receive(group)
                observed.append(group_obs)
                finished.append(group_dones)
                infos += group_infos
                rollout_rewards[step, actor.rows] = rewards
                actor.see(group_obs, group_dones)
                self._bootstrap(bootstraps[step, actor.rows], actor, group_dones, group_infos)
                if ahead and step + 1 < n_rollout_steps and not stopping:
                    act(group, step + 1)
            new_obs, dones = _joined(observed), np.concatenate(finished)
            # Together and before the callback, which may stop here: memory and environments stay in step.
            in_flight = ahead and step + 1 < n_rollout_steps and not stopping
            if not in_flight:
                self._memory = _memory_of(self._actors)
            self._last_obs, self._last_episode_starts = new_obs, dones
            self.num_timesteps += env.num_envs
            # By the names that SB3's callbacks know.
            rewards, actions = rollout_rewards[step], buffer.actions[step]
            values, log_probs, clipped_actions = buffer.values[step], buffer.log_prob[step], _joined(sent.pop(step))
            callback.update_locals(locals())
            # What is in flight when the callback stops is still waited for.
            stopping = stopping or not callback.on_step()
            if stopping and not in_flight:
                return None
            if dones.any():
                self._update_info_buffer(infos, dones)
        last_values = torch.cat([actor.values(actor.obs, actor.starts) for actor in self._actors])
        last_dones = torch.cat([actor.starts for actor in self._actors])
        rewards_there = torch.as_tensor(rollout_rewards, device=self.device)
        return rewards_there + self.gamma * bootstraps, last_values, last_dones

    def _collect_tensors(
        self, env: TensorEnv, callback: BaseCallback, n_rollout_steps: int
    ) -> tuple[Tensor, Tensor, Tensor] | None:
        """As `_collect_from_host`, from environments that are tensors on the policy's device."""
        memory = self._first_memory(self.n_envs)
        if self._tensor_rollout is None or self._tensor_rollout.env is not env:
            actor = self._new_actor(slice(0, self.n_envs))
            self._tensor_rollout = TensorRollout(actor, env, self.gamma, self._graphs)
        rollout, actor = self._tensor_rollout, self._tensor_rollout.actor
        actor.begin(memory)
        assert self._last_episode_starts is not None
        actor.see(self._last_obs, self._last_episode_starts)
        infos: list[dict[str, Any]] = [{}] * self.n_envs
        dones = np.zeros(self.n_envs, dtype=bool)
        for step, _ in enumerate(rollout.run()):
            self.num_timesteps += self.n_envs
            last = step + 1 == n_rollout_steps
            if last:
                episodes = rollout.episodes(self._stats_window_size)
                dones = rollout.ended.any(0).cpu().numpy()
                self._count(episodes)
            callback.update_locals(locals())
            go_on = callback.on_step()
            if last or not go_on:
                self._memory = actor.state.cache.memory
                self._last_obs = actor.obs.cpu().numpy() if isinstance(actor.obs, Tensor) else None
                self._last_episode_starts = actor.starts.cpu().numpy()
            if not go_on:
                return None
        return rollout.rewards, actor.values(actor.obs, actor.starts), actor.starts

    def _count(self, episodes: Episodes) -> None:
        """Adds the episodes to SB3's statistics."""
        assert self.ep_info_buffer is not None
        assert self.ep_success_buffer is not None
        seconds = time.time_ns() / 1e9 - self.start_time / 1e9
        for r, length in zip(episodes.returns.tolist(), episodes.lengths.tolist(), strict=True):
            self.ep_info_buffer.append({"r": r, "l": length, "t": seconds})
        self.ep_success_buffer.extend(episodes.successes.tolist())

    def _new_actor(self, rows: slice) -> Actor:
        return Actor(self.policy, self._act, self.rollout_buffer, self._statistics, rows)

    def _first_memory(self, n_envs: int) -> Memory:
        """The memory that a rollout starts from."""
        if self._memory is not None:
            return self._memory
        # A loaded model may be in mid-episode, but what it remembered of it isn't saved.
        self._last_episode_starts = np.ones(n_envs, dtype=bool)
        return self.policy.core.empty_memory(n_envs)

    def _bootstrap(
        self,
        bootstraps: Float[Tensor, " n_envs"],
        actor: Actor,
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
            of_cut = PolicyState(actor.state.cache.select(rows), actor.state.version)
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

        began = time.perf_counter()
        weights = Weights.of(self.device, clip_range, clip_range_vf, self.ent_coef, self.vf_coef, self.span_coefficient)
        if self._gradient is None:
            self._gradient = MinibatchGradient(
                self.policy,
                self.rollout_buffer,
                weights,
                self._segments_per_batch,
                self.normalize_advantage,
                self.max_grad_norm,
                self._compiles,
                self._graphs,
            )
        self._gradient.weigh(weights)
        logs: list[LossParts] = []
        with self._precise(), unvalidated():
            for _ in range(self.n_epochs):
                if not self._epoch(self._gradient, logs):
                    break
        means = torch.stack([torch.stack(parts) for parts in logs]).mean(0).tolist()
        for name, mean in zip(LossParts._fields, means, strict=True):
            self.logger.record(f"train/{name}", mean)
        self._spent(update=time.perf_counter() - began)
        self.logger.record("train/explained_variance", self._explained_variance())
        if hasattr(self.policy, "log_std"):
            self.logger.record("train/std", self.policy.log_std.exp().mean().item())
        self.logger.record("train/span_coef", self.span_coefficient)
        self.logger.record("train/memory_budget", budget)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/clip_range", clip_range)
        if clip_range_vf is not None:
            self.logger.record("train/clip_range_vf", clip_range_vf)

    def _epoch(self, gradient: MinibatchGradient, logs: list[LossParts]) -> bool:
        """One pass over the segments; False once the policy has moved further than `target_kl` allows."""
        self._n_updates += 1
        for rows in self.rollout_buffer.shuffled(self._segments_per_batch):
            logs.append(gradient(rows))
            if self.target_kl is not None and logs[-1].approx_kl.item() > 1.5 * self.target_kl:
                return False
            self.policy.optimizer.step()
        return True

    @contextmanager
    def _precise(self) -> Iterator[None]:
        """Within this block, matrix products have the precision asked for."""
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest" if self.precision == "float32" else "high")
        try:
            # No cache of weights cast before: a captured graph would go on reading them.
            bf16 = self.precision == "bf16"
            with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16, cache_enabled=False):
                yield
        finally:
            torch.set_float32_matmul_precision(before)

    def _spent(self, rollout: float = 0.0, update: float = 0.0) -> None:
        """Counts seconds; those of a rollout that weren't waited for environments are acting's."""
        acting, env = max(0.0, rollout - self._waited), min(rollout, self._waited)
        self.timings = Timings(*map(sum, zip(self.timings, (acting, env, update), strict=True)))
        self._waited = 0.0
        total = sum(self.timings)
        for name, seconds in zip(Timings._fields, self.timings, strict=True):
            self.logger.record(f"time/{name}_share", seconds / total)

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
        self.timings = Timings()
        return super().learn(total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar)


def _rows(obs: Any, rows: slice) -> Any:
    """The observations of some of the environments."""
    return {key: part[rows] for key, part in obs.items()} if isinstance(obs, dict) else obs[rows]


def _joined(observed: list[Any]) -> Any:
    """The observations of all groups as one array, in each entry of a dict."""
    if len(observed) == 1:
        return observed[0]
    if isinstance(observed[0], dict):
        return {key: np.concatenate([part[key] for part in observed]) for key in observed[0]}
    return np.concatenate(observed)


def _memory_of(actors: list[Actor]) -> Memory:
    """The memory of all environments; of a single actor its own tensors."""
    if len(actors) == 1:
        return actors[0].state.cache.memory
    return Memory(
        *(torch.cat(parts, dim=1) for parts in zip(*(actor.state.cache.memory for actor in actors), strict=True))
    )
