"""What can be set, as frozen dataclasses: tyro makes the command line of them, each docstring a help text.

A field is named as the constructor argument that it becomes, and its default is that argument's.
"""

import dataclasses
import inspect
import math
import sys
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from tyro.conf import FlagCreatePairsOff, Positional, arg

from experiments.arguments import Value, merged, parse_pairs
from experiments.errors import UserError

LARGEST = 10**12
"""Of whole numbers that have no limit of their own: any other is a typing mistake."""
MOST_THREADS = 1024
MOST_WORKERS = 1024
MOST_RESULTS_SEED = 10**8
"""Environments have seeds of their own, this one plus their number; all must stay below 10**9."""

Switch = Annotated[bool, FlagCreatePairsOff]
"""What a command is told to do, off unless it is; other flags have a `--no-` beside them: a preset may set either."""

Memory = Literal["expire-span", "transformer-xl", "lstm", "gru", "none"]
Precision = Literal["float32", "tf32", "bf16"]


def values(config: "EnvConfig | CoreConfig | AgentConfig") -> dict[str, Any]:
    """The settings by name; a whole number where a float is meant, as a preset may have it, becomes one."""
    result = {}
    for setting in dataclasses.fields(config):
        value = getattr(config, setting.name)
        result[setting.name] = float(value) if _is_float(setting) and value is not None else value
    return result


def _is_float(setting: "dataclasses.Field[Any]") -> bool:
    """Whether a setting may have any number, be it given as a whole one."""
    return setting.type in (float, float | None)


@dataclass(frozen=True)
class EnvConfig:
    """The environment, and how many of it step side by side."""

    env_id: Annotated[str, arg(name="env", metavar="ID")] = "MiniGrid-MemoryS9-v0"
    """Gymnasium id of the environment; `expire-span tasks` lists those that demand a memory, with the arguments to
    give them."""
    env_args: Annotated[tuple[str, ...], arg(metavar="NAME=VALUE ...")] = ()
    """Arguments of the environment, such as agent_view_size=3 max_length=100. Values are Python or JSON literals;
    other words are strings. Those of a preset stay, unless the same name is given here."""
    n_envs: int = 16
    """Environments that step side by side."""
    vec_env: Literal["serial", "subprocess", "batched", "envpool"] = "serial"
    """serial steps them one after the other; subprocess in --n-workers processes; batched all at once as tensors, on
    --device (our own tasks and MiniGrid's Memory tasks); envpool in C++ threads (MiniGrid's Memory tasks with their
    default view; needs the extra `envpool`)."""
    n_workers: int | None = None
    """Processes of subprocess, threads of envpool; None for as many as there are cores. The others have none."""
    env_timeout: float = 300.0
    """Seconds that an environment of subprocess may take for a step, a reset or its construction; one that takes longer
    hangs, and ends the training. The others are waited for."""

    @property
    def env_kwargs(self) -> dict[str, Value]:
        """`env_args` as keyword arguments."""
        return parse_pairs(self.env_args, "--env-args")

    def with_args(self, env_args: tuple[str, ...], flag: str = "--env-args") -> "EnvConfig":
        """The same with these arguments besides, which win over those it has.

        Raises:
            UserError: for an argument that isn't NAME=VALUE, naming the flag.
        """
        return dataclasses.replace(self, env_args=merged(self.env_args, env_args, flag))


