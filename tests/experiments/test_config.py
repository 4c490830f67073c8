"""Every setting can be reached, has the default of what it sets, and says what it does."""

import ast
import dataclasses
import inspect
import json
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.torch_layers import FlattenExtractor

import agents.precision
import experiments.config
from agents import ExpireSpanPPO, MiniGridExtractor
from agents.cores import core_maker
from experiments import presets
from experiments.arguments import merged, parse_pairs
from experiments.config import AgentConfig, CoreConfig, EnvConfig, ResultsConfig, TrainConfig
from experiments.environments import training_envs
from experiments.errors import UserError, near_misses
from experiments.model import build_model, policy_kwargs
from experiments.runs import config_from_dict
from experiments.whole_numbers import whole_number
from expire_span import ExpireSpanCore
from tests.experiments.conftest import Cli


def test_every_field_has_a_docstring() -> None:
    """A field without one shows up in --help as a bare name that nobody can use."""
    tree = ast.parse(Path(inspect.getfile(experiments.config)).read_text())
    fields = 0
    for node in tree.body:
        if not isinstance(node, ast.ClassDef):
            continue
        for statement, following in zip(node.body, [*node.body[1:], None], strict=True):
            if isinstance(statement, ast.AnnAssign):
                fields += 1
                documented = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
                assert documented, f"{node.name}: {ast.unparse(statement)}"
    assert fields > 60


def test_agent_settings_are_the_agents_own() -> None:
    """A default of the command line that drifts from the library's, an argument that no flag reaches, a precision."""
    ours = {field.name: field.default for field in dataclasses.fields(AgentConfig)}
    assert experiments.config.Precision == agents.precision.Precision
    signature = inspect.signature(ExpireSpanPPO).parameters
    not_settings = {"policy", "env", "tensorboard_log", "policy_kwargs", "verbose", "seed", "device"}
    for name, parameter in signature.items():
        if name not in not_settings | {"_init_setup_model"}:
            assert ours[name] == parameter.default, name


def test_core_settings_are_the_cores_own() -> None:
    """A size of the memory core that no flag reaches, or whose default differs from the policy's."""
    policy = core_maker("expire-span", {}).keywords
    core = inspect.signature(ExpireSpanCore.__init__).parameters
    ours = {field.name: field.default for field in dataclasses.fields(CoreConfig)}
    # Spans are what --memory sets; random shortening would make training differ from acting.
    for name in core.keys() - {"self", "spans", "random_shortening"}:
        assert ours[name] == policy[name], name


def test_memory_is_one_flag() -> None:
    """A comparison with a Transformer-XL whose spans are shorter than its slots would be unfair to it."""
    assert CoreConfig(memory="none").arguments()["slots"] == 0
    fixed = CoreConfig(memory="transformer-xl", slots=64, max_span=20, log_position=True, count_matches=True)
    arguments = fixed.arguments()
    assert arguments == {
        **{"core": "transformer-xl", "dim": 128, "depth": 2, "heads": 4, "slots": 64, "seq_len": 64},
        **{"backend": "plain", "log_position": True, "count_matches": True},
    }
    core = core_maker(arguments.pop("core"), arguments)()
    assert isinstance(core, ExpireSpanCore)
    assert (core.learns_spans, core.max_span) == (False, 64)
    of_lstm = {"core": "lstm", "dim": 32, "depth": 2, "output_norm": True}
    assert CoreConfig(memory="lstm", dim=32, slots=7).arguments() == of_lstm


@pytest.mark.parametrize("name", presets.names())
def test_presets_construct(name: str) -> None:
    """A preset that names an environment, an argument or a size that doesn't exist."""
    config = presets.load(name).config
    config.check()
    config = dataclasses.replace(config, env=dataclasses.replace(config.env, n_envs=2))
    vec_env = training_envs(config.env, config.seed)
    import torch

    build_model(config, vec_env, torch.device("cpu"))
    vec_env.close()


def test_config_survives_json() -> None:
    """Tuples that come back from config.json as lists would differ from the settings of the same run."""
    config = TrainConfig(env=EnvConfig(env_args=("a=1",)), agent=AgentConfig(net_arch=(8, 8)), preset="demo")
    assert config_from_dict(json.loads(json.dumps(dataclasses.asdict(config)))) == config


