"""Actor-critic policies with a memory, by Stable-Baselines3's names."""

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar
from uuid import uuid4

import numpy as np
import torch
from gymnasium import spaces
from jaxtyping import Bool, Float, Shaped
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import (
    BaseFeaturesExtractor,
    CombinedExtractor,
    FlattenExtractor,
    MlpExtractor,
    NatureCNN,
)
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from stable_baselines3.common.utils import get_device
from torch import Tensor, nn

from agents.action_masks import checked_masks, masked_logits
from agents.cores import CoreCache, CoreStep, Memory, MemoryCore, checked, core_maker
from agents.cores.sizes import check_size
from agents.extractors import MiniGridExtractor, is_minigrid_codes
from agents.saving.place import load_tree, save_tree
from agents.saving.policy import policy_from_tree, policy_to_tree
from expire_span import CoreOutput, ExpireSpanCore

Self = TypeVar("Self", bound="ExpireSpanActorCriticPolicy")

_OF_SB3 = inspect.signature(ActorCriticPolicy.__init__).parameters
"""The arguments that SB3's policy takes; all others are the core's."""


class PolicyState(NamedTuple):
    """What a policy carries from step to step of each environment; on the policy's device."""

    cache: CoreCache
    version: tuple[int, int]
    """Which policy's weights, after how many changes, the cache was made with."""

    @property
    def n_envs(self) -> int:
        """Number of environments that the state is of."""
        return int(self.cache.memory[0].shape[1])


class Step(NamedTuple):
    """One step of the policy in each environment, before anything is written."""

    actions: Shaped[Tensor, " n_envs *action"]
    """As the action distribution has them: a Box's actions as vectors, whatever its shape."""
    values: Float[Tensor, " n_envs"]
    log_prob: Float[Tensor, " n_envs"]
    core: CoreStep
    """What the memory core did: what it writes, of an `ExpireSpanCore` expire masks and attention, too."""


class Act(NamedTuple):
    """One step of the policy in each environment, and the state after it."""

    actions: Shaped[Tensor, " n_envs *action"]
    """As the action distribution has them: a Box's actions as vectors, whatever its shape."""
    values: Float[Tensor, " n_envs"]
    log_prob: Float[Tensor, " n_envs"]
    core: CoreStep
    """What the memory core did: what it wrote, of an `ExpireSpanCore` expire masks and attention, too."""
    state: PolicyState
    """The state after this step."""


class Evaluation(NamedTuple):
    """Segments of experience as the weights are now."""

    values: Float[Tensor, "segments steps"]
    log_prob: Float[Tensor, "segments steps"]
    entropy: Float[Tensor, "segments steps"] | None
    """None where the action distribution has no closed form."""
    mean_span: Float[Tensor, ""]
    """Of the segments' states and the layers, in steps; 0 of a core without spans."""
    read_shortfall: Float[Tensor, ""]
    """See `expire_span.CoreOutput`; 0 of a core without spans."""