@dataclass(frozen=True)
class CoreConfig:
    """The memory core: a transformer whose memories expire, or another for comparison."""

    memory: Memory = "expire-span"
    """expire-span learns for every state how long to keep it; transformer-xl keeps every state equally long (the same
    core with its spans fixed, so the newest --slots states are seen); lstm and gru are recurrent networks of --depth
    layers of --dim, and ignore all other sizes here; none sees only the current step."""
    dim: int = 128
    """Size of a hidden state; even, and a multiple of --heads."""
    depth: int = 2
    """Layers."""
    heads: int = 4
    """Attention heads a layer."""
    slots: int = 64
    """Past states that a layer can keep for an environment. Should exceed --ramp-length."""
    max_span: float = 256
    """Longest span that a state can be given, in steps."""
    ramp_length: float = 16
    """Steps over which a state fades once its span has ended."""
    ramp_power: float = 1.0
    """A state's weight in attention is its mask to this power; 1 is the paper's, 8 lets the reward's gradient reach
    a span all along the ramp."""
    read_margin: float = 0.0
    """A state is to live so many times the age at which attention reads it, 1 or more: reading holds its span, however
    dear memory is. 0: nothing but the reward does."""
    ramp_gradient: bool = True
    """Whether the reward's gradient reaches a span while its state is on the ramp; if not, spans learn from what is
    read (--read-margin) and from the price alone."""
    seq_len: int = 64
    """Ages below this have a relative position in attention; older states have none, but by --log-position."""
    log_position: bool = False
    """States have a position by the logarithm of how many live states are newer, too: which of two cues is the newer
    is seen at ages that have never been met before."""
    count_matches: bool = False
    """Only the live states that match the query count for --log-position, by thresholds that are learned: what else is
    alive between two cues then makes no difference."""
    initial_span: float | None = None
    """Share of --max-span that every span starts at, between 0 and 1; None for what fills the slots, 0.4 at most."""
    backend: Literal["plain", "sdpa"] = "plain"
    """How attention over a segment is computed."""
    output_norm: bool = True
    """Of lstm and gru: whether their output is normalised, as the transformers' is."""

    def arguments(self) -> dict[str, Any]:
        """These settings as the policy's keyword arguments, those that the core has which `memory` names."""
        from agents.cores import CORES  # and PyTorch with it, for which --help needn't wait

        core = "expire-span" if self.memory == "none" else self.memory
        known = inspect.signature(CORES[core]).parameters
        arguments = {name: value for name, value in values(self).items() if name in known}
        if self.memory == "none":
            arguments["slots"] = 0
        return {"core": core, **arguments}

    @property
    def slots_of_a_layer(self) -> int | None:
        """Slots that a layer has; None of a core that has none to count."""
        return None if self.memory in ("lstm", "gru") else 0 if self.memory == "none" else self.slots


