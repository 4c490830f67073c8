"""PPO with an expiring memory, to a Stable-Baselines3 user what sb3-contrib's RecurrentPPO is."""

import io
import math
import time
import warnings
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any, ClassVar, TypeVar

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from stable_baselines3.common.utils import FloatSchedule, get_system_info
from stable_baselines3.common.vec_env import VecEnv

from agents.action_masks import uses_masks
from agents.argument_checks import check_arguments
from agents.captured import Machinery, places
from agents.checkpoint import CheckpointError, Tree
from agents.collection import Episodes, Position, Rollout, RolloutStep, Timings, window_reaches
from agents.core_checks import check_core
from agents.cores import Memory
from agents.cores.sizes import check_whole
from agents.finite import check_update
from agents.gradient import GradientSettings, MinibatchGradient
from agents.host_rollout import HostRollout
from agents.loss import LossParts, Weights
from agents.memory_statistics import MemoryStatistics, statistics_of
from agents.policies import CnnPolicy, ExpireSpanActorCriticPolicy, MlpPolicy, MultiInputPolicy
from agents.precision import Precision, computing
from agents.rollout import SegmentRolloutBuffer, fit_segments, segments_of
from agents.saving.model import model_from_tree, model_to_tree, restore_parameters
from agents.saving.place import load_tree, save_tree
from agents.saving.training import resume_training, training_to_tree
from agents.space_checks import check_environment, check_numbers, check_observed, check_spaces
from agents.span_coefficient import coefficient, default_budget
from agents.tensor_rollout import TensorRollout, tensor_env_of

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
        normalize_advantage: to mean 0 and deviation 1 in each minibatch; see `min_advantage_std`.
        ent_coef, vf_coef: weights of entropy and value loss.
        max_grad_norm: the gradient's norm is cut to it.
        use_sde, sde_sample_freq: state-dependent exploration, as in SB3.
        target_kl: stop a rollout's updates once the approximate KL divergence exceeds 1.5 times it; None: never.
        stats_window_size: episodes that the logged means are over.
        tensorboard_log, policy_kwargs, verbose, seed, device, _init_setup_model: as in SB3; the memory core's
            sizes go into `policy_kwargs`.
        segment_length: steps trained in one call of the core, a divisor of `n_steps`; default: the greatest up
            to 64.
        min_advantage_std: the least that normalised advantages are divided by, on the scale of the rewards; without
            `normalize_advantage` it has no meaning. Once a policy makes no more mistakes its advantages are the noise
            of the value function, and divided by their own deviation they move the policy as far as mistakes did.
        expire_loss_coef: the greatest weight of the mean span in steps, reached while memories exceed the budget. The
            paper weighs e / R over the states on the ramp (`expire_span.CoreOutput.span_loss`), which never charges
            for a state that outlives its episode. Neither it nor the budget has a meaning for a core without spans,
            such as an LSTM.
        read_loss_coef: weight of the steps by which spans fall short of what the core's `read_margin` asks for states
            that were read (see `expire_span.CoreOutput.read_shortfall`); without a margin it has no meaning.
        memory_budget: live memories a step and layer that cost nothing, or a schedule (see `agents.span_coefficient`,
            also for the default); 0 charges always, with `expire_loss_coef` as a constant.
        forget_at_success: success rate of the newest `stats_window_size` episodes from which memory is charged for;
            while fewer of them succeed, or fewer have ended, nothing is, whatever the budget. For tasks in which it
            takes long until anything is gained by remembering, of environments that say `is_success` at each episode's
            end. Default: memory is charged for from the start.
        precision: of matrix products: `"float32"`, `"tf32"` (CUDA rounds their inputs to 10 bits) or `"bf16"`
            (autocast to bfloat16). Spans, ages, masks, attention's scores and the heads are float32 in each.
        compile: `torch.compile` acting step and loss; takes about a minute, once a process. Default: on CUDA.
        cuda_graphs: capture the acting step, and environments that are tensors with it, as one CUDA graph; not with
            `use_sde`. No part of the policy may then wait for the host.

    Raises:
        ValueError: for sizes that don't fit.
    """

    policy: ExpireSpanActorCriticPolicy
    _statistics: MemoryStatistics
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
        min_advantage_std: float = 0.0,
        expire_loss_coef: float = 1e-4,
        read_loss_coef: float = 1e-3,
        memory_budget: float | Schedule | None = None,
        forget_at_success: float | None = None,
        precision: Precision = "float32",
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
        self.normalize_advantage, self.min_advantage_std = normalize_advantage, min_advantage_std
        self.target_kl = target_kl
        self.segment_length = segment_length
        self.expire_loss_coef = expire_loss_coef
        self.read_loss_coef = read_loss_coef
        self.memory_budget = memory_budget
        self.forget_at_success = forget_at_success
        self.memory_statistics: dict[str, float] = {}
        """What the memory did in the last rollout, see `SlotStatistics.read`; empty of a core without slots."""
        self.span_coef = 0.0
        """The weight of the mean span in the loss now, `expire_loss_coef` at most."""
        self.precision, self.compile, self.cuda_graphs = precision, compile, cuda_graphs
        check_arguments(vars(self) | {"stats_window_size": stats_window_size})
        # Python's generator, which is seeded with it, takes none of NumPy's numbers, nor do queues.
        self.seed, self._stats_window_size = None if seed is None else int(seed), int(stats_window_size)
        self.timings = Timings()
        """Seconds spent since `learn` began."""
        self._told_of_silence = False
        self.use_masking: bool | None = None
        """As told to `learn`."""
        self._memory: Memory | None = None
        self._rollout: Rollout | None = None
        self._weights_at: tuple[int, ...] = ()
        """Where the policy's weights lay when the rollout was made."""
        self._gradient: MinibatchGradient | None = None
        if _init_setup_model:
            if env is None:
                raise ValueError(
                    "env=None: a new model needs environments; one that is to act alone is loaded from its file"
                )
            self._setup_model()

    # --- set-up, save and load ---

    def __getstate__(self) -> dict[str, Any]:
        """For `copy` and `pickle`: without the programs, which are of this model's tensors, and without the logger,
        which has files open. A copy makes its own when it learns."""
        state = vars(self) | {"_rollout": None, "_gradient": None, "_custom_logger": False}
        state.pop("_logger", None)
        return state

    @staticmethod
    def _wrap_env(env: GymEnv, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        if not isinstance(env, VecEnv):
            check_environment(env)
            check_numbers(env.observation_space)
        return OnPolicyAlgorithm._wrap_env(env, verbose, monitor_wrapper)

    def _setup_model(self) -> None:
        self._setup_lr_schedule()
        self.set_random_seed(self.seed)
        if not issubclass(self.policy_class, ExpireSpanActorCriticPolicy):
            raise ValueError(
                f"policy={self.policy_class.__name__} has no expiring memory; take one of {list(self.policy_aliases)} "
                f"or a subclass of ExpireSpanActorCriticPolicy"
            )
        default_extractor = "features_extractor_class" not in self.policy_kwargs
        nature_cnn = default_extractor and issubclass(self.policy_class, CnnPolicy | MultiInputPolicy)
        check_spaces(self.observation_space, self.action_space, nature_cnn)
        policy = self.policy_class(
            self.observation_space, self.action_space, self.lr_schedule, use_sde=self.use_sde, **self.policy_kwargs
        )
        self.policy = policy.to(self.device)
        core = self.policy.core
        check_core(core, self.read_loss_coef)
        segment_length = fit_segments(self.n_steps, self.n_envs, self.batch_size, self.n_epochs, self.segment_length)
        self.n_steps, self.n_epochs = int(self.n_steps), int(self.n_epochs)
        if self._waits_to_forget and self._stats_window_size < self.n_envs:
            warnings.warn(
                f"forget_at_success={self.forget_at_success:g} looks at the newest stats_window_size="
                f"{self._stats_window_size} episodes, of {self.n_envs} environments: at first the shortest ones; take "
                f"at least as many as there are environments",
                stacklevel=3,
            )
        if self.memory_budget is None:
            self.memory_budget = default_budget(core)
        self._keep_schedules()
        # Made by `learn`: who only acts needs neither, and for thousands of environments they are large.
        self.rollout_buffer, self._statistics = None, None  # type: ignore[assignment]
        self._rollout = self._gradient = None
        self._segment_length, self._within_rollout, self._amid_step = segment_length, False, False
        self._machinery = Machinery(
            self.device,
            compiles=self.device.type == "cuda" if self.compile is None else self.compile,
            captures=self.cuda_graphs and not self.use_sde,
        )

    def _keep_schedules(self) -> None:
        """Makes schedules of numbers: those that were given, and those that were set since."""
        for name in ("clip_range", "clip_range_vf", "memory_budget"):
            value = getattr(self, name)
            if value is not None:
                setattr(self, name, FloatSchedule(value))

    def _get_policy_from_name(self, policy_name: str) -> type[BasePolicy]:
        if policy_name not in self.policy_aliases:
            hint = ' (an LSTM is policy_kwargs={"core": "lstm"})' if "Lstm" in policy_name else ""
            raise ValueError(f"policy={policy_name!r} must be one of {', '.join(self.policy_aliases)}{hint}")
        return self.policy_aliases[policy_name]

    def _setup_learn(self, *args: Any, **kwargs: Any) -> tuple[int, BaseCallback]:
        check_whole("n_epochs", self.n_epochs)
        if self.rollout_buffer is None:
            if self.n_steps % self._segment_length:  # they were set since
                self._segment_length = fit_segments(
                    self.n_steps, self.n_envs, self.batch_size, self.n_epochs, self.segment_length
                )
            core = self.policy.core
            self.rollout_buffer = SegmentRolloutBuffer(
                self.n_steps,
                self.n_envs,
                self._segment_length,
                self.observation_space,
                self.action_space,
                core,
                self.device,
                self.gamma,
                self.gae_lambda,
            )
            self._statistics = statistics_of(core, self.n_steps, self.n_envs, self.device)
        elif self.rollout_buffer.n_steps != self.n_steps:
            raise ValueError(
                f"n_steps={self.n_steps} can't change once the model has learned: it was "
                f"{self.rollout_buffer.n_steps}; save the model, and load it with n_steps={self.n_steps}"
            )
        if self._amid_step:
            # The environments were broken off in a step, and begin anew.
            self._last_obs, self._amid_step = None, False
        begun = super()._setup_learn(*args, **kwargs)
        check_observed(self.observation_space, self._last_obs)
        return begun

    def save(
        self,
        path: str | Path | io.BufferedIOBase | IO[bytes],
        exclude: Iterable[str] | None = None,
        include: Iterable[str] | None = None,
    ) -> None:
        """Saves the model: arguments, weights, optimiser, counters; not its environments (see `save_training`).

        The file is in safetensors format, and is replaced whole or not at all.

        Args:
            path: of the file, `.safetensors` if it has no suffix; or an open binary file.
            exclude, include: SB3's; what is saved can't be chosen here.

        Raises:
            CheckpointError: if it can't be written.
            ValueError: for `exclude` or `include`.
        """
        if exclude or include:
            raise ValueError("exclude and include can't be given: a model's file always holds the same things")
        save_tree(path, model_to_tree(self))

    @classmethod
    def load(
        cls: type[Self],
        path: str | Path | io.BufferedIOBase | IO[bytes] | Tree,
        env: GymEnv | None = None,
        device: torch.device | str = "auto",
        custom_objects: dict[str, Any] | None = None,
        print_system_info: bool = False,
        force_reset: bool = True,
        classes: Mapping[str, type[Any]] | None = None,
        **kwargs: Any,
    ) -> Self:
        """A model from its file, of `save` or `save_training`. Nothing in the file is run.

        Args:
            path: of the file, or the same name with `.safetensors`, `.zip` or no suffix where there is none of that; an
                open binary file; or what was read from it.
            env: environments to go on training in; default: none, for acting alone.
            device: where it computes.
            custom_objects: arguments by name in place of the file's, such as a learning rate's function.
            print_system_info: print this system's versions.
            force_reset: SB3's; environments always start anew (see `resume`).
            classes: of the policy, its extractor or the like, by their names in the file, where these aren't
                registered (`agents.checkpoint.register`).
            kwargs: arguments that are to be others than they were.

        Raises:
            CheckpointError: if the file isn't a model's, or is damaged.
            ValueError: for environments with other spaces, or another `use_sde`.
        """
        if print_system_info:
            get_system_info()
        tree = path if isinstance(path, dict) else load_tree(path)
        wrapped = None if env is None else cls._wrap_env(env, kwargs.get("verbose", 0))
        return model_from_tree(cls, tree, wrapped, device, custom_objects, classes, kwargs)

    def save_training(self, path: str | Path) -> None:
        """Saves all that `resume` needs, between two rollouts: after `learn`, or in a callback's `_on_rollout_start`.

        Raises:
            CheckpointError: if it can't be written.
            ValueError: within a rollout or before its update, or before anything was learned.
        """
        save_tree(path, self.training_tree())

    def training_tree(self) -> Tree:
        """What `save_training` writes, for a `CheckpointSeries`. It holds the model's own tensors: write it at once.

        Raises:
            ValueError: as `save_training`.
        """
        if self._within_rollout:
            raise ValueError("a training can't be saved within a rollout: do it in a callback's _on_rollout_start")
        if self.env is None or self._last_obs is None:
            raise ValueError("there is no training to save yet: call learn before, or save for the model alone")
        return model_to_tree(self, training_to_tree(self))

    @classmethod
    def resume(
        cls: type[Self],
        path: str | Path | Tree,
        env: GymEnv,
        device: torch.device | str = "auto",
        custom_objects: dict[str, Any] | None = None,
        classes: Mapping[str, type[Any]] | None = None,
    ) -> tuple[Self, str | None]:
        """A training from the file of `save_training`: `learn(..., reset_num_timesteps=False)` goes on with it.

        Weights, optimiser, counters, schedules, running statistics, memory and all random generators are what they
        were, so are batched environments: on the CPU it is as if the training had never stopped. Other environments
        start anew.

        Args:
            path: of the file, or what was read from it.
            env: the environments, made as before and wrapped in the same way.
            device, custom_objects, classes: as in `load`.

        Returns:
            The model, and a note on what isn't as it was; None if all is.

        Raises:
            CheckpointError: if it isn't a training's file, or of other environments.
            ValueError: for environments with other spaces.
        """
        tree = path if isinstance(path, dict) else load_tree(path)
        wrapped = cls._wrap_env(env, 0)
        model = model_from_tree(cls, tree, wrapped, device, custom_objects, classes)
        assert isinstance(tree, dict)
        if tree["training"] is None:
            raise CheckpointError("the file has a model, and no training to resume: load it, and train anew from it")
        return model, resume_training(model, tree["training"])

    def set_parameters(
        self,
        load_path_or_dict: str | dict[str, Any],
        exact_match: bool = True,
        device: torch.device | str = "auto",
    ) -> None:
        """Sets weights and optimiser from `get_parameters()`, or from a model's file; as in SB3.

        Raises:
            CheckpointError: if the file isn't a model's, is damaged, or doesn't fit; the model is then as it was.
        """
        if isinstance(load_path_or_dict, dict):
            super().set_parameters(load_path_or_dict, exact_match, device)
        else:
            restore_parameters(self, load_tree(load_path_or_dict), exact_match)
        self.policy.weights_changed()

    # --- acting ---

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
        action_masks: Any = None,
    ) -> tuple[np.ndarray, Any]:
        """Actions for observations, and the state for the next call; see the policy's `predict`."""
        return self.policy.predict(observation, state, episode_start, deterministic, action_masks)

    def collect_rollouts(
        self,
        env: VecEnv,
        callback: BaseCallback,
        rollout_buffer: RolloutBuffer | SegmentRolloutBuffer,
        n_rollout_steps: int,
    ) -> bool:
        """Fills the buffer, which has `n_steps` of each environment; False if the callback stopped it.

        All that is carried and kept stays on the policy's device. Environments that are tensors there (`tensor_env`)
        step in one program with the policy, and nothing is read before the rollout's end: then the callback is called
        for each step, with its rewards and dones; `infos` are empty.
        With others, observations and episode starts go there at each step and actions come back; final observations
        of episodes cut off go there too. Rewards go, and statistics come back, once a rollout.

        Raises:
            FloatingPointError: for a reward or observation that isn't finite, naming the environment. Of environments
                that are tensors rewards alone are looked at, at the rollout's end.
        """
        assert self._last_obs is not None, "learn() resets the environments first"
        assert isinstance(rollout_buffer, SegmentRolloutBuffer)
        self.policy.set_training_mode(False)
        self._within_rollout = False
        # Before the noise is drawn: this is where a training can be saved.
        callback.on_rollout_start()
        if self.use_sde:
            self.policy.reset_noise(env.num_envs)
        began = time.perf_counter()
        with self._precise():
            rollout = self._rollout_in(env)
            self._begin(rollout, env.num_envs)
        self._within_rollout = True
        try:
            whole = self._collect(rollout, callback)
        except BaseException:
            self._within_rollout = False  # nothing is learned of it any more
            raise
        finally:
            self._last_obs, self._last_episode_starts, self._memory = rollout.position()
            self._amid_step = self._memory is None
        if not whole:
            self._within_rollout = False
            return False
        with self._precise():
            rollout_buffer.compute_returns_and_advantage(*rollout.outcome())
        self.memory_statistics = self._statistics.read()
        self._spent(rollout=time.perf_counter() - began, waited=rollout.waited)
        for name, value in self.memory_statistics.items():
            self.logger.record(f"memory/{name}", value)
        self.logger.record("rollout/episodes", max(map(len, (self.ep_info_buffer or (), self.ep_success_buffer or ()))))
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    def _begin(self, rollout: Rollout, n_envs: int) -> None:
        """Begins where the environments are. The memory of before is held by nobody then: the rollout has its own."""
        position = self._position(n_envs)
        # Should anything raise meanwhile, nothing is gone on with that isn't in step.
        self._memory, self._amid_step = None, True
        rollout.begin(position)

    def _collect(self, rollout: Rollout, callback: BaseCallback) -> bool:
        """Fills the buffer; whether the callback let it come to its end."""
        steps, whole = rollout.steps(), True
        while True:
            # The callback's own products and distributions are none of this.
            with self._precise():
                step = next(steps, None)
            if step is None:
                return whole
            self.num_timesteps += self.n_envs
            self._count(step)
            callback.update_locals(step._asdict())
            # What is in flight when the callback stops is still waited for.
            if whole and not callback.on_step():
                whole = False
                rollout.stop()

    def _rollout_in(self, env: VecEnv) -> Rollout:
        """What collects in these environments: made once."""
        tensor_env = tensor_env_of(env, self.device)
        weights_at = places(self.policy)
        if self._rollout is None or self._rollout.env is not (tensor_env or env) or self._weights_at != weights_at:
            # Should making it fail, the one of before isn't gone on with.
            self._rollout, self._weights_at = None, weights_at
            if self.rollout_buffer.keep_masks(uses_masks(env, self.use_masking)):
                self._gradient = None
            parts = self.policy, self.rollout_buffer, self._statistics
            # Programs act a few times before they are captured; a resumed training is to draw as if they hadn't.
            with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
                if tensor_env is not None:
                    newest = self._stats_window_size
                    self._rollout = TensorRollout(*parts, tensor_env, newest, self._renew_noise, self._machinery)
                else:
                    self._rollout = HostRollout(*parts, env, self._renew_noise, self._machinery)
        return self._rollout

    def _renew_noise(self, step: int) -> None:
        """Draws new matrices for state-dependent exploration where it is time for it."""
        if self.use_sde and self.sde_sample_freq > 0 and step > 0 and step % self.sde_sample_freq == 0:
            self.policy.reset_noise(self.n_envs)

    def _position(self, n_envs: int) -> Position:
        """Where a rollout starts from."""
        starts, memory = self._last_episode_starts, self._memory
        if memory is None:
            # A loaded model may be in mid-episode, but what it remembered of it isn't saved.
            starts, memory = np.ones(n_envs, dtype=bool), self.policy.core.empty_memory(n_envs)
        assert starts is not None
        return Position(self._last_obs, starts, memory)

    def _count(self, step: RolloutStep) -> None:
        """Adds the episodes that ended to SB3's statistics."""
        if step.episodes is not None:
            self._count_episodes(step.episodes)
        elif step.dones.any():
            ended = np.flatnonzero(step.dones).tolist()
            infos = [step.infos[i] for i in ended]
            self._update_info_buffer(infos, step.dones[ended])
            looks = self._waits_to_forget and not self._told_of_silence
            if looks and not all("is_success" in info for info in infos):
                self._told_of_silence = True
                warnings.warn(
                    f"forget_at_success={self.forget_at_success:g} needs environments that say at each episode's end "
                    f"whether it succeeded, is_success in its info: this one didn't, and doesn't count",
                    stacklevel=2,
                )

    def _count_episodes(self, episodes: Episodes) -> None:
        assert self.ep_info_buffer is not None
        assert self.ep_success_buffer is not None
        seconds = time.time_ns() / 1e9 - self.start_time / 1e9
        for r, length in zip(episodes.returns.tolist(), episodes.lengths.tolist(), strict=True):
            self.ep_info_buffer.append({"r": r, "l": length, "t": seconds})
        self.ep_success_buffer.extend(episodes.successes.tolist())

    # --- training ---

    def train(self) -> None:
        """Updates the policy from the rollout: `n_epochs` passes over its segments.

        Raises:
            FloatingPointError: if a loss or weight isn't finite. Gradients that aren't are left out, so that the model
                is as good as it was, but for these.
        """
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        self._keep_schedules()
        began = time.perf_counter()
        weights = self._weights()
        segments = segments_of(self.batch_size, self._segment_length, self.rollout_buffer.n_segments * self.n_envs)
        gradient = self._gradient_of(weights, segments)
        logs: list[LossParts] = []
        with self._precise():
            for _ in range(self.n_epochs):
                if not self._epoch(gradient, segments, logs):
                    break
        for name, mean in check_update(logs, self.policy.parameters(), self._n_updates).items():
            if self.policy.has_spans or name not in ("mean_span", "read_shortfall"):
                self.logger.record(f"train/{name}", mean)
        self._spent(update=time.perf_counter() - began)
        self.logger.record("train/explained_variance", self._explained_variance())
        if hasattr(self.policy, "log_std"):
            self.logger.record("train/std", self.policy.log_std.exp().mean().item())
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self._within_rollout = False

    def _weights(self) -> Weights:
        """The weights of the loss's parts, as far as the training has come; logs those that are scheduled."""
        assert callable(self.clip_range)
        clip_range = self.clip_range(self._current_progress_remaining)
        self.logger.record("train/clip_range", clip_range)
        clip_range_vf = None
        if callable(self.clip_range_vf):
            clip_range_vf = self.clip_range_vf(self._current_progress_remaining)
            self.logger.record("train/clip_range_vf", clip_range_vf)
        # A file may say otherwise of a core without spans.
        self.span_coef = 0.0
        if self.policy.has_spans:
            assert callable(self.memory_budget)
            budget = self.memory_budget(self._current_progress_remaining)
            if self._may_forget():
                self.span_coef = coefficient(self.memory_statistics["live_memories"], budget, self.expire_loss_coef)
            self.logger.record("train/span_coef", self.span_coef)
            self.logger.record("train/memory_budget", budget)
        return Weights.of(
            self.device,
            clip_range,
            clip_range_vf,
            self.ent_coef,
            self.vf_coef,
            self.span_coef,
            self.read_loss_coef,
        )

    def _gradient_of(self, weights: Weights, segments: int) -> MinibatchGradient:
        """The program for minibatches of so many segments with these weights; made anew where the last doesn't fit."""
        settings = GradientSettings(
            segments,
            weights.clip_range_vf is not None,
            self.normalize_advantage,
            self.min_advantage_std,
            self.max_grad_norm,
        )
        if self._gradient is None or not self._gradient.fits(settings):
            # What no longer learns mustn't be moved by a gradient of before.
            self.policy.optimizer.zero_grad()
            self._gradient = MinibatchGradient(self.policy, self.rollout_buffer, weights, settings, self._machinery)
        self._gradient.weigh(weights)
        return self._gradient

    @property
    def _waits_to_forget(self) -> bool:
        return self.forget_at_success is not None and self.policy.has_spans

    def _may_forget(self) -> bool:
        """Whether memory is charged for: before a task is learned, what it needs to remember isn't known."""
        if self.forget_at_success is None:
            return True
        assert self.ep_success_buffer is not None
        return window_reaches(self.ep_success_buffer, self.forget_at_success)

    def _epoch(self, gradient: MinibatchGradient, segments: int, logs: list[LossParts]) -> bool:
        """One pass over the rollout, so many segments at a time; False once the policy has moved further than
        `target_kl` allows."""
        self._n_updates += 1
        for rows in self.rollout_buffer.shuffled(segments):
            logs.append(gradient(rows))
            if self.target_kl is not None and logs[-1].approx_kl.item() > 1.5 * self.target_kl:
                return False
            self.policy.optimizer.step()
        return True

    def _precise(self) -> AbstractContextManager[None]:
        """A block in which the model computes with its precision, and a callback doesn't."""
        return computing(self.device, self.precision)

    def _spent(self, rollout: float = 0.0, waited: float = 0.0, update: float = 0.0) -> None:
        """Counts seconds; those of a rollout that weren't waited for environments are acting's."""
        self.timings = Timings(*map(sum, zip(self.timings, (rollout - waited, waited, update), strict=True)))
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
        *,
        use_masking: bool | None = None,
    ) -> Self:
        """Trains for `total_timesteps` steps, all environments counted; arguments as in SB3, and one more.

        Args:
            use_masking: whether to ask the environments which actions may be taken, by their method `action_masks`
                (see `agents.action_masks`); default: where they have it.

        Raises:
            ValueError: if the model has no environments.
        """
        if self.env is None:
            raise ValueError("there are no environments to learn in: call set_env(env), or load(path, env=env)")
        if use_masking != self.use_masking:
            self.use_masking, self._rollout = use_masking, None
        self.timings = Timings()
        return super().learn(total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar)
