"""Checkpoint files: read without running their code, unwrapped, checked tensor by tensor."""

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from codesign.errors import UserError

_WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.", "model.")


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint by name.

    The usual wrappings are taken off: "state_dict", "model" and their averaged variants (which
    come first), and the prefixes that data parallelism and compilation leave.

    Args:
        path: A safetensors file, or a torch file that holds only tensors and plain values.

    Raises:
        UserError: The file is missing, damaged, needs code to be loaded, or holds no tensors.
    """
    if not path.is_file():
        raise UserError(f"model.checkpoint={path} is not a file: give the file of the weights")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    state = {k: v for k, v in content.items() if isinstance(v, Tensor)} if content else {}
    if not state:
        raise UserError(f"model.checkpoint={path} holds no tensors: give a file of weights")
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _read_safetensors(path: Path) -> Mapping[str, Any]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"model.checkpoint={path} is not a whole safetensors file ({error}): fetch it again"
        ) from error


def _read_torch(path: Path) -> Mapping[str, Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle protocols: the error below says it all
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"model.checkpoint={path} holds more than tensors and is not loaded, since that could "
            "run code: save the model's state_dict(), best as safetensors"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise UserError(
            f"model.checkpoint={path} is damaged or not a torch file: fetch it again"
        ) from error
    return content if isinstance(content, Mapping) else {}


def load_checkpoint(model: nn.Module, path: Path, head: tuple[str, ...]) -> bool:
    """Load a checkpoint into a model.

    Args:
        model: The model; its weights are replaced.
        path: See `read_state`.
        head: Prefixes of the tensors of the classifier, which may be missing or of other
            numbers of classes: they are then left as they are.

    Returns:
        Whether the classifier came from the file too.

    Raises:
        UserError: A tensor is missing, unknown or of the wrong shape; the message names it.
    """
    state, wanted = read_state(path), model.state_dict()
    classifier = {name for name in wanted if name.startswith(head)}
    complete = all(n in state and state[n].shape == wanted[n].shape for n in classifier)
    if not complete:
        state = {name: tensor for name, tensor in state.items() if not name.startswith(head)}
        wanted = {name: tensor for name, tensor in wanted.items() if name not in classifier}
    _check(state, wanted, path)
    model.load_state_dict(state, strict=complete)
    return complete


def _check(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path) -> None:
    for fault, names in (
        ("lacks the tensor", wanted.keys() - state.keys()),
        ("holds the unknown tensor", state.keys() - wanted.keys()),
    ):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise UserError(
                f"model.checkpoint={path} {fault} '{min(names)}'{more}: it is of another model "
                "than model.name and model.kwargs say"
            )
    for name, tensor in wanted.items():
        if state[name].shape != tensor.shape:
            raise UserError(
                f"model.checkpoint={path}: tensor '{name}' is {tuple(state[name].shape)}, the "
                f"model's is {tuple(tensor.shape)}: set model.name and model.kwargs to match"
            )