@dataclass(frozen=True)
class AgentConfig:
    """The agent: PPO, with the names and defaults of Stable-Baselines3 where they mean the same."""

    policy: Literal["auto", "MlpPolicy", "CnnPolicy", "MultiInputPolicy"] = "auto"
    """Policy by SB3's names; auto chooses by the observations."""
    extractor: Literal["auto", "minigrid", "default"] = "auto"
    """What reads an observation: minigrid embeds MiniGrid's codes, default is SB3's for the policy, auto takes
    minigrid for codes and default for everything else."""
    pooled: bool = False
    """Of MiniGrid's codes: whether what is in view is also seen as the same wherever it stands."""
    net_arch: tuple[int, ...] | None = None
    """Hidden layers of the policy's and the value's own networks after the core, such as 64 64; None for the
    policy's default."""
    activation_fn: Literal["tanh", "relu", "elu", "gelu", "silu"] | None = None
    """Activation of those networks; None for the policy's default."""
    learning_rate: float = 3e-4
    """Step size of Adam."""
    learning_rate_end: float | None = None
    """What the learning rate falls to, linearly, by the end of the training; None keeps it constant."""
    n_steps: int = 128
    """Steps of each environment in a rollout."""
    segment_length: int | None = None
    """Steps that go through the core in one call while training; must divide --n-steps. None takes the largest
    divisor up to 64."""
    batch_size: int = 256
    """Steps in a minibatch; rounded to whole segments."""
    n_epochs: int = 4
    """Passes over each rollout."""
    gamma: float = 0.99
    """Discount of a step."""
    gae_lambda: float = 0.95
    """Trade of bias for variance in the advantages (generalized advantage estimation)."""
    clip_range: float = 0.2
    """How far from 1 PPO's ratio may go."""
    clip_range_vf: float | None = None
    """The same for the value, on the scale of the returns; None doesn't clip it."""
    normalize_advantage: bool = True
    """Whether to normalise the advantages of a minibatch."""
    min_advantage_std: float = 0.0
    """Least deviation that normalised advantages are divided by, on the scale of the rewards; above 0, what is only
    noise once a task is solved is blown up less. Without --normalize-advantage it has no meaning."""
    ent_coef: float = 0.01
    """Weight of the entropy bonus."""
    ent_coef_end: float | None = None
    """What --ent-coef falls to, linearly, by the end of the training; None keeps it constant."""
    vf_coef: float = 0.5
    """Weight of the value loss."""
    max_grad_norm: float = 0.5
    """Longest gradient; a longer one is scaled down to it."""
    use_sde: bool = False
    """Whether to explore continuous actions with state-dependent noise (gSDE)."""
    sde_sample_freq: int = -1
    """Steps between new noise matrices of gSDE; -1 for one a rollout."""
    target_kl: float | None = None
    """Ends the passes over a rollout once the policy has moved this far; None never does."""
    stats_window_size: int = 100
    """Training episodes in the running success rate, return and length."""
    expire_loss_coef: float = 1e-4
    """Greatest price of memory, the weight of the mean span; reached while live memories exceed --memory-budget."""
    read_loss_coef: float = 1e-3
    """Weight of the steps by which spans of states that were read fall short; without --read-margin none do."""
    memory_budget: float | None = None
    """Live memories a step and layer that cost nothing; None for the ramp and half of the other slots,
    0 to charge always, with --expire-loss-coef as a constant."""
    memory_budget_end: float | None = None
    """What the budget falls to, linearly, by the middle of the training, from --memory-budget or, without it, from all
    slots; None keeps it constant."""
    forget_at_success: float | None = None
    """Success rate of the newest --stats-window-size episodes from which memory is charged for; while fewer succeed,
    nothing is, whatever the budget. None charges from the start."""
    precision: Precision = "float32"
    """Precision of matrix products; tf32 is faster on CUDA, for bf16 see docs/benchmarks.md. Spans, ages, masks and
    attention's scores are float32 in each."""
    compile: bool | None = None
    """Whether to compile acting and loss, about a minute once a process; None does on CUDA."""
    cuda_graphs: bool = True
    """Whether to capture the acting step, and a minibatch's gradient as CUDA graphs."""
    policy_args: Annotated[tuple[str, ...], arg(metavar="NAME=VALUE ...")] = ()
    """Any other argument of the policy that is no class, such as ortho_init=False, as Python or JSON literals."""