def test_pairs() -> None:
    """Values that stay strings: `true` and `null` are JSON, not Python, and a bare word is neither. A traceback where
    a literal can't be made."""
    words = ("a=3", "b=1e-3", "c=true", "d=None", "e=word", "f=[1, 2]", "g=null", "h=x=y")
    assert parse_pairs(words, "--x") == {
        **{"a": 3, "b": 1e-3, "c": True, "d": None, "e": "word", "f": [1, 2], "g": None, "h": "x=y"}
    }
    for wrong in ("a", "=3", "a=", "a b=3", "3=a"):
        with pytest.raises(UserError, match="NAME=VALUE"):
            parse_pairs((wrong,), "--x")
    # Braces around a dictionary are a set of it, which Python can't make: a TypeError. And what is nested too deeply.
    for text in ('{{"pi": [64]}}', "{[]: 1}", 5000 * "[", 100_000 * "-" + "1", 100_000 * "[" + 100_000 * "]"):
        assert parse_pairs((f"a={text}",), "--x") == {"a": text}
    assert merged(("a=1", "b=2"), ("b=3", "c=4"), "--x") == ("a=1", "b=3", "c=4")


def test_whole_numbers() -> None:
    """Catches: 1e6 refused, though it says a million; a fraction that is cut off; a number of a list, or one that may
    be None, that is read by another rule."""
    from experiments.cli import parse

    config = parse(["train", "--total-timesteps", "2.5e6", "--n-envs", "1_6", "--segment-length", "3.2e1"])
    assert isinstance(config, TrainConfig)
    assert (config.total_timesteps, config.env.n_envs, config.agent.segment_length) == (2_500_000, 16, 32)
    matrix = parse(["results", "--seeds", "0", "1e2"])
    assert isinstance(matrix, ResultsConfig)
    assert matrix.seeds == (0, 100)
    for wrong in ("1.5", "1e-3", "inf", "nan", "million", "", "1e400"):
        with pytest.raises(ValueError, match="is no whole number, such as 1000000 or 1e6"):
            whole_number(wrong)
    with pytest.raises(SystemExit):
        parse(["train", "--total-timesteps", "1.5"])


def test_near_misses() -> None:
    """Suggestions that depend on the case of what was typed."""
    assert near_misses("corrido", ["corridor", "demo"]) == "did you mean corridor?"
    assert near_misses("DEMO", ["corridor", "demo"]) == "did you mean demo?"
    assert near_misses("xyz", ["corridor", "demo"]) == "known: corridor, demo"


def test_preset_is_overridden_by_flags(cli: Cli) -> None:
    """A preset that wins over an explicit flag, or environment arguments that replace instead of add."""
    from experiments.cli import parse

    config = parse(["train", "--preset", "memory-s9", "--slots", "33", "--env-args", "max_steps=50"])
    assert isinstance(config, TrainConfig)
    assert config.core.slots == 33
    assert config.env.env_id == "MiniGrid-MemoryS9-v0"
    assert config.env.env_kwargs == {"agent_view_size": 3, "max_steps": 50}
    assert config.preset == "memory-s9"


@pytest.mark.parametrize("command", [(), ("train",), ("evaluate",), ("record",), ("tasks",)])
def test_help(cli: Cli, command: tuple[str, ...]) -> None:
    """A help text that can't be made."""
    outcome = cli(*command, "--help")
    assert outcome.status == 0
    assert "usage: expire-span" in outcome.out


def test_the_extractor_is_the_one_asked_for() -> None:
    """Would catch: `--extractor default` that still embeds MiniGrid's codes, since the policy does so by itself."""
    codes = spaces.Box(0, 10, (3, 3, 3), np.uint8)
    chosen = [
        policy_kwargs(CoreConfig(), agent, codes).get("features_extractor_class")
        for agent in (AgentConfig(), AgentConfig(extractor="minigrid"), AgentConfig(extractor="default"))
    ]
    assert chosen == [None, MiniGridExtractor, FlattenExtractor]


def test_pooled_comes_beside_other_arguments_of_the_extractor() -> None:
    """Would catch: `--pooled` that is lost where `--policy-args` has arguments of the extractor, or they by it."""
    codes = spaces.Box(0, 10, (3, 3, 3), np.uint8)
    agent = AgentConfig(pooled=True, policy_args=('features_extractor_kwargs={"embedding_dim": 8}',))
    given = policy_kwargs(CoreConfig(), agent, codes)["features_extractor_kwargs"]
    assert given == {"embedding_dim": 8, "pooled": True}
