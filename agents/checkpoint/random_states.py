"""The states of random generators as plain values, so that a training goes on with the numbers it would have drawn."""

import random
from typing import Any

import numpy as np
import torch

from agents.checkpoint.errors import CheckpointError, shown
from agents.checkpoint.tree import Tree, fields

_KEY = 624
"""Words of a Mersenne Twister."""
_ADVICE = "take another checkpoint"


def random_states() -> Tree:
    """The states of Python's `random`, NumPy's global generator, and PyTorch's on the CPU and on CUDA devices.

    CUDA counts once the process has used it; its generators haven't drawn anything before.

    Raises:
        CheckpointError: if NumPy's global generator was replaced by another than its Mersenne Twister.
    """
    _, key, gauss = random.getstate()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return {
        "python": {"key": np.array(key[:-1], np.uint32), "pos": key[-1], "gauss": gauss},
        "numpy": _numpy_global(),
        "torch": torch.get_rng_state().numpy(),
        "cuda": [state.numpy() for state in cuda],
    }


def restore_random_states(tree: Tree) -> str | None:
    """Sets the generators to the states in a tree of `random_states`, all or none of them.

    Returns:
        What couldn't be restored, on a machine with fewer CUDA devices or more; None if all was.

    Raises:
        CheckpointError: if any of the states can't be one. No generator has been touched then.
    """
    parts = fields(tree, "the random generators", "python", "numpy", "torch", "cuda")
    python = _python_state(parts["python"])
    numpy = _numpy_state(parts["numpy"])
    cpu = _torch_state(parts["torch"], torch.device("cpu"))
    devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not isinstance(parts["cuda"], list):
        raise CheckpointError(f"the states of CUDA's generators are no list but {shown(parts['cuda'])}: {_ADVICE}")
    cuda = [_torch_state(state, torch.device("cuda", i)) for i, state in enumerate(parts["cuda"][:devices])]

    random.setstate(python)
    np.random.set_state(numpy)  # noqa: NPY002  # the global generator is what this is about
    torch.set_rng_state(cpu)
    for i, state in enumerate(cuda):
        torch.cuda.set_rng_state(state, i)
    count = len(parts["cuda"])
    return f"{count} CUDA devices had random states, and {devices} are here" if 0 < count != devices else None


def _numpy_global() -> Tree:
    state: dict[str, Any] = np.random.get_state(legacy=False)  # noqa: NPY002  # the global generator is what this is about
    if state["bit_generator"] != "MT19937":
        raise CheckpointError(
            f"NumPy's global generator is a {state['bit_generator']}: take MT19937 back, its default, with "
            f"np.random.set_bit_generator"
        )
    return {
        "key": state["state"]["key"],
        "pos": state["state"]["pos"],
        "gauss": state["gauss"] if state["has_gauss"] else None,
    }


def _twister(tree: Tree, what: str) -> tuple[np.ndarray, int, float | None]:
    """A Mersenne Twister's words, its position in them, and the normal number that it drew in advance."""
    parts = fields(tree, what, "key", "pos", "gauss")
    key, position, gauss = parts["key"], parts["pos"], parts["gauss"]
    fits = (
        (isinstance(key, np.ndarray) and key.dtype == np.uint32 and key.shape == (_KEY,))
        and (type(position) is int and 0 <= position <= _KEY)
        and (gauss is None or type(gauss) is float)
    )
    # Of zeros alone (the first word counts by its first bit) it draws nothing but zeros, and a normal number never.
    if not fits or not (key[0] >> 31 or key[1:].any()):
        raise CheckpointError(f"{what} can't be in the state {shown(tree)}: {_ADVICE}")
    return key, position, gauss


def _python_state(tree: Tree) -> tuple[int, tuple[int, ...], float | None]:
    key, position, gauss = _twister(tree, "Python's random generator")
    return random.Random.VERSION, (*key.tolist(), position), gauss


def _numpy_state(tree: Tree) -> dict[str, Any]:
    key, position, gauss = _twister(tree, "NumPy's global random generator")
    _numpy_global()  # the one that is there must be of this kind too
    state = {"key": key, "pos": position}
    return {"bit_generator": "MT19937", "state": state, "has_gauss": int(gauss is not None), "gauss": gauss or 0.0}


def _torch_state(state: Tree, device: torch.device) -> torch.Tensor:
    """A state that a generator on this device has taken, one that nobody draws from."""
    what = f"PyTorch's random generator on {device.type}"
    if not isinstance(state, np.ndarray) or state.dtype != np.uint8:
        raise CheckpointError(f"{what} is in the state {shown(state)}, which isn't bytes: {_ADVICE}")
    tensor = torch.from_numpy(state.copy())
    try:
        torch.Generator(device).set_state(tensor)
    except RuntimeError as error:
        raise CheckpointError(f"{what} refuses its state ({shown(str(error))}): {_ADVICE}") from error
    return tensor
