"""Weights in and out: safetensors, the bundled models, the authors' released checkpoints."""

from __future__ import annotations

import itertools
import json
import pickle
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dasrlib import baselines, errors
from dasrlib.baselines import Baseline
from dasrlib.data import datasets
from dasrlib.degradation import DegradationSpace
from dasrlib.network import BlindSR
from dasrlib.profiles import Sizes
from dasrlib.records.atomic_write import atomic_write
from dasrlib.records.run_record import RunRecord
from dasrlib.systems import DEFAULT_WEIGHTS

BUNDLED = Path(__file__).parent / "bundled"
AUTHORS = "authors"  # what the names of the authors' own weights begin with, and their folder
# Bundled DASR networks hold these in 8 bits. On held-out pictures that costs less than 0.001 dB;
# the first and the last layers would cost 0.01 dB.
EIGHT_BITS, SMALLEST = ("encoder.", "sr.groups."), 4096  # weights of a tensor


def _description(model: BlindSR | Baseline) -> dict[str, Any]:
    """What the header of a file says, so that the same network can be built again."""
    if isinstance(model, Baseline):
        space = asdict(model.space) if model.space else None
        own: dict[str, Any] = {"space": space}
    else:
        own = {"encoder_input": model.encoder_input, "patch": model.patch}
    return {"model": model.name, "scale": model.scale, "sizes": asdict(model.sizes), **own}