class ExpireSpanActorCriticPolicy(ActorCriticPolicy):
    """Features extractor, memory core, then SB3's policy and value networks.

    What isn't the core is the same whatever the core.

    Beside the arguments below it takes those of SB3's `ActorCriticPolicy`, with three differences: `net_arch` is
    empty by default (the core's output goes straight to the heads), features are always shared, and the value head
    starts at zero, since with a sparse reward an optimistic value at the start makes the agent avoid the goal.

    Args:
        observation_space: any that SB3 has a features extractor for.
        action_space: Box, Discrete, MultiDiscrete or MultiBinary.
        lr_schedule: learning rate by progress remaining.
        core: the memory core: `"expire-span"`, `"transformer-xl"`, `"lstm"`, `"gru"`, or a class or function that makes
            an `agents.cores.MemoryCore`. It gets the keyword arguments that aren't the policy's: see
            `agents.cores.choice` for those of the four and their defaults (`dim` 128, `depth` 2; of an expiring memory
            those of `expire_span.ExpireSpanCore`, but for `random_shortening`, which is refused).
        features_extractor_class: default by the policy's name: `MlpPolicy` embeds MiniGrid's codes and flattens
            everything else, `CnnPolicy` takes SB3's `NatureCNN`, `MultiInputPolicy` its `CombinedExtractor`.

    Raises:
        ValueError: for sizes that don't fit, an argument that neither policy nor core has, or
            `share_features_extractor=False`.
    """

    core: MemoryCore
    _low: Tensor | None
    """A Box's bounds of actions."""
    _high: Tensor | None

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        net_arch: list[int] | dict[str, list[int]] | None = None,
        *,
        core: str | Callable[..., MemoryCore] = "expire-span",
        features_extractor_class: type[BaseFeaturesExtractor] | None = None,
        features_extractor_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if not kwargs.get("share_features_extractor", True):
            raise ValueError("share_features_extractor=False has no meaning here: actor and critic read one memory")
        of_core = {name: kwargs.pop(name) for name in kwargs.keys() - _OF_SB3.keys()}
        self._make_core = core_maker(core, of_core)
        self.core_kwargs: dict[str, Any] = {"core": core, **self._make_core.keywords}
        if not callable(activation := kwargs.get("activation_fn", nn.Tanh)):
            raise ValueError(f"activation_fn={activation!r} must be a class, such as torch.nn.ReLU")
        for width in _widths(net_arch or []):
            check_size("net_arch", width)
        if features_extractor_class is None:
            features_extractor_class = self._default_extractor(observation_space)
        if kwargs.get("optimizer_class", torch.optim.Adam) is torch.optim.Adam:
            # SB3's epsilon, and one pass over each weight in place of ten.
            given = kwargs.get("optimizer_kwargs") or {}
            fused = not (given.get("foreach") or given.get("differentiable"))
            kwargs["optimizer_kwargs"] = {"eps": 1e-5, "fused": fused} | given
        if features_extractor_class is MiniGridExtractor:
            features_dim = self.core_kwargs.get("dim", 128)
            # The extractor is made before the core, which would refuse it by this name.
            check_size("dim", features_dim)
            features_extractor_kwargs = {"features_dim": features_dim} | (features_extractor_kwargs or {})
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            net_arch or [],
            features_extractor_class=features_extractor_class,
            features_extractor_kwargs=features_extractor_kwargs,
            **kwargs,
        )

    def _default_extractor(self, observation_space: spaces.Space[Any]) -> type[BaseFeaturesExtractor]:
        return MiniGridExtractor if is_minigrid_codes(observation_space) else FlattenExtractor

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return super()._get_constructor_parameters() | self.core_kwargs

    def _build_mlp_extractor(self) -> None:
        self.core = checked(self._make_core())
        dim = self.core.dim
        self.embed = nn.Identity() if self.features_dim == dim else nn.Linear(self.features_dim, dim)
        self.mlp_extractor = MlpExtractor(dim, self.net_arch, self.activation_fn, self.device)

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        nn.init.zeros_(self.value_net.weight)
        nn.init.zeros_(self.value_net.bias)
        self._memory_shapes = _shapes(self.core.empty_memory(1))
        self._keep_bounds()
        self._begin_versions()

    def __getstate__(self) -> dict[str, Any]:
        # The last action's distribution hangs on the graph of its gradient, which can't be copied; so does gSDE's.
        action_dist = copy.copy(self.action_dist)
        for name in ("distribution", "_latent_sde", "weights_dist"):
            if hasattr(action_dist, name):
                setattr(action_dist, name, None)
        for name in ("exploration_mat", "exploration_matrices"):
            if hasattr(action_dist, name):
                setattr(action_dist, name, getattr(action_dist, name).detach())
        return self.__dict__ | {"action_dist": action_dist}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]  # PyTorch's
        if "_low" not in self._buffers:  # a pickle of before
            self._keep_bounds()
        # A copy, by `copy` or `pickle`: its weights change apart from the original's.
        self._begin_versions()

    def _keep_bounds(self) -> None:
        box = self.action_space if isinstance(self.action_space, spaces.Box) else None
        for name, bound in (("_low", box and box.low), ("_high", box and box.high)):
            kept = None if bound is None else torch.as_tensor(bound).clone().to(self.device)
            self.register_buffer(name, kept, persistent=False)

    def _begin_versions(self) -> None:
        """Gives the policy an identity of its own, and its optimiser a hook, which copies of optimisers don't have."""
        # Fused optimisers change weights in place without PyTorch's noticing.
        self.optimizer.register_step_post_hook(lambda *_: self.weights_changed())
        # Not counted: a policy and its states may come from another process, where counting began anew.
        self._identity, self._changes = uuid4().int, 0

    # --- state ---

    @property
    def has_spans(self) -> bool:
        """Whether the core's memories have spans to learn, which can be charged for."""
        return isinstance(self.core, ExpireSpanCore) and self.core.learns_spans

    def initial_state(self, n_envs: int) -> PolicyState:
        """The state of `n_envs` environments before anything happened."""
        return self.projected(self.core.empty_memory(n_envs))

    @torch.no_grad()
    def projected(self, memory: Memory) -> PolicyState:
        """The state that has this memory, with what the weights as they are now make of it."""
        return PolicyState(self.core.cache(memory), self.weights_version())

    def _current(self, state: PolicyState) -> PolicyState:
        """The state, projected anew if the weights have changed since."""
        return state if state.version == self.weights_version() else self.projected(state.cache.memory)

    def weights_version(self) -> tuple[int, int]:
        """Which policy's weights, after how many changes, these are."""
        # A change in place (an optimiser's step, loaded weights) counts up a parameter's version. What doesn't, a fused
        # optimiser's step or replaced data, is told to `weights_changed`.
        return self._identity, self._changes + sum(parameter._version for parameter in self.core.parameters())

    def weights_changed(self) -> None:
        """Says that the weights are other ones, where PyTorch may not have noticed: states are projected anew."""
        self._changes += 1

    def save(self, path: str) -> None:
        """Saves the policy alone, without its optimiser, in safetensors format; raises as `ExpireSpanPPO.save`."""
        save_tree(path, policy_to_tree(self))

    @classmethod
    def load(
        cls: type[Self],
        path: str,
        device: torch.device | str = "auto",
        classes: Mapping[str, type[Any]] | None = None,
    ) -> Self:
        """A policy from the file of `save`; nothing in it is run.

        Args:
            path: of the file, or the same name with `.safetensors`, `.zip` or no suffix where there is none of that.
            device: where it computes.
            classes: as `ExpireSpanPPO.load`.

        Raises:
            CheckpointError: if the file isn't a policy's, or is damaged.
        """
        return policy_from_tree(cls, load_tree(path), classes).to(get_device(device))

    def load_from_vector(self, vector: np.ndarray) -> None:
        """Sets all parameters from one vector."""
        super().load_from_vector(vector)
        self.weights_changed()

    # --- acting: one step ---

    def step(
        self,
        obs: PyTorchObs,
        cache: CoreCache,
        episode_starts: Bool[Tensor, " n_envs"],
        deterministic: bool = False,
        action_masks: Bool[Tensor, "n_envs choices"] | None = None,
    ) -> Step:
        """One step in each environment, from a cache that the weights as they are now have made.

        Nothing is written, nothing waits for the host. Arguments as `act`.
        """
        core = self.core.step(self._embedded(obs), cache, episode_starts)
        distribution, values = self._heads(core.output, action_masks)
        actions = distribution.get_actions(deterministic=deterministic)
        return Step(actions, values, distribution.log_prob(actions), core)

    def values(
        self, obs: PyTorchObs, cache: CoreCache, episode_starts: Bool[Tensor, " n_envs"]
    ) -> Float[Tensor, " n_envs"]:
        """The values of a step as `step` would take it; nothing is drawn."""
        return self._outlook(obs, cache, episode_starts)[1]

    def act(
        self,
        obs: PyTorchObs,
        state: PolicyState,
        episode_starts: Bool[Tensor, " n_envs"],
        deterministic: bool = False,
        action_masks: Bool[Tensor, "n_envs choices"] | None = None,
    ) -> Act:
        """One step in each environment.

        Args:
            obs: observations as tensors, batch first.
            state: before the step.
            episode_starts: True where this is an episode's first step.
            deterministic: take the likeliest action instead of a sample.
            action_masks: True where a choice may be made, see `agents.action_masks`; None: all may.
        """
        state = self._current(state)
        step = self.step(obs, state.cache, episode_starts, deterministic, action_masks)
        return Act(*step, PolicyState(state.cache.written(step.core.write), state.version))

    # --- training: whole segments ---

    def evaluate_segments(
        self,
        obs: PyTorchObs,
        actions: Shaped[Tensor, "segments steps *action"],
        memory: Memory,
        episode_starts: Bool[Tensor, "segments steps"],
        action_masks: Bool[Tensor, "segments steps choices"] | None = None,
    ) -> Evaluation:
        """Values, log-probabilities and entropies of the actions taken in segments of experience.

        Args:
            obs: `(segments, steps, *observation)`, or a dict of such tensors.
            actions: as taken.
            memory: as it was when each segment began; segments in dimension 1 of each tensor.
            episode_starts: True at an episode's first step.
            action_masks: as they were; None: there were none.
        """
        segments, steps = episode_starts.shape
        flat = {key: part.flatten(0, 1) for key, part in obs.items()} if isinstance(obs, dict) else obs.flatten(0, 1)
        inputs = self._embedded(flat).unflatten(0, (segments, steps))
        out = self.core(inputs, memory, episode_starts)
        masks = None if action_masks is None else action_masks.flatten(0, 1)
        distribution, values = self._heads(out.output.flatten(0, 1), masks)
        log_prob, entropy = distribution.log_prob(actions.flatten(0, 1)), distribution.entropy()
        shape = (segments, steps)
        return Evaluation(
            values.reshape(shape),
            log_prob.reshape(shape),
            None if entropy is None else entropy.reshape(shape),
            *((out.mean_span, out.read_shortfall) if isinstance(out, CoreOutput) else values.new_zeros(2).unbind()),
        )

    def _embedded(self, obs: PyTorchObs) -> Float[Tensor, "batch dim"]:
        # Codes need none of SB3's preprocessing.
        codes = isinstance(self.features_extractor, MiniGridExtractor)
        features = self.features_extractor(obs) if codes else self.extract_features(obs)
        assert isinstance(features, Tensor)
        embedded: Tensor = self.embed(features)
        return embedded

    def _heads(
        self, latent: Float[Tensor, "batch dim"], action_masks: Bool[Tensor, "batch choices"] | None = None
    ) -> tuple[Distribution, Float[Tensor, " batch"]]:
        # In float32 under autocast too: the ratio of probabilities is what PPO clips.
        with torch.autocast(latent.device.type, enabled=False):
            latent_pi, latent_vf = self.mlp_extractor(latent.float())
            values = self.value_net(latent_vf).squeeze(-1)
            if action_masks is None:
                return self._get_action_dist_from_latent(latent_pi), values
            logits = masked_logits(self.action_net(latent_pi), action_masks, self.action_space)
            return self.action_dist.proba_distribution(logits), values

    # --- SB3's interface ---

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
        action_masks: Any = None,
    ) -> tuple[np.ndarray, Any]:
        """Actions for observations, and the state for the next call; SB3's convention.

        Args:
            observation: of one environment or of several (batch first).
            state: a `PolicyState`, as returned by the call before; None at first. It is left as it is: a state
                used twice gives the same answer twice.
            episode_start: for each environment, whether its episode starts here (its memory is then emptied);
                default: nowhere.
            deterministic: take the likeliest action instead of a sample.
            action_masks: for each environment, which choices may be made, as `agents.action_masks` says; default: all.

        Raises:
            ValueError: for a state, an `episode_start` or `action_masks` of another number of environments, for another
                policy's state, and for masks that allow no action or have another size than it.
        """
        if isinstance(observation, tuple):
            raise ValueError("observation is a tuple: env.reset() of Gymnasium gives (obs, info); pass obs alone")
        self.set_training_mode(False)
        obs, vectorized = self.obs_to_tensor(observation)
        n_envs = _batch_of(obs)
        if state is None:
            state = self.initial_state(n_envs)
        if not isinstance(state, PolicyState):
            raise ValueError(f"state must be what predict returned, or None; got {type(state).__name__}")
        if state.n_envs != n_envs:
            raise ValueError(
                f"the state is of {state.n_envs} environments, the observation of {n_envs}; "
                f"pass state=None when the number of environments changes"
            )
        kept = _shapes(state.cache.memory)
        if kept != self._memory_shapes:
            raise ValueError(
                f"the state's memory is, for each environment, {kept}, this policy's {self._memory_shapes}: another "
                f"policy's"
            )
        starts = np.zeros(n_envs, dtype=bool) if episode_start is None else np.atleast_1d(episode_start)
        if starts.shape != (n_envs,):
            raise ValueError(f"episode_start has the shape {starts.shape}; it must be ({n_envs},)")
        masks = None
        if action_masks is not None:
            rows = checked_masks(action_masks if vectorized else [action_masks], n_envs, self.action_space)
            masks = torch.as_tensor(rows, device=self.device)
        with torch.no_grad():
            step = self.act(obs, state, torch.as_tensor(starts.astype(bool), device=self.device), deterministic, masks)
        actions = self.to_env_actions(step.actions)
        return (actions if vectorized else actions.squeeze(0)), step.state

    def to_env_actions(self, actions: Shaped[Tensor, " n_envs *action"]) -> np.ndarray:
        """Actions as environments on the host take them, see `env_actions`."""
        return self.env_actions(actions).cpu().numpy()

    def env_actions(self, actions: Shaped[Tensor, " n_envs *action"]) -> Shaped[Tensor, " n_envs *shape"]:
        """Actions as the environment takes them: unsquashed or clipped to a Box's bounds, in the space's shape."""
        actions = actions.reshape(-1, *(self.action_space.shape or ()))
        low, high = self._low, self._high
        if low is None or high is None:
            return actions
        return low + 0.5 * (actions + 1) * (high - low) if self.squash_output else actions.clamp(low, high)

    def get_distribution(
        self,
        obs: PyTorchObs,
        state: PolicyState | None = None,
        episode_starts: Bool[Tensor, " n_envs"] | None = None,
        action_masks: Bool[Tensor, "n_envs choices"] | None = None,
    ) -> Distribution:
        """The action distribution of the step that comes next; nothing is written.

        Args:
            obs: observations as tensors, batch first.
            state: before the step; default: of an episode's start.
            episode_starts: True where an episode starts; default: nowhere.
            action_masks: True where a choice may be made; default: everywhere.
        """
        return self._peek(obs, state, episode_starts, action_masks)[0]

    def predict_values(
        self, obs: PyTorchObs, state: PolicyState | None = None, episode_starts: Bool[Tensor, " n_envs"] | None = None
    ) -> Float[Tensor, "n_envs 1"]:
        """The value of the step that comes next; nothing is written. Arguments as `get_distribution`, less masks."""
        return self._peek(obs, state, episode_starts)[1][:, None]

    def _peek(
        self,
        obs: PyTorchObs,
        state: PolicyState | None,
        episode_starts: Bool[Tensor, " n_envs"] | None,
        action_masks: Bool[Tensor, "n_envs choices"] | None = None,
    ) -> tuple[Distribution, Float[Tensor, " n_envs"]]:
        state = self.initial_state(_batch_of(obs)) if state is None else self._current(state)
        if episode_starts is None:
            episode_starts = torch.zeros(state.n_envs, dtype=torch.bool, device=self.device)
        return self._outlook(obs, state.cache, episode_starts, action_masks)

    def _outlook(
        self,
        obs: PyTorchObs,
        cache: CoreCache,
        episode_starts: Bool[Tensor, " n_envs"],
        action_masks: Bool[Tensor, "n_envs choices"] | None = None,
    ) -> tuple[Distribution, Float[Tensor, " n_envs"]]:
        return self._heads(self.core.step(self._embedded(obs), cache, episode_starts).output, action_masks)

    # Inherited calls that have no place for a state: each answers for an episode's first step. Shapes are SB3's, so
    # that values are columns.

    def forward(self, obs: PyTorchObs, deterministic: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Actions, values and log-probabilities of an episode's first step; with a memory, see `act`."""
        starts = torch.ones(_batch_of(obs), dtype=torch.bool, device=self.device)
        step = self.act(obs, self.initial_state(len(starts)), starts, deterministic)
        actions = step.actions.reshape(len(starts), *(self.action_space.shape or ()))
        return actions, step.values[:, None], step.log_prob

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> Tensor:
        return self.get_distribution(observation).get_actions(deterministic)

    def evaluate_actions(self, obs: PyTorchObs, actions: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Values, log-probabilities and entropies at an episode's first step; see `evaluate_segments`."""
        distribution, values = self._peek(obs, None, None)
        # As `forward` gives them; distributions of several numbers have them flat.
        flat = actions.reshape(len(actions), -1) if isinstance(self.action_space, spaces.Box) else actions
        return values[:, None], distribution.log_prob(flat), distribution.entropy()


class ExpireSpanActorCriticCnnPolicy(ExpireSpanActorCriticPolicy):
    """For images: SB3's `NatureCNN`, then as `ExpireSpanActorCriticPolicy`."""

    def _default_extractor(self, observation_space: spaces.Space[Any]) -> type[BaseFeaturesExtractor]:
        return NatureCNN


class ExpireSpanMultiInputActorCriticPolicy(ExpireSpanActorCriticPolicy):
    """For dict observations: SB3's `CombinedExtractor`, then as `ExpireSpanActorCriticPolicy`."""

    def _default_extractor(self, observation_space: spaces.Space[Any]) -> type[BaseFeaturesExtractor]:
        if not isinstance(observation_space, spaces.Dict):
            raise ValueError(f"MultiInputPolicy reads dict observations; for {observation_space} take MlpPolicy")
        return CombinedExtractor


def _shapes(memory: Memory) -> dict[str, tuple[int, ...]]:
    """The shapes of a memory's tensors by name, for each environment."""
    return {name: (len(part), *part.shape[2:]) for name, part in memory._asdict().items()}


def _widths(net_arch: list[int] | dict[str, list[int]]) -> Iterator[int]:
    """The widths of all hidden layers."""
    for widths in net_arch.values() if isinstance(net_arch, dict) else [net_arch]:
        yield from widths


def _batch_of(obs: PyTorchObs) -> int:
    return len(next(iter(obs.values()))) if isinstance(obs, dict) else len(obs)


MlpPolicy = ExpireSpanActorCriticPolicy
CnnPolicy = ExpireSpanActorCriticCnnPolicy
MultiInputPolicy = ExpireSpanMultiInputActorCriticPolicy