@dataclass(frozen=True)
class TrainConfig:
    """Train an agent; everything it leaves lies in one run folder."""

    env: EnvConfig = field(default_factory=EnvConfig)
    """The environment."""
    core: CoreConfig = field(default_factory=CoreConfig)
    """The memory core."""
    agent: AgentConfig = field(default_factory=AgentConfig)
    """The agent."""
    preset: Annotated[str | None, arg(metavar="NAME|FILE")] = None
    """Settings known to work, by name (`expire-span tasks` lists them), or a file of settings, such as the best.json of
    a study (`expire-span tune`); what else is given here overrides them."""
    run_dir: Annotated[str | None, arg(metavar="DIR")] = None
    """Folder for the run, which must be new or empty; None for one in runs/ named after the
    preset or environment and the seed."""
    overwrite: Switch = False
    """Replace the run that lies in --run-dir."""
    resume: Annotated[str | None, arg(metavar="DIR")] = None
    """Go on with the run in this folder from its newest whole checkpoint, with its settings, up to --total-timesteps;
    where environments are batched and on the CPU, as if it had never stopped."""
    total_timesteps: int = 1_000_000
    """Environment steps to train for, of all environments together."""
    stop_at_success: float | None = None
    """Stop early once this share of the last --stats-window-size training episodes has succeeded, such as 0.97. Never
    once one has ended without is_success in its info."""
    seed: int = 0
    """Seed of the weights, the actions and, plus their number, the environments; below 10**9."""
    device: str = "auto"
    """auto (CUDA if there is any), cpu, cuda or cuda:N."""
    torch_threads: int = 1
    """CPU threads for PyTorch. Two are a fourth faster on an idle machine, and several times slower on one where
    another program wants a core."""
    checkpoint_every: int = 100_000
    """Environment steps between checkpoints."""
    keep_checkpoints: int = 3
    """Checkpoints to keep, the newest ones; model.safetensors is the newest of all."""
    progress: Literal["auto", "bar", "lines", "none"] = "auto"
    """A progress bar, a line now and then, or nothing; auto shows the bar on a terminal and lines elsewhere."""

    def check(self) -> None:
        """Raises a `UserError` for a number out of its range; what the library checks is left to it."""
        for name, value, low, high in (
            ("total-timesteps", self.total_timesteps, 1, LARGEST),
            ("n-envs", self.env.n_envs, 1, LARGEST),
            ("n-workers", self.env.n_workers, 1, LARGEST),
            ("n-steps", self.agent.n_steps, 1, LARGEST),
            ("n-epochs", self.agent.n_epochs, 1, LARGEST),
            ("batch-size", self.agent.batch_size, 1, LARGEST),
            ("segment-length", self.agent.segment_length, 1, LARGEST),
            ("stats-window-size", self.agent.stats_window_size, 1, LARGEST),
            ("gamma", self.agent.gamma, 0.0, 1.0),
            ("gae-lambda", self.agent.gae_lambda, 0.0, 1.0),
            ("forget-at-success", self.agent.forget_at_success, 0.0, 1.0),
            ("stop-at-success", self.stop_at_success, 0.0, 1.0),
            ("seed", self.seed, 0, 10**9 - 1),
            ("torch-threads", self.torch_threads, 1, MOST_THREADS),
            ("checkpoint-every", self.checkpoint_every, 1, LARGEST),
            ("keep-checkpoints", self.keep_checkpoints, 1, LARGEST),
        ):
            if value is not None:
                check_within(name, value, low, high)
        stop, forget = self.stop_at_success, self.agent.forget_at_success
        if stop is not None and forget is not None and stop <= forget and self.core.memory == "expire-span":
            raise UserError(
                f"--stop-at-success {stop}: the training would end before --forget-at-success {forget} counts"
            )
        if self.seed + self.env.n_envs > 10**9:
            raise UserError(
                f"--seed {self.seed}: with --n-envs added it must not exceed 10**9, where evaluation begins"
            )
        if not 0 < self.env.env_timeout < math.inf:
            raise UserError(f"--env-timeout {self.env.env_timeout}: must be a number of seconds above 0")
        for section in (self, self.core, self.agent):
            for setting in dataclasses.fields(section):
                value = getattr(section, setting.name)
                if _is_float(setting) and value is not None:
                    _check_float(setting.name.replace("_", "-"), value)
        for word in self.agent.policy_args:
            _check_policy_arg(word, self.agent)
        for width in self.agent.net_arch or ():
            if width < 1:
                raise UserError(f"--net-arch {width}: the width of a layer must be at least 1")


_ABOVE_0 = {"learning-rate", "max-span", "ramp-length", "ramp-power"}


def check_within(flag: str, value: float, low: float, high: float = LARGEST) -> None:
    """Raises a `UserError` for a number below `low` or above `high`, naming the flag that it was given to."""
    if not low <= value <= high:
        limits = f"at least {low}" if high == LARGEST and value < low else f"between {low} and {high}"
        raise UserError(f"--{flag} {value}: must be {limits}")


def _check_policy_arg(word: str, agent: AgentConfig) -> None:
    """No setting that has a flag: a run would say one thing of itself and be another. No class: a word isn't one."""
    [(name, value)] = parse_pairs((word,), "--policy-args").items()
    have_flags = {setting.name for section in (CoreConfig, AgentConfig) for setting in dataclasses.fields(section)}
    if agent.net_arch is None:
        have_flags.remove("net_arch")  # a dictionary, of other layers for the actor than for the critic, is no flag's
    if name in have_flags or name == "core":
        raise UserError(f"--policy-args {word}: give it as --{'memory' if name == 'core' else name.replace('_', '-')}")
    if name.endswith("_class"):
        raise UserError(f"--policy-args {word}: takes a class, which can be given in Python alone")
    if name == "features_extractor_kwargs":
        if not isinstance(value, dict):
            raise UserError(f'--policy-args {word}: must be an object, such as {name}={{"embedding_dim": 8}}')
        if "pooled" in value:
            raise UserError(f"--policy-args {word}: give pooled as --pooled or --no-pooled")
    if name == "net_arch" and not _is_net_arch(value):
        raise UserError(
            f"--policy-args {word}: must be a list of whole numbers from 1, or an object of such lists, as in "
            f'net_arch={{"pi": [64], "vf": [64]}}'
        )


