"""Evaluation: what is counted, and how it is said."""

import contextlib
import dataclasses
import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from agents import ExpireSpanPPO, checkpoint
from agents.checkpoint.arguments import argument_to_tree
from agents.cores import CoreStep, tensors_of
from agents.saving.model import policy_kwargs_from_tree
from experiments import runs
from experiments.acting import Actor, Acts
from experiments.batched_play import play_batched
from experiments.callbacks import success_rate
from experiments.config import CoreConfig, EnvConfig, Memory, TrainConfig
from experiments.environments import TRAINING_SEEDS, fresh_seeds, seeded_envs, training_envs
from experiments.episodes import Episode, correct_turn_rate, success_by_length, success_summary, wilson_interval
from experiments.evaluate import play, play_in, shared_out
from experiments.model import build_model
from expire_span import ExpireSpanCore
from tests.experiments.conftest import S7, TINY, Cli
from tests.experiments.test_errors import check


def test_json_is_one_object_and_nothing_else(trained: Path) -> None:
    """A warning or a progress bar on standard output breaks whoever parses it."""
    command = [sys.executable, "-m", "experiments", "evaluate", str(trained), "--episodes", "10", "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result = json.loads(done.stdout)
    required = {"success_rate", "success_interval", "mean_return", "mean_length", "live_memories", "episodes"}
    assert required <= result.keys()
    assert result["episodes"] == 10
    assert 0 <= result["success_interval"][0] <= result["success_rate"] <= result["success_interval"][1] <= 1
    assert result["seeds"] == [TRAINING_SEEDS, TRAINING_SEEDS + 9]
    assert result["levels"] == 16
    assert 0 <= result["levels_solved"] <= 16


def test_text(trained: Path, cli: Cli) -> None:
    """Output that leaves open how the actions were taken, or leaves out the levels."""
    outcome = cli("evaluate", trained, "--episodes", 5, "--sampled")
    assert outcome.status == 0
    assert "sampled actions, fresh seeds" in outcome.out
    assert "of 16 solved" in outcome.out


def test_number_of_environments_changes_nothing(trained: Path) -> None:
    """Counting whichever episodes end first favours the short ones; so does a seed that depends on n_envs."""
    run = runs.load(trained, "cpu")
    seeds = fresh_seeds(0, 7)
    alone = play(run.model, run.config.env, seeds, n_envs=1)
    together = play(run.model, run.config.env, seeds, n_envs=3)
    assert [episode.seed for episode in together] == seeds
    assert [(e.steps, e.success, e.reward) for e in alone] == [(e.steps, e.success, e.reward) for e in together]
    assert [e.live_memories for e in alone] == pytest.approx([e.live_memories for e in together])


class Copies:
    """Acts by `policy.act`, which leaves every state as it was."""

    def __init__(self, model: ExpireSpanPPO, n_envs: int, deterministic: bool) -> None:
        self.policy, self.state, self.deterministic = model.policy, model.policy.initial_state(n_envs), deterministic

    @torch.no_grad()
    def act(
        self, observations: Any, episode_starts: np.ndarray, action_masks: np.ndarray | None = None
    ) -> tuple[np.ndarray, CoreStep]:
        obs, _ = self.policy.obs_to_tensor(observations)
        acted = self.policy.act(obs, self.state, torch.from_numpy(episode_starts), self.deterministic)
        self.state = acted.state
        return self.policy.to_env_actions(acted.actions), acted.core


class Keeps:
    """Keeps what another says of each step, and copies of it."""

    def __init__(self, acts: Acts) -> None:
        self.acts = acts
        self.kept: list[list[torch.Tensor]] = []
        self.copies: list[list[torch.Tensor]] = []

    def act(
        self, observations: Any, episode_starts: np.ndarray, action_masks: np.ndarray | None = None
    ) -> tuple[np.ndarray, CoreStep | None]:
        actions, step = self.acts.act(observations, episode_starts, action_masks)
        self.kept.append(list(tensors_of(step)))
        self.copies.append([part.clone() for part in self.kept[-1]])
        return actions, step


def same(one: list[list[torch.Tensor]], other: list[list[torch.Tensor]]) -> bool:
    return all(
        torch.equal(a, b) for left, right in zip(one, other, strict=True) for a, b in zip(left, right, strict=True)
    )


@pytest.mark.parametrize("deterministic", [True, False])
@pytest.mark.parametrize("memory", ["expire-span", "transformer-xl", "none", "lstm", "gru"])
def test_a_memory_written_in_place_is_one_that_is_copied(memory: Memory, deterministic: bool) -> None:
    """Catches: another step or another number than by `policy.act`, a memory of the episode before, and what was said
    of a step that changes with the next one's writing."""
    env = EnvConfig("ExpireSpan/Corridor-v0", ("max_length=4", "max_steps=20"))
    core = CoreConfig(memory=memory, dim=16, depth=2, heads=2, slots=4, max_span=12, ramp_length=3)
    model = build_model(TrainConfig(env=env, core=core), training_envs(env, 0), torch.device("cpu"))
    # An agent that moves about.
    assert isinstance(model.policy.action_net, nn.Linear)
    nn.init.normal_(model.policy.action_net.weight)
    seeds, played, keep = fresh_seeds(0, 7), [], []
    shares = shared_out(len(seeds), 3)
    for make in (Actor, Copies):
        keep.append(Keeps(make(model, 3, deterministic)))
        model.set_random_seed(1)
        with contextlib.closing(seeded_envs(env, [[seeds[i] for i in share] for share in shares])) as vec_env:
            played.append(play_in(vec_env, keep[-1], shares, seeds))
    model.set_random_seed(1)
    played.append(play(model, env, seeds, 3, deterministic))
    assert played[0] == played[1] == played[2]
    assert len(keep[0].kept) > 20
    assert same(keep[0].copies, keep[1].copies)
    assert same(keep[0].kept, keep[0].copies)


def test_live_memories_start_at_none(trained: Path) -> None:
    """Memories of the episode before, counted in the next one; a step's own state, counted as its memory."""
    run = runs.load(trained, "cpu")
    for episode in play(run.model, run.config.env, fresh_seeds(1, 6), n_envs=2):
        at_most = sum(min(past, 6) for past in range(episode.steps)) / episode.steps
        assert episode.live_memories is not None
        assert 0 <= episode.live_memories <= at_most


def test_corridor_by_length(tmp_path: Path, cli: Cli) -> None:
    """A success rate that hides that only the short corridors are solved."""
    run = tmp_path / "run"
    args = ("--env", "ExpireSpan/Corridor-v0", "--env-args", "max_length=30", "max_steps=25")
    assert cli("train", *args, *TINY, "--total-timesteps", 64, "--run-dir", run).status == 0
    result = json.loads(cli("evaluate", run, "--episodes", 12, "--json").out)
    by_length = result["success_by_length"]
    assert set(by_length) <= {"1-10", "11-25", "26-50"}
    assert sum(part["episodes"] for part in by_length.values()) == 12
    assert result["levels"] is None


def test_other_arguments_of_the_environment(tmp_path: Path, cli: Cli) -> None:
    """Catches: arguments that aren't used, that lose training's others, and another view that nobody notices."""
    run = tmp_path / "run"
    args = ("--env", "ExpireSpan/Corridor-v0", "--env-args", "max_length=9", "max_steps=5")
    assert cli("train", *args, *TINY, "--total-timesteps", 64, "--run-dir", run).status == 0
    evaluate = ("evaluate", run, "--episodes", 3, "--env-args")
    result = json.loads(cli(*evaluate, "max_length=12", "min_length=12", "--json").out)
    assert result["env_args"] == {"max_length": 12, "min_length": 12, "max_steps": 5}
    assert list(result["success_by_length"]) == ["11-25"]
    assert result["mean_length"] == 5
    for words, said in ((("max_length",), "NAME=VALUE"), (("agent_view_size=5", "min_length=5"), "trained on")):
        refused = cli(*evaluate, *words)
        assert refused.status == 2
        assert said in refused.err
        assert "Traceback" not in refused.err


def test_batched_episodes_are_those_of_a_step_by_step_evaluation() -> None:
    """Catches: an environment's second episode counted, turns of another one, a stop that is overlooked."""
    env = EnvConfig("ExpireSpan/EndlessTMaze-v0", ("min_length=3", "max_length=5", "max_steps=70"))
    model = ExpireSpanPPO("MlpPolicy", training_envs(env, 0), n_steps=16, batch_size=16, seed=0, device="cpu")
    # An agent that goes forward, and turns now and then.
    head = model.policy.action_net
    assert isinstance(head, nn.Linear)
    nn.init.normal_(head.weight)
    head.bias.data[2] = 1.0
    episodes = play_batched(model, env, TRAINING_SEEDS, 9)
    assert episodes is not None
    again = training_envs(dataclasses.replace(env, vec_env="batched", n_envs=9), TRAINING_SEEDS)
    state, starts, obs, rewards = None, np.ones(9, dtype=bool), again.reset(), np.zeros(9)
    for _ in range(70):
        assert isinstance(obs, np.ndarray)
        actions, state = model.predict(obs, state, starts, deterministic=True)
        obs, reward, starts, infos = again.step(actions)
        rewards += reward
    assert starts.all()
    for i, (played, info) in enumerate(zip(episodes, infos, strict=True)):
        assert played.seed == i
        assert played.steps == 70
        assert played.reward == pytest.approx(rewards[i], abs=1e-4)
        assert (played.success, played.turns, played.correct_turns, played.corridor_length) == tuple(
            info[name] for name in ("is_success", "turns", "correct_turns", "corridor_length")
        )
    assert play_batched(model, env, 0, 9, is_stopped=lambda: True) is None


def test_right_turns_are_counted_over_all_turns() -> None:
    """Catches: a mean of the episodes' rates, in which one of few turns counts as much as one of many."""
    one, other = (dataclasses.replace(episode(False), turns=n, correct_turns=k) for n, k in ((8, 8), (2, 0)))
    assert correct_turn_rate([one, other]) == 0.8
    assert correct_turn_rate([episode(True)]) is None
    # An agent that stands still.
    assert correct_turn_rate([one, other], fewest=8) == 0.5
    assert correct_turn_rate([episode(True)], fewest=8) is None


def episode(success: bool | None, length: int | None = None) -> Episode:
    return Episode(seed=0, reward=0.0, steps=1, live_memories=0.0, success=success, corridor_length=length)


def test_wilson_interval() -> None:
    """The normal approximation gives 1 to 1 for a perfect score, which claims certainty from ten episodes."""
    assert wilson_interval(0, 10) == pytest.approx((0.0, 0.27753), abs=1e-5)
    assert wilson_interval(10, 10) == pytest.approx((0.72247, 1.0), abs=1e-5)
    assert wilson_interval(98, 100) == pytest.approx((0.93000, 0.99450), abs=1e-4)


def test_summaries() -> None:
    """Bounds of the length ranges off by one; a rate made of the episodes that happened to say something."""
    parts = success_by_length([episode(True, 50), episode(False, 51), episode(True, 100), episode(True, 500)])
    assert parts is not None
    assert list(parts) == ["26-50", "51-100", "201-"]
    assert [part["success_rate"] for part in parts.values()] == [1.0, 0.5, 1.0]
    assert success_by_length([episode(True)]) is None
    assert success_summary([episode(True), episode(None)])["success_rate"] is None
    cut_off = dataclasses.replace(episode(None), cut_off=True)
    assert success_summary([episode(True), cut_off])["success_rate"] == 0.5, "it hadn't succeeded by then"
    assert success_summary([cut_off, cut_off])["success_rate"] is None


def test_many_corridors_have_no_one_length(tmp_path: Path, cli: Cli) -> None:
    """Catches: an Endless T-Maze's success split by the length of the corridor in which time was up."""
    run = tmp_path / "run"
    args = ("--env", "ExpireSpan/EndlessTMaze-v0", "--env-args", "min_length=3", "max_length=30", "max_steps=20")
    assert cli("train", *args, *TINY, "--total-timesteps", 64, "--run-dir", run).status == 0
    result = json.loads(cli("evaluate", run, "--episodes", 4, "--json").out)
    assert result["success_rate"] is not None
    assert result["success_by_length"] is None
    assert "  length " not in cli("evaluate", run, "--episodes", 4).out


def test_episodes_that_never_end(tmp_path: Path, cli: Cli) -> None:
    """Catches: an evaluation that says nothing for ever, or that Ctrl-C ends with a traceback or not at all."""
    run = tmp_path / "run"
    args = ("--env", "Pendulum-v1", "--env-args", "max_episode_steps=1000000000")
    assert cli("train", *args, *TINY, "--total-timesteps", 64, "--run-dir", run).status == 0
    program = (
        "import sys; from experiments import cli, evaluate; evaluate.SAY_EVERY = 0.1;"
        f"sys.exit(cli.main(['evaluate', {str(run)!r}, '--episodes', '3', '--device', 'cpu']))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=200)
    assert re.fullmatch(
        r"expire-span: 0 of 3 episodes have ended, after [\d,]+ steps; .*--max-steps cuts them off\n", line
    )
    assert process.returncode == 130
    assert out == ""
    assert err.splitlines()[-1] == "expire-span: interrupted"
    assert "Traceback" not in err


def test_episodes_are_cut_off(tmp_path: Path, cli: Cli) -> None:
    """Catches: no way out of episodes that never end; their cut not told, or told of episodes that ended by themselves
    at that very step; a next episode that is cut earlier."""
    run = tmp_path / "run"
    args = ("--env", "Pendulum-v1", "--env-args", "max_episode_steps=1000000000")
    assert cli("train", *args, *TINY, "--total-timesteps", 64, "--run-dir", run).status == 0
    evaluate = ("evaluate", run, "--episodes", 3, "--n-envs", 2, "--max-steps", 20)
    result = json.loads(cli(*evaluate, "--json").out)
    assert (result["mean_length"], result["cut_off"], result["max_steps"]) == (20, 3, 20)
    assert "cut off:       3 episodes, after 20 steps (--max-steps)" in cli(*evaluate).out
    ended = json.loads(cli(*evaluate, "--json", "--env-args", "max_episode_steps=20").out)
    assert (ended["mean_length"], ended["cut_off"]) == (20, 0)
    check(cli("evaluate", run, "--max-steps", 0), "--max-steps 0: must be at least 1")


def test_a_short_evaluation_says_nothing_on_the_way(trained: Path, cli: Cli) -> None:
    """Catches: lines on standard error of an evaluation that is over in a moment."""
    assert cli("evaluate", trained, "--episodes", 2).err == ""


def test_success_is_a_truth_value() -> None:
    """Catches: an `is_success` of 0.5 that is half a success in training and a whole one in an evaluation."""
    model: Any = SimpleNamespace(ep_success_buffer=[0.5, 0.0, np.float32(0.1), True])
    assert success_rate(model) == 0.75


def test_an_agent_acts_with_fewer_slots(trained: Path, cli: Cli) -> None:
    """Catches: slots that are taken from the file after all, or weights that depend on them."""
    few = json.loads(cli("evaluate", trained, "--episodes", 5, "--slots", 2, "--json").out)
    many = json.loads(cli("evaluate", trained, "--episodes", 5, "--json").out)
    assert 0 < few["live_memories"] <= 2 < many["live_memories"]
    assert (few["slots"], many["slots"]) == (2, 6)
    check(cli("evaluate", trained, "--slots", -1), "--slots -1: must be between 1 and 100000")


def test_a_transformer_xl_of_before_sees_as_many_states_as_it_has_slots(cli: Cli, tmp_path: Path) -> None:
    """Catches: a file whose spans were a setting of the core, and end before its new slots are full."""
    run = tmp_path / "run"
    few = ("--total-timesteps", 64, "--memory", "transformer-xl")
    assert cli("train", *S7, *TINY, *few, "--run-dir", run).status == 0
    tree: Any = checkpoint.read(run / runs.MODEL)
    kwargs = policy_kwargs_from_tree(tree)
    assert kwargs.pop("core") == "transformer-xl"
    of_before = {**kwargs, "core": "expire-span", "spans": "fixed", "max_span": float(kwargs["slots"])}
    checkpoint.write(run / runs.MODEL, tree | {"policy_kwargs": argument_to_tree(of_before)})
    core = runs.load(run, "cpu", 64).model.policy.core
    assert isinstance(core, ExpireSpanCore)
    assert (core.slots, core.max_span) == (64, 64)


@pytest.mark.parametrize("slots", [None, 2])
def test_a_model_is_read_once(trained: Path, monkeypatch: pytest.MonkeyPatch, slots: int | None) -> None:
    """Catches: a large file that is read, and an agent that is made, with the slots it had and again with others."""
    calls: list[str] = []
    original, set_up = checkpoint.read, ExpireSpanPPO._setup_model

    def read(path: Path) -> Any:
        calls.append("read")
        return original(path)

    def make(model: ExpireSpanPPO) -> None:
        calls.append("make")
        set_up(model)

    monkeypatch.setattr(checkpoint, "read", read)
    monkeypatch.setattr(ExpireSpanPPO, "_setup_model", make)
    core = runs.load(trained, "cpu", slots).model.policy.core
    assert isinstance(core, ExpireSpanCore)
    assert core.slots == (slots or 6)
    assert calls == ["read", "make"]


def test_slots_of_a_core_that_has_none(tmp_path: Path, cli: Cli) -> None:
    """Catches: a traceback, or an LSTM that is evaluated as it is without a word."""
    run = tmp_path / "run"
    args = ("--env", "ExpireSpan/Corridor-v0", "--env-args", "max_length=9", "--memory", "lstm", *TINY)
    assert cli("train", *args, "--total-timesteps", 64, "--run-dir", run).status == 0
    check(cli("evaluate", run, "--slots", 4), "has a core without slots (lstm)")
