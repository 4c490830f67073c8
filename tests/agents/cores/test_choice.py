"""Which core a policy gets, and what it says to one that can't be had."""

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor, nn

from agents import ExpireSpanPPO, MiniGridExtractor
from agents.cores import GRUCore, LSTMCore, StateCore, StateOutput, core_maker
from expire_span import ExpireSpanCore
from tests.agents.models import CORES, clock_model, collect
from tests.agents.worlds import box


class Wrong(NamedTuple):
    part: Tensor


class Sideways(StateCore):
    """Its memory has environments first."""

    def empty_memory(self, batch: int) -> Wrong:
        return Wrong(torch.zeros(batch, 1, self.dim))

    def forward(self, x: Tensor, memory: Any, episode_starts: Tensor) -> StateOutput:
        return StateOutput(x, memory)


WRONG = [
    ({"core": "rnn"}, r"core='rnn' must be one of expire-span, transformer-xl, lstm, gru, or a class"),
    ({"core": "lstm", "slots": 4}, r"core lstm has an argument slots; the core has dim, depth, hidden_size"),
    ({"core": "transformer-xl", "max_span": 4.0, "spans": "fixed"}, r"has an argument max_span, spans; the core has"),
    ({"core": "expire-span", "random_shortening": True}, "^random_shortening=True: .* would differ from the one that"),
    ({"core": ExpireSpanCore, "random_shortening": True}, "^random_shortening=True: .* would differ from the one that"),
    ({"core": "expire-span", "backend": "flex"}, "^backend='flex' can't be trained with"),
    ({"core": "transformer-xl", "backend": "flex"}, "^backend='flex' can't be trained with"),
    ({"core": ExpireSpanCore, "backend": "flex"}, "^backend='flex' can't be trained with"),
    ({"core": Sideways, "depth": 3}, r"core Sideways has an argument depth; the core has dim"),
    ({"core": LSTMCore(4, 1)}, "must be a class or function that makes a core, not a core itself"),
    ({"core": lambda: nn.Linear(3, 3)}, r"Linear can't be a policy's core: it has no dim, empty_memory, cache, step"),
    ({"core": Sideways}, r"Sideways.empty_memory\(3\) must give a NamedTuple .* a Wrong of \[\(3, 1, 128\)\]"),
]


@pytest.mark.parametrize(("given", "message"), WRONG, ids=range(len(WRONG)))
def test_cores_that_cannot_be_had(given: dict[str, Any], message: str) -> None:
    """Would catch: a size that is silently ignored, so that a comparison isn't the one that was asked for; a core that
    fails in the middle of the first rollout, or with a message about tensors; one that is refused by its name, and as a
    class collects a rollout that it can't be trained on, or trains a policy other than the one that acted."""
    with pytest.raises(ValueError, match=message):
        clock_model(policy_kwargs=given)


def test_names_and_functions() -> None:
    """Would catch: a name that stands for another core, arguments that don't arrive, a function that isn't called with
    what it takes."""
    cores = {name: clock_model(policy_kwargs=CORES[name]).policy.core for name in CORES}
    assert {name: type(core) for name, core in cores.items()} == {
        "expire-span": ExpireSpanCore,
        "transformer-xl": ExpireSpanCore,
        "lstm": LSTMCore,
        "gru": GRUCore,
    }
    assert isinstance(cores["lstm"], LSTMCore)
    assert (cores["lstm"].dim, cores["lstm"].depth, cores["lstm"].hidden_size) == (16, 2, 12)

    def of_width(width: int, **others: Any) -> LSTMCore:
        assert others == {"more": 1}
        return LSTMCore(width, 1)

    assert clock_model(policy_kwargs={"core": of_width, "width": 10, "more": 1}).policy.core.dim == 10
    assert core_maker("gru", {}).keywords == {"dim": 128, "depth": 2, "hidden_size": None, "output_norm": True}


def test_a_transformer_xl_sees_its_newest_slots() -> None:
    """Would catch: spans that end before a slot is needed, or states that fade while they have one."""
    core = core_maker("transformer-xl", {"dim": 8, "heads": 2, "slots": 3})()
    assert isinstance(core, ExpireSpanCore)
    cache = core.cache(core.empty_memory(1))
    for t in range(8):
        step = core.step(torch.randn(1, 8), cache, torch.tensor([False]))
        assert (step.masks > 0).sum(-1).flatten().tolist() == [min(t, 3)] * 2
        assert set(step.masks.flatten().tolist()) <= {0.0, 1.0}
        assert not step.evicted_live.any()
        cache = cache.written(step.write)


def test_names_of_weights_stay() -> None:
    """Would catch: a model saved by an earlier version that can't be loaded."""
    names = clock_model().policy.state_dict().keys()
    assert {"core.norm.weight", "core.blocks.0.norm.weight", "embed.weight", "action_net.weight"} <= names
    assert {name.partition(".")[0] for name in names} == {"core", "embed", "action_net", "value_net"}


def test_a_core_without_spans_says_nothing_of_them() -> None:
    """Would catch: live memories of an LSTM in the log, a span coefficient that rises for nothing."""
    model = clock_model(policy_kwargs=CORES["lstm"], memory_budget=0)
    collect(model)
    model.train()
    logged = set(model.logger.name_to_value)
    assert "train/value_loss" in logged
    assert not {name for name in logged if "span" in name or "memory" in name}
    assert model.memory_statistics == {}
    assert model.span_coef == 0


def test_features_are_as_wide_as_the_core() -> None:
    """Would catch: an encoder that differs from core to core."""
    codes = spaces.Box(0, 10, (3, 3, 3), np.uint8)
    for core in CORES.values():
        policy = clock_model(codes, policy_kwargs=core).policy
        assert isinstance(policy.features_extractor, MiniGridExtractor)
        assert policy.features_dim == policy.core.dim == 16


def test_states_of_other_cores_are_refused() -> None:
    """Would catch: an LSTM's state taken for a GRU's, whose shapes are alike; a state lost or changed by `predict`."""
    obs = np.zeros((2, 3), np.float32)
    models = [clock_model(policy_kwargs=core) for core in (*CORES.values(), {"core": "lstm", "dim": 16, "depth": 2})]
    states = [model.predict(obs)[1] for model in models]
    for model, own in zip(models, states, strict=True):
        assert isinstance(model, ExpireSpanPPO)
        kept = [tensor.clone() for tensor in own.cache.memory]
        first, second = (model.predict(obs, own, deterministic=True)[1] for _ in range(2))
        assert all(map(torch.equal, own.cache.memory, kept))
        assert all(map(torch.equal, first.cache.memory, second.cache.memory))
        assert not all(map(torch.equal, first.cache.memory, kept))
    for model, other in ((models[0], states[2]), (models[2], states[3]), (models[2], states[4])):
        with pytest.raises(ValueError, match="another policy's"):
            model.predict(obs, other)


def test_a_single_box_of_actions() -> None:
    """Would catch: a core that only works with discrete actions."""
    model = clock_model(action_space=box(2), policy_kwargs=CORES["gru"], use_sde=True)
    collect(model)
    model.train()
