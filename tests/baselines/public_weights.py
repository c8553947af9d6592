"""Weights made by the golden arrays' rule, under the names of the public code."""

from __future__ import annotations

import binascii
import json
import math

import numpy as np
import torch

RELATIVE = 1e-4  # of the largest value, as the golden arrays' description says


def described(golden, name):
    """What the golden arrays' description says of a network that was run."""
    text = (golden.folder / "rivals_state_dicts.json").read_text()
    return json.loads(text)["as_run"][name]


def rule(key, shape, gain):
    """A cosine that depends on the key."""
    n = math.prod(shape)
    i = np.arange(n, dtype=np.float64)
    phase = binascii.crc32(key.encode()) % 1000
    wave = np.cos(1.7 * i + phase + np.mod(0.001 * i**2, 6.28))
    wave *= gain / math.sqrt(math.prod(shape[1:])) if len(shape) >= 2 else 0.05
    return torch.from_numpy(wave.reshape(shape)).float()


def state(golden, name):
    """The public state dict, in its order; BatchNorm as new, RCAN's shifts by the mean left out."""
    entry = described(golden, name)
    shapes = entry["state_dict"]
    made = {}
    for key, shape in shapes.items():
        norm = key.rpartition(".")[0] + ".running_var" in shapes
        if "mean." in key and key.startswith(("sub_", "add_")):
            continue
        if key.endswith("num_batches_tracked"):
            made[key] = torch.tensor(0)
        elif key.endswith("running_mean"):
            made[key] = torch.zeros(shape)
        elif key.endswith("running_var") or (norm and key.endswith("weight")):
            made[key] = torch.ones(shape)
        else:
            made[key] = rule(key, shape, entry["gain"])
    return made


def load_in_order(network, tensors):
    """Puts tensors into a network: both have the same order, so no table of names is needed."""
    ours = {key: value for key, value in network.state_dict().items() if "codes." not in key}
    assert [t.shape for t in ours.values()] == [t.shape for t in tensors.values()]
    network.load_state_dict(dict(zip(ours, tensors.values(), strict=True)), strict=False)
    return network.eval()


def image(array):
    return torch.from_numpy(np.array(array)) / 255


def relative_error(ours, theirs):
    theirs = theirs if isinstance(theirs, torch.Tensor) else torch.from_numpy(np.array(theirs))
    assert ours.shape == theirs.shape
    return float((ours.detach() - theirs).abs().max() / theirs.abs().max())
