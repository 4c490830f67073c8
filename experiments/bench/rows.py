"""Which rows there are, what each needs, and which this machine and this environment allow."""

import dataclasses
import importlib.util
from dataclasses import dataclass
from typing import Any, Literal

from envs.batched import batched_ids, has_batched
from envs.envpool_memory import IDS, VIEW
from envs.workers.vec_env import cores
from experiments import contrib
from experiments.arguments import parse_pairs
from experiments.config import AgentConfig, BenchConfig, CoreConfig, EnvConfig, TrainConfig
from experiments.errors import UserError
from experiments.runs import check_device

Agent = Literal["expire-span", "recurrent-ppo", "ppo"]
VecEnvKind = Literal["serial", "subprocess", "batched", "envpool"]

STOCK = "recurrent-ppo stock"
"""Name of the row that ratios are to."""
SLOTS, SPANS = (16, 64, 256, 1024), (256.0, 16384.0)
"""Of the table over slots."""


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Args:
        name: as the table shows it.
        agent: what learns.
        vec_env: how its environments step.
        batch_size: steps in a minibatch; None for the one that is set.
        policy_kwargs: of RecurrentPPO; None for its defaults.
    """

    name: str
    agent: Agent
    vec_env: VecEnvKind
    batch_size: int | None = None
    policy_kwargs: dict[str, Any] | None = None


_FASTEST = {"shared_lstm": True, "enable_critic_lstm": False}
ROWS: dict[str, Row] = {
    "serial": Row("expire-span serial", "expire-span", "serial"),
    "subprocess": Row("expire-span subprocess", "expire-span", "subprocess"),
    "batched": Row("expire-span batched", "expire-span", "batched"),
    "envpool": Row("expire-span envpool", "expire-span", "envpool"),
    "recurrent-ppo": Row(STOCK, "recurrent-ppo", "serial"),
    "recurrent-ppo-fastest": Row("recurrent-ppo fastest", "recurrent-ppo", "serial", 1024, _FASTEST),
    "recurrent-ppo-batched": Row("recurrent-ppo stock, batched envs", "recurrent-ppo", "batched"),
    "ppo": Row("ppo mlp", "ppo", "serial"),
}


@dataclass(frozen=True)
class Job:
    """A row to measure: its key in `ROWS`, its name, and the settings, which the table over slots varies."""

    key: str
    name: str
    config: BenchConfig


def obstacle(key: str, config: BenchConfig) -> str | None:
    """Why a row can't be measured here, and what would help, on one line; None where it can."""
    row = ROWS[key]
    if row.agent == "recurrent-ppo" and (why_not := contrib.missing()) is not None:
        return why_not
    if row.vec_env == "batched" and not has_batched(config.env_id):
        return f"{config.env_id} has no batched version; these have one: {', '.join(batched_ids())}"
    if row.vec_env == "envpool":
        if config.env_id.rpartition(":")[2] not in IDS:
            return f"EnvPool has no {config.env_id}; it has {', '.join(IDS)}"
        given = parse_pairs(config.env_args, "--env-args")
        if given.get("agent_view_size", VIEW) != VIEW or given.keys() - {"agent_view_size", "max_steps"}:
            return f"EnvPool's environments can be given max_steps, and no other agent_view_size than {VIEW}"
        if importlib.util.find_spec("envpool") is None:
            return "EnvPool isn't installed: pip install 'expire-span[envpool]'"
    return None


def jobs(config: BenchConfig) -> tuple[list[Job], list[str]]:
    """What to measure, in order, and a line for each row that was left out.

    Raises:
        UserError: for a row that was asked for by name and can't be.
    """
    if config.slots_table:
        return _slots_jobs(config), []
    chosen: list[Job] = []
    notes: list[str] = []
    for key in config.agents if config.agents is not None else ROWS:
        why_not = obstacle(key, config)
        if why_not is None:
            chosen.append(Job(key, ROWS[key].name, config))
        elif config.agents is not None:
            raise UserError(f"--agents {key}: {why_not}")
        else:
            notes.append(f"{ROWS[key].name} left out: {why_not}")
    return chosen, notes


def _slots_jobs(config: BenchConfig) -> list[Job]:
    """Our agent over slots and spans, on batched environments where there are any."""
    if config.agents is not None:
        raise UserError("--slots-table measures our agent alone: leave out --agents")
    key = "serial" if obstacle("batched", config) else "batched"
    return [
        Job(
            key,
            f"{ROWS[key].name}, {slots} slots, spans up to {span:.0f}",
            # The rest of the settings stays, so that rows differ in these two alone.
            dataclasses.replace(config, slots=slots, max_span=span),
        )
        for slots in SLOTS
        for span in SPANS
    ]


def threads(config: BenchConfig) -> int:
    """CPU threads for PyTorch: as set, else one for each core that this process may use; on CUDA one.

    There more have next to nothing to compute, and take the cores that environments step on.
    """
    if config.torch_threads is not None:
        return config.torch_threads
    if check_device(config.device).type == "cuda":
        return 1
    return cores()


def train_config(config: BenchConfig, row: Row) -> TrainConfig:
    """The settings of a row as those of a training; what a bench doesn't name has its default."""
    return TrainConfig(
        env=EnvConfig(config.env_id, tuple(config.env_args), config.n_envs, row.vec_env),
        core=CoreConfig(
            dim=config.dim, depth=config.depth, heads=config.heads, slots=config.slots, max_span=config.max_span
        ),
        agent=AgentConfig(
            n_steps=config.n_steps,
            batch_size=row.batch_size or config.batch_size,
            n_epochs=config.n_epochs,
            segment_length=config.segment_length,
            precision=config.precision,
            compile=config.compile,
        ),
        seed=config.seed,
        device=config.device,
        torch_threads=threads(config),
    )