def _with_tuples(value: Any) -> Any:
    """What json gave back, with tuples again for its lists."""
    if isinstance(value, dict):
        return {key: _with_tuples(part) for key, part in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def _described(description: dict[str, Any]) -> BlindSR | Baseline:
    """The network of a header, untrained."""
    name, scale, sizes = (description[key] for key in ("model", "scale", "sizes"))
    if name in baselines.NETWORKS:
        stored = description["space"]
        space = DegradationSpace(**stored) if stored else None
        # A denoiser is of scale 1, and the same for all scales of a reduction.
        reduction = space.scale if space else max(scale, 2)
        return baselines.build_in_sizes(name, reduction, sizes, space)
    described = description["encoder_input"], description["patch"]
    return BlindSR(scale, Sizes(**sizes), name, *described)


def _check_fits(description: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> None:
    """Raises ValueError where a header describes another network than the file's tensors are of.

    Nothing is allocated for it, however large the described network is.
    """
    # More layers than tensors, or more channels than the widest tensor has: refused before a loop.
    most = max([64, len(shapes), *(side for shape in shapes.values() for side in shape)])
    too_large = [number for number in _whole_numbers(description["sizes"]) if number > most]
    if too_large:
        raise ValueError(f"a size of {max(too_large)} for tensors of at most {most}")
    with torch.device("meta"):
        expected = {n: tuple(t.shape) for n, t in _described(description).state_dict().items()}
    stored = {n: s for n, s in shapes.items() if not n.endswith(".scale") or n in expected}
    if stored != expected:
        other = sorted(expected.items() ^ stored.items())[0][0]
        raise ValueError(f"another shape or name of {other}")


def _whole_numbers(sizes: Any) -> Iterator[int]:
    if isinstance(sizes, dict | tuple):
        for part in sizes.values() if isinstance(sizes, dict) else sizes:
            yield from _whole_numbers(part)
    elif isinstance(sizes, int):
        yield sizes


def _in_eight_bits(name: str, tensor: Tensor) -> dict[str, Tensor]:
    """A tensor (O, …) as whole numbers up to ±127 and a scale for each of the O; else as it is."""
    if not name.startswith(EIGHT_BITS) or tensor.ndim < 2 or tensor.numel() < SMALLEST:
        return {name: tensor}
    largest = tensor.float().abs().amax(dim=tuple(range(1, tensor.ndim)), keepdim=True)
    scale = largest.clamp(min=1e-12) / 127
    return {name: (tensor.float() / scale).round().to(torch.int8), f"{name}.scale": scale}


def _out_of_eight_bits(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that `_in_eight_bits` was given, rounded; to fp16 too, as the others are."""
    scales = {name: tensors.pop(f"{name}.scale") for name, t in [*tensors.items()]
              if t.dtype == torch.int8}  # fmt: skip
    return {n: (t * scales[n]).half() if n in scales else t for n, t in tensors.items()}


def save(
    model: BlindSR | Baseline,
    path: str | Path,
    record: RunRecord | None = None,
    numbers: Literal["fp16", "float32", "8 bits"] = "fp16",
) -> Path:
    """Writes a network as safetensors, whole or not at all; returns the path.

    The file itself says which network it holds, so that `load` needs nothing else. The record, of
    how it was trained, goes into a .json beside it. A baseline's buffers stay in float32: a basis
    of kernels must be the same for all that share it, and small variances would be rounded to 0.

    numbers: how weights are stored; "8 bits" is for the bulk of a DASR network, as the bundled
        ones have it (EIGHT_BITS), with fp16 for the rest.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"weights are saved as .safetensors, got {path.name!r}")
    tensors = {name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}
    exact = {name for name, _ in model.named_buffers()} if isinstance(model, Baseline) else set()
    if numbers != "float32":
        halved = {n for n, t in tensors.items() if t.is_floating_point()} - exact
        tensors = {n: t.half() if n in halved else t for n, t in tensors.items()}
    if numbers == "8 bits":
        pairs = [_in_eight_bits(name, tensor).items() for name, tensor in tensors.items()]
        tensors = dict(itertools.chain(*pairs))
    header = {"dasrlib": json.dumps(_description(model))}
    with atomic_write(path) as temporary:
        save_file(tensors, temporary, metadata=header)
    if record is not None:
        record.write(path.with_suffix(".json"))
    return path


def catalogue() -> dict[str, RunRecord]:
    """The bundled networks by name, each with the record of its training."""
    files = sorted(BUNDLED.rglob("*.safetensors"))
    names = [path.relative_to(BUNDLED).with_suffix("").as_posix() for path in files]
    return {name: RunRecord.read(BUNDLED / f"{name}.json") for name in names}


def find(name: str | Path) -> Path:
    """The file of bundled weights, of the authors' downloaded ones, or of a .safetensors path."""
    if Path(name).suffix == ".safetensors":
        if Path(name).is_file():
            return Path(name)
        raise FileNotFoundError(f"there is no file {name}")
    bundled = BUNDLED / f"{name}.safetensors"
    if bundled.is_file():
        return bundled
    group, _, own = str(name).partition("/")
    if group == AUTHORS:
        places = [folder / AUTHORS for folder in datasets.search_folders()]
        for place in places:
            if (place / f"{own}.safetensors").is_file():
                return place / f"{own}.safetensors"
        raise FileNotFoundError(
            f"{name} is not in {places[0]}: `dasr data get authors` downloads x2-iso, x3-iso, "
            "x4-iso and x4-aniso, and weights in another folder are given by their path"
        )
    names = sorted(catalogue(), key=DEFAULT_WEIGHTS.__ne__)
    message = errors.unknown_name_message("bundled weights", name, names)
    raise ValueError(
        message.split("Expected one of")[0]
        + "Expected a name that `dasr data weights` lists, or the path of a .safetensors file"
    )


def record(name: str | Path) -> RunRecord | None:
    """How bundled weights, or those of a file, were trained; None where no json says it."""
    path = find(name).with_suffix(".json")
    return RunRecord.read(path) if path.is_file() else None


def load(name: str | Path, device: torch.device | str = "cpu") -> BlindSR:
    """A DASR network with its weights, in evaluation mode.

    Args:
        name: of bundled weights, such as "laptop/model4-x4-iso", or a .safetensors file of `save`.
        device: where to.

    Raises:
        ValueError: no bundled weights have this name, or the file holds something else.
        FileNotFoundError: the file is not there.
    """
    model = load_system(name, device)
    if not isinstance(model, BlindSR):
        raise ValueError(
            f"{find(name)} holds {model.name}, which has no degradation representation: "
            "weights.load_system reads it"
        )
    return model


def load_system(name: str | Path, device: torch.device | str = "cpu") -> BlindSR | Baseline:
    """`load` for every system of §4.2 that is trained: DASR's, or one that it is compared with."""
    path = find(name)
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get("dasrlib")
            names = [*file.keys()]
            shapes = {key: tuple(file.get_slice(key).get_shape()) for key in names}
            tensors = {key: file.get_tensor(key) for key in names}
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file: {error}") from error
    if header is None:
        raise ValueError(f"{path} holds no dasrlib network: its header does not describe one")
    try:
        description = _with_tuples(json.loads(header))
        _check_fits(description, shapes)
        # The initial weights are drawn at random; the caller's random state stays as it was.
        with torch.random.fork_rng(devices=[]):
            model = _described(description)
        model.load_state_dict(_out_of_eight_bits(tensors))
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        raise ValueError(
            f"{path} does not hold the network that its header describes ({first})"
        ) from error
    return model.eval().to(device)


def _renamed(key: str, sizes: Sizes, tail_last: int) -> str | None:
    """Our name for a tensor of the authors', None for one that has no place here."""
    for pattern, ours in (
        (rf"^G\.body\.{sizes.groups}\.", "sr.conv."),
        (rf"^G\.body\.(\d+)\.body\.{sizes.blocks}\.", r"sr.groups.\1.conv."),
        (r"^G\.body\.(\d+)\.body\.(\d+)\.", r"sr.groups.\1.blocks.\2."),
        (r"^G\.tail\.1\.", f"sr.tail.{tail_last}."),
        (r"^G\.tail\.0\.(\d+)\.", r"sr.tail.\1."),
        (r"^G\.head\.0\.", "sr.head."),
        (r"^G\.compress\.", "sr.compress."),
        (r"^E\.encoder_q\.E\.", "encoder.features."),
        (r"^E\.encoder_q\.mlp\.", "encoder.mlp."),
        (r"\.ca\.conv_du\.", ".modulation."),
        (r"(da_conv\d)\.conv\.", r"\1.mix."),
    ):
        key = re.sub(pattern, ours, key)
    return key if key.startswith(("sr.", "encoder.")) else None


def from_authors(state: dict[str, Tensor], scale: int) -> BlindSR:
    """The full network with the tensors of the authors' checkpoint, by their names (§3.2)."""
    sizes = Sizes()
    model = BlindSR(scale, sizes)
    expected = model.state_dict()
    renamed: dict[str, Tensor] = {}
    strangers: list[str] = []
    for key, tensor in state.items():
        ours = _renamed(key, sizes, tail_last=len(model.sr.tail) - 1)
        if ours is None:  # mean shift, key encoder and queue: constants here, or not used
            continue
        if ours == "encoder.features.0.weight":
            tensor = tensor * 255  # theirs sees 0..255, ours 0..1
        if ".modulation." in ours:  # theirs are 1×1 convolutions, ours linear layers
            tensor = tensor.flatten(1)
        if ours not in expected or ours in renamed or tensor.shape != expected[ours].shape:
            strangers.append(key)
        else:
            renamed[ours] = tensor
    missing = sorted(set(expected) - set(renamed))
    if missing or strangers:
        raise ValueError(
            f"this is not a ×{scale} DASR checkpoint of the authors': "
            f"{len(missing)} tensors missing, "
            f"{len(strangers)} of another shape or name, such as {(strangers + missing)[0]}"
        )
    model.load_state_dict(renamed)
    return model.eval()


def load_authors(path: str | Path, scale: int) -> BlindSR:
    """The authors' released checkpoint as a network in evaluation mode (§3.2).

    Tensors alone are read: no code in the file is run.

    Args:
        path: of a model_600.pt.
        scale: of the checkpoint.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not such a checkpoint.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(
            f"{path} cannot be read as tensors alone: expected the authors' .pt checkpoint"
        ) from error
    if not isinstance(state, dict):
        raise ValueError(f"{path} holds a {type(state).__name__}: expected a checkpoint's tensors")
    return from_authors(state, scale)
