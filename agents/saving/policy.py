"""A policy as a tree, and back."""

from collections.abc import Mapping
from typing import Any, TypeVar

from stable_baselines3.common.policies import ActorCriticPolicy

from agents import checkpoint
from agents.checkpoint import Tree, fields
from agents.checkpoint.arguments import argument_from_tree, argument_to_tree
from agents.saving.fitting import check_kind, check_weights, fitting_together, quiet
from expire_span.version import __version__

Policy = TypeVar("Policy", bound=ActorCriticPolicy)

KIND = "expire-span policy"
"""What the file says it holds."""


def policy_to_tree(policy: ActorCriticPolicy) -> Tree:
    """All that makes a policy."""
    arguments = policy._get_constructor_parameters()
    return {
        "kind": KIND,
        "version": __version__,
        "observation_space": checkpoint.space_to_tree(arguments.pop("observation_space")),
        "action_space": checkpoint.space_to_tree(arguments.pop("action_space")),
        "arguments": argument_to_tree({name: value for name, value in arguments.items() if name != "lr_schedule"}),
        "weights": dict(policy.state_dict()),
    }


def policy_from_tree(cls: type[Policy], tree: Tree, classes: Mapping[str, type[Any]] | None = None) -> Policy:
    """The policy that was described, on the CPU.

    Raises:
        CheckpointError: if the tree isn't a policy's, or doesn't fit together.
    """
    with fitting_together(), quiet():
        part = fields(tree, "a policy", "kind", "version", "observation_space", "action_space", "arguments", "weights")
        check_kind(part["kind"], KIND)
        observations = checkpoint.space_from_tree(part["observation_space"])
        actions = checkpoint.space_from_tree(part["action_space"])
        arguments = argument_from_tree(part["arguments"], "arguments", classes)
        use_sde = bool(arguments.pop("use_sde", False))
        check_weights(cls, observations, actions, arguments, use_sde, part["weights"], classes)
        policy = cls(observations, actions, lambda _: 0.0, use_sde=use_sde, **arguments)
        policy.load_state_dict(part["weights"])
    return policy