def _is_net_arch(value: Value) -> bool:
    """Whether Stable-Baselines3 can make networks of it, and nothing in it would go unused."""
    if isinstance(value, dict):
        return value.keys() <= {"pi", "vf"} and all(
            not isinstance(part, dict) and _is_net_arch(part) for part in value.values()
        )
    return isinstance(value, list | tuple) and all(type(width) is int and width >= 1 for width in value)


def _check_float(flag: str, value: float) -> None:
    """No setting means anything infinite or below 0, and some nothing at 0."""
    # Of a file, a whole number can be larger than any float.
    if not abs(value) <= sys.float_info.max:
        raise UserError(f"--{flag} {value}: must be a finite number")
    if flag in _ABOVE_0 and not value > 0:
        raise UserError(f"--{flag} {value}: must be above 0")
    if value < 0:
        raise UserError(f"--{flag} {value}: must be 0 or more")


@dataclass(frozen=True)
class EvaluateConfig:
    """Play episodes with fresh seeds, and on tasks with few levels every level, and count."""

    run_dir: Annotated[str | None, Positional, arg(metavar="DIR")] = None
    """Folder of a run."""
    pretrained: Annotated[str | None, arg(metavar="NAME")] = None
    """In place of a run, an agent that comes with the package; `expire-span tasks` lists them."""
    episodes: int = 200
    """Episodes to play."""
    seed: int = 0
    """Which fresh seeds: episode i is reset with 10**9 + seed * 10**6 + i, and training's seeds lie below 10**9."""
    sampled: Switch = False
    """Sample actions as in training; otherwise the likeliest action is taken."""
    env_args: Annotated[tuple[str, ...], arg(metavar="NAME=VALUE ...")] = ()
    """Arguments of the environment that differ from training's, such as min_length=60."""
    slots: int | None = None
    """Slots a layer for the agent to act with, None for those it was trained with. One that has learned to keep few
    memories needs no more than those."""
    max_steps: int | None = None
    """Most steps of an episode: one that is cut off there counts as it stands. None waits for the end of each, which
    some environments never come to."""
    json: Switch = False
    """Print one JSON object, and nothing else, on standard output."""
    n_envs: int = 16
    """Environments that step side by side, each with a fixed share of the episodes, so that short episodes don't
    count more often."""
    device: str = "auto"
    """auto (CUDA if there is any), cpu, cuda or cuda:N."""
    torch_threads: int = 1
    """CPU threads for PyTorch; acting is too little work for more."""


@dataclass(frozen=True)
class RecordConfig:
    """Record a video of the environment with what the agent remembers beside it."""

    run_dir: Annotated[str | None, Positional, arg(metavar="DIR")] = None
    """Folder of a run."""
    pretrained: Annotated[str | None, arg(metavar="NAME")] = None
    """In place of a run, an agent that comes with the package; `expire-span tasks` lists them."""
    episodes: int = 3
    """Episodes to record."""
    output: Annotated[str | None, arg(metavar="FILE")] = None
    """File to write: .mp4 (H.264), .gif, or .png for a single picture (the last step of the first episode); None
    for video.mp4 in the run folder, or NAME.mp4 here."""
    seed: int = 0
    """Which fresh seeds, as in evaluate."""
    sampled: Switch = False
    """Sample actions as in training; otherwise the likeliest action is taken."""
    fps: float = 4.0
    """Steps shown a second."""
    max_steps: int = 400
    """Most steps to record of an episode."""
    env_args: Annotated[tuple[str, ...], arg(metavar="NAME=VALUE ...")] = ()
    """Arguments of the environment that differ from training's, such as min_length=60."""
    device: str = "auto"
    """auto (CUDA if there is any), cpu, cuda or cuda:N."""
    torch_threads: int = 1
    """CPU threads for PyTorch; acting is too little work for more."""


