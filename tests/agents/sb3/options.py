"""Arguments of the constructor: what is given, and what must then be so."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.utils import LinearSchedule
from torch import nn

from agents import ExpireSpanPPO
from agents.checkpoint import register


class Option(NamedTuple):
    """Arguments, and whether a model made and trained with them has them; `holds` is given a folder's path, too."""

    arguments: dict[str, Any]
    holds: Callable[[ExpireSpanPPO, Path], bool]
    note: str = ""
    actions: spaces.Space | None = None


class Doubled(BaseFeaturesExtractor):
    """A user's own: a linear layer, doubled."""

    def __init__(self, observation_space: spaces.Box, features_dim: int) -> None:
        super().__init__(observation_space, features_dim)
        self.linear = nn.Linear(observation_space.shape[0], features_dim)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return 2 * self.linear(observations)


# By this name its class is found when a model of it is loaded.
register("tests.Doubled", Doubled)


def _widths(model: ExpireSpanPPO) -> tuple[list[int], list[int]]:
    """Of the layers after the core: the policy's, and the value's."""
    nets = (model.policy.mlp_extractor.policy_net, model.policy.mlp_extractor.value_net)
    policy, value = ([layer.out_features for layer in net if isinstance(layer, nn.Linear)] for net in nets)
    return policy, value


def _logged(model: ExpireSpanPPO, name: str) -> Any:
    return model.logger.name_to_value[name]


def _rate(model: ExpireSpanPPO) -> float:
    rate = model.policy.optimizer.param_groups[0]["lr"]
    assert isinstance(rate, float)
    return rate


def _ended(value: float) -> bool:
    """Whether `LINEAR` has come to its end."""
    return abs(value - END) < 1e-9


def _is(optimizer: type[torch.optim.Optimizer], **kwargs: Any) -> Option:
    def holds(model: ExpireSpanPPO, _: Path) -> bool:
        group = model.policy.optimizer.param_groups[0]
        return type(model.policy.optimizer) is optimizer and kwargs.items() <= group.items()

    return Option({"policy_kwargs": {"optimizer_class": optimizer, "optimizer_kwargs": kwargs}}, holds)


END = 1e-4
LINEAR = LinearSchedule(1e-3, END, 1.0)
BOX = spaces.Box(-1, 1, (2,))
OPTIONS = {
    "`net_arch`, a list": Option(
        {"policy_kwargs": {"net_arch": [6, 5]}},
        lambda model, _: _widths(model) == ([6, 5], [6, 5]),
        "layers after the memory's core; by default none",
    ),
    "`net_arch`, a dict": Option(
        {"policy_kwargs": {"net_arch": {"pi": [6], "vf": [7, 5]}}},
        lambda model, _: _widths(model) == ([6], [7, 5]),
    ),
    "`activation_fn`": Option(
        {"policy_kwargs": {"net_arch": [6], "activation_fn": nn.ELU}},
        lambda model, _: any(isinstance(part, nn.ELU) for part in model.policy.mlp_extractor.policy_net),
    ),
    "`ortho_init=False`": Option(
        {"policy_kwargs": {"ortho_init": False}},
        # SB3's gain of 0.01 would make the head's weights smaller.
        lambda model, _: bool(model.policy.state_dict()["action_net.weight"].abs().max() > 0.05),
        "of heads and networks after the core; the core has its own start, the value head zeros",
    ),
    "`features_extractor_class`, `features_extractor_kwargs`": Option(
        {"policy_kwargs": {"features_extractor_class": Doubled, "features_extractor_kwargs": {"features_dim": 7}}},
        lambda model, _: isinstance(model.policy.features_extractor, Doubled) and model.policy.features_dim == 7,
        "a class of your own is registered (`agents.checkpoint.register`) or passed to `load(classes=…)`",
    ),
    "`optimizer_class=Adam`": _is(torch.optim.Adam, weight_decay=1e-4),
    "`optimizer_class=AdamW`": _is(torch.optim.AdamW, weight_decay=0.1),
    "`optimizer_class=RMSprop`": _is(torch.optim.RMSprop, alpha=0.9),
    "`optimizer_class=SGD`": _is(torch.optim.SGD, momentum=0.9),
    "`log_std_init`": Option(
        {"policy_kwargs": {"log_std_init": -2.0}, "learning_rate": 1e-9},
        lambda model, _: bool((model.policy.log_std + 2).abs().max() < 1e-3),
        actions=BOX,
    ),
    "`use_sde`, `full_std`, `use_expln`": Option(
        {"use_sde": True, "policy_kwargs": {"full_std": False, "use_expln": True}},
        lambda model, _: tuple(model.policy.log_std.shape) == (model.policy.core.dim, 1),
        actions=BOX,
    ),
    "`normalize_advantage=False`": Option(
        {"normalize_advantage": False}, lambda model, _: not model.normalize_advantage
    ),
    "`target_kl`": Option(
        # A pass that stops in its first minibatch has counted as an update, and changed nothing.
        {"target_kl": 1e-12, "n_epochs": 4, "learning_rate": 0.1},
        lambda model, _: model._n_updates < 2 * 4,
        "passes over a rollout end early",
    ),
    "`clip_range_vf`": Option({"clip_range_vf": 0.2}, lambda model, _: _logged(model, "train/clip_range_vf") == 0.2),
    "schedules: `learning_rate`": Option({"learning_rate": LINEAR}, lambda model, _: _ended(_rate(model))),
    "schedules: `clip_range`": Option(
        {"clip_range": LINEAR}, lambda model, _: _ended(_logged(model, "train/clip_range"))
    ),
    "schedules: `clip_range_vf`": Option(
        {"clip_range_vf": LINEAR}, lambda model, _: _ended(_logged(model, "train/clip_range_vf"))
    ),
    "schedules: `memory_budget`": Option(
        {"memory_budget": LINEAR},
        lambda model, _: _ended(_logged(model, "train/memory_budget")),
        "ours, see [the memory's settings](memory-settings.md)",
    ),
    "`stats_window_size`": Option(
        {"stats_window_size": 3},
        lambda model, _: model.ep_info_buffer is not None and model.ep_info_buffer.maxlen == 3,
    ),
    "`tensorboard_log`": Option(
        {"tensorboard_log": "{folder}"},
        lambda _, folder: len(list(folder.glob("ExpireSpanPPO_1/events.out.tfevents.*"))) == 1,
        "events under `tensorboard_log/ExpireSpanPPO_1`; `tb_log_name` of `learn` gives another name",
    ),
    "`device`": Option({"device": torch.device("cpu")}, lambda model, _: model.device.type == "cpu"),
}
"""By what the page calls them. `{folder}` in an argument stands for the folder."""