@dataclass(frozen=True)
class CurvesConfig:
    """Draw the curves of one or more runs: success, spans, live memories, the price of memory."""

    run_dirs: Annotated[tuple[str, ...], Positional, arg(metavar="DIR ...")]
    """Folders of runs, each a line in every picture."""
    output: Annotated[str, arg(metavar="FILE")] = "curves.png"
    """File to write: .png, .svg or .pdf."""


@dataclass(frozen=True)
class TasksConfig:
    """List the tasks and presets, with what each demands of a memory."""

    json: Switch = False
    """Print one JSON object, and nothing else, on standard output."""


@dataclass(frozen=True)
class BenchConfig:
    """Measure steps a second on this machine, side by side with sb3-contrib's RecurrentPPO of like size.

    RecurrentPPO's loop over the steps of each minibatch alone costs it a factor of 1.3 to 3.8 (docs/benchmarks.md).
    """

    env_id: Annotated[str, arg(name="env", metavar="ID")] = "MiniGrid-MemoryS13Random-v0"
    """Gymnasium id of the environment."""
    env_args: Annotated[tuple[str, ...], arg(metavar="NAME=VALUE ...")] = ()
    """Arguments of the environment, such as agent_view_size=3."""
    n_envs: int = 16
    """Environments that step side by side, the same for every row."""
    agents: Annotated[tuple[str, ...] | None, arg(metavar="ROW ...")] = None
    """Rows to measure, in this order: serial, subprocess, batched, envpool (our agent, by how its environments step),
    recurrent-ppo (sb3-contrib's, its defaults), recurrent-ppo-fastest (its fastest stock settings),
    recurrent-ppo-batched (on batched environments), ppo (SB3's, without a memory). None for all that this machine and
    this environment allow."""
    n_steps: int = 128
    """Steps of each environment in a rollout."""
    batch_size: int = 256
    """Steps in a minibatch; our agent rounds it to whole segments."""
    n_epochs: int = 4
    """Passes over each rollout."""
    dim: int = 128
    """Size of a hidden state of our agent; even, and a multiple of --heads."""
    depth: int = 2
    """Layers."""
    heads: int = 4
    """Attention heads a layer."""
    slots: int = 64
    """Past states that a layer can keep for an environment."""
    max_span: float = 256
    """Longest span that a state can be given, in steps."""
    segment_length: int | None = None
    """Steps that go through the core in one call while training; None takes the largest divisor of --n-steps up to
    64."""
    precision: Precision = "float32"
    """Precision of our agent's matrix products; the other agents' is PyTorch's default, float32."""
    compile: bool | None = None
    """Whether our agent compiles its acting and loss; None does on CUDA. RecurrentPPO can't."""
    seconds: float = 20
    """Least time to measure a row, after its warm-up; whole iterations (rollout and update) are counted."""
    turns: int | None = None
    """Parts of the time in which the rows are measured by turns, all of their processes alive, so that each meets the
    machine's fast and slow minutes; speeds and ratios are medians over them. 1 measures each row to its end before the
    next one begins. None for 5 on the CPU, 1 on CUDA and for the table over slots."""
    slots_table: Switch = False
    """Instead of the rows: our agent alone with 16, 64, 256 and 1024 slots and with spans of up to 256 and 16384 steps;
    the time of one acting step, and memory."""
    seed: int = 0
    """Seed of weights, actions and environments."""
    device: str = "auto"
    """auto (CUDA if there is any), cpu, cuda or cuda:N; the same for every row."""
    torch_threads: int | None = None
    """CPU threads for PyTorch, the same for every row; None for all cores on the CPU, and for one on CUDA, where
    environments need the cores."""
    json: Switch = False
    """Print a JSON list of the rows, and nothing else, on standard output."""
    output: Annotated[str | None, arg(metavar="FILE")] = None
    """File for the rows as JSON, beside what is printed."""


@dataclass(frozen=True)
class TuneConfig:
    """Search for settings: trains many agents, learns from each what to try next, and keeps the best (docs/tuning.md).

    All that train can be told can be told here; what isn't searched stays as it is told.
    """

    study: Annotated[str, arg(metavar="DIR")]
    """Folder of the study: a new one, or one to go on with, by the same command. Given several times at once it shares
    the work."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """What a trial trains with, for --total-timesteps each, all with the same --seed. --run-dir, --overwrite and
    --resume don't belong here: the runs lie in the study."""
    search: Annotated[tuple[str, ...], arg(metavar="NAME=LOW:HIGH[:log]|NAME=A,B,C ...")] = ()
    """What to search, such as learning_rate=1e-4:1e-2:log slots=16:64 depth=1,2. Without it: the usual numbers of PPO,
    and sizes around those that are set, but nothing that the command line sets."""
    trials: int = 50
    """Trials that the study is to have in all."""
    startup_trials: int = 10
    """Trials that are drawn at random, before others are chosen by what these were like; the median pruner waits for as
    many complete ones."""
    pruner: Literal["median", "halving", "none"] = "median"
    """Which trials end early: median, those whose training success is below the median of the others at the same
    step; halving, at a quarter and at half of the steps the worse half (successive halving); none."""
    episodes: int = 100
    """Fresh episodes that a trial is judged by at its end, the same ones for all, with the likeliest actions."""
    workers: int = 1
    """Processes that run trials side by side."""
    keep_runs: int = 3
    """Run folders to keep, those of the best trials."""
    json: Switch = False
    """Print one JSON object, and nothing else, on standard output."""


@dataclass(frozen=True)
class ResultsConfig:
    """Run a matrix of trainings, task by agent by seed, skipping what is done and going on with what was interrupted;
    make tables and pictures of what came of it (docs/results.md)."""

    tasks: Annotated[tuple[str, ...] | None, arg(metavar="NAME|FILE ...")] = None
    """Tasks, by name, or files of one's own; None for all that there are."""
    agents: Annotated[tuple[str, ...] | None, arg(metavar="NAME ...")] = None
    """expire-span, transformer-xl (with the same slots), transformer-xl-8 to transformer-xl-2048 (with so many: a
    power of two, 24 or 48), expire-span-1 to expire-span-16 (with a budget of so many live memories: a power of two),
    expire-span-paper-1e-4, -1e-5 and -1e-6 (spans learned by the reward's gradient, at this constant price), lstm,
    lstm-plain (its output not normalised), none, recurrent-ppo (sb3-contrib's; needs the extra `bench`); None
    for expire-span, transformer-xl, lstm and none, in a report for all that have results."""
    seeds: Annotated[tuple[int, ...], arg(metavar="N ...")] = (0, 1, 2, 3, 4)
    """Seeds of each task and agent; a report takes all that have results."""
    runs: Annotated[str, arg(metavar="DIR")] = "runs/results"
    """Folder of the run folders."""
    data: Annotated[str, arg(metavar="DIR")] = "experiments/results/data"
    """Folder of the results, a small file for each run; a run that has its file is done."""
    workers: int = 1
    """Processes that run side by side, on the same device."""
    minutes: float | None = None
    """Time there is; None for as long as it takes. What is under way is saved in time."""
    reserve: float = 60.0
    """Of --minutes, the seconds at the end that are kept for saving; as long before, nothing new begins."""
    retry: Switch = False
    """Go on with runs that failed, too."""
    list_: Annotated[Switch, arg(name="list")] = False
    """Run nothing; list the matrix, and what is done of it."""
    report: Switch = False
    """Run nothing; write the tables into --page and the pictures beside it, from the results alone."""
    page: Annotated[str, arg(metavar="FILE")] = "RESULTS.md"
    """Markdown page of the report: what stands between its two pairs of markers is made anew, the rest is kept. A
    page that isn't there is made. The pictures lie in docs and docs/results in its folder."""
    device: str = "auto"
    """auto (CUDA if there is any), cpu, cuda or cuda:N."""
    torch_threads: int = 1
    """CPU threads for PyTorch, of each worker."""

    def check(self) -> None:
        """Raises a `UserError` for a number out of its range."""
        for seed in self.seeds:
            check_within("seeds", seed, 0, MOST_RESULTS_SEED)
        check_within("workers", self.workers, 1, MOST_WORKERS)
        check_within("torch-threads", self.torch_threads, 1, MOST_THREADS)
