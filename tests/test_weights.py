"""Weights in and out: whole, small, described, and nothing else than tensors."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from dasrlib import profiles, training, weights
from dasrlib.baselines import NETWORKS
from dasrlib.degradation import Degradations, DegradationSpace
from dasrlib.network import BlindSR
from dasrlib.profiles import Sizes
from dasrlib.records.run_record import RunRecord
from dasrlib.systems import MODELS

SIZES = Sizes(groups=1, blocks=2, channels=8, reduction=4, tail_channels=12)
WIDE = replace(SIZES, channels=32)  # with tensors that are large enough for 8 bits


def network(
    model: str = "model4", scale: int = 2, encoder_input: str = "rgb", sizes: Sizes = SIZES
) -> BlindSR:
    torch.manual_seed(3)
    built = BlindSR(scale, sizes, model, encoder_input, patch=5)
    with torch.no_grad():  # as after a training: running statistics of their own
        for name, tensor in built.state_dict().items():
            if "running" in name:
                tensor.copy_(0.5 + torch.rand_like(tensor))
    return built


def record(minutes: float) -> RunRecord:
    profile = {"name": "smoke", "patch": 5}
    return RunRecord("model4", 2, 0, {"scale": 2}, profile, minutes, "float32", {}, [])


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return weights.save(network(), tmp_path / "net.safetensors", record(1.5))


@pytest.mark.parametrize("encoder_input", ["rgb", "high-pass"])
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_round_trip(tmp_path, name, scale, encoder_input):
    model = network(name, scale, encoder_input)
    path = weights.save(model, tmp_path / "deep" / "net.safetensors")
    loaded = weights.load(path)
    assert (loaded.name, loaded.scale, loaded.sizes) == (name, scale, SIZES)
    assert (loaded.encoder_input, loaded.patch) == (encoder_input, 5)
    assert not loaded.training
    before, after = model.state_dict(), loaded.state_dict()
    assert list(before) == list(after)
    for key, tensor in before.items():
        stored = tensor.half().float() if tensor.is_floating_point() else tensor
        assert after[key].dtype == tensor.dtype, key
        assert torch.equal(after[key], stored), key
    lr = torch.rand(1, 3, 6, 7, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        sr = loaded(lr, Degradations.isotropic(1.0, scale))
        expected = model.eval()(lr, Degradations.isotropic(1.0, scale))
    # fp16 keeps 11 bits of a weight: 0.0005 of it, in each of a dozen layers, where those of the
    # features live on 0..255; what the untrained network makes is of order one.
    torch.testing.assert_close(sr, expected, rtol=0, atol=0.02)


def test_eight_bits_move_a_weight_by_half_a_step_of_its_channel(tmp_path):
    model = network(sizes=WIDE)
    sixteen = weights.save(model, tmp_path / "sixteen.safetensors")
    eight = weights.save(model, tmp_path / "eight.safetensors", numbers="8 bits")
    assert eight.stat().st_size < 0.7 * sixteen.stat().st_size
    exact, rounded = (weights.load(path).state_dict() for path in (sixteen, eight))
    moved = []
    for key, tensor in exact.items():
        if torch.equal(rounded[key], tensor):
            continue
        moved.append(key)
        largest = tensor.abs().amax(dim=tuple(range(1, tensor.ndim)), keepdim=True)
        # Half a step of 127, and half a step of fp16, twice: of the channel's largest weight.
        assert ((rounded[key] - tensor).abs() <= largest * (0.5 / 127 + 2 / 2**11)).all(), key
    assert {key.split(".")[0] for key in moved} == {"encoder", "sr"}
    assert all(key.startswith(("encoder.", "sr.groups.")) for key in moved)
    assert len(moved) > 4
    # What was read is written again as it is, in fp16.
    again = weights.save(weights.load(eight), tmp_path / "again.safetensors")
    for key, tensor in weights.load(again).state_dict().items():
        assert torch.equal(tensor, rounded[key]), key


def test_the_file_holds_half_precision_and_describes_itself(saved):
    with safe_open(saved, framework="pt") as file:
        kinds = {file.get_tensor(key).dtype for key in file.keys()}  # noqa: SIM118
        description = json.loads(file.metadata()["dasrlib"])
    assert kinds == {torch.float16, torch.int64}
    assert description == {
        "model": "model4",
        "scale": 2,
        "sizes": asdict(SIZES),
        "encoder_input": "rgb",
        "patch": 5,
    }


def test_the_record_lies_beside_it(saved):
    assert RunRecord.read(saved.with_suffix(".json")) == record(1.5)


def test_only_safetensors_are_written(tmp_path):
    with pytest.raises(ValueError, match=r"saved as \.safetensors, got 'net\.pt'"):
        weights.save(network(), tmp_path / "net.pt")


def test_a_failure_in_the_middle_leaves_the_old_file(saved, monkeypatch):
    old, beside = saved.read_bytes(), sorted(saved.parent.iterdir())

    def breaks(tensors: object, path: Path, **_: object) -> None:
        Path(path).write_bytes(b"half of it")
        raise OSError("no space left")

    monkeypatch.setattr(weights, "save_file", breaks)
    with pytest.raises(OSError, match="no space left"):
        weights.save(network("model3"), saved, record(2))
    assert saved.read_bytes() == old
    assert RunRecord.read(saved.with_suffix(".json")) == record(1.5)
    assert sorted(saved.parent.iterdir()) == beside
    assert weights.load(saved).name == "model4"


# What cannot be loaded


def one_sentence(error: pytest.ExceptionInfo[BaseException]) -> str:
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 400  # with the names of nine bundled networks
    return text


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'laptop/model4-x4-iso'") as error:
        weights.load("laptop/modle4-x4-iso")
    assert ".safetensors" in one_sentence(error)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*gone\.safetensors"):
        weights.load(tmp_path / "gone.safetensors")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_truncated_file(saved, share):
    whole = saved.read_bytes()
    saved.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match="not a whole safetensors file") as error:
        weights.load(saved)
    assert str(saved) in one_sentence(error)


def test_a_file_that_is_no_safetensors(saved):
    saved.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8)
    with pytest.raises(ValueError, match="not a whole safetensors file") as error:
        weights.load(saved)
    one_sentence(error)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_safetensors_of_another_library(tmp_path, metadata):
    path = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.rand(3, 4)}, path, metadata=metadata)
    with pytest.raises(ValueError, match="holds no dasrlib network") as error:
        weights.load(path)
    assert str(path) in one_sentence(error)


def described(**changes: object) -> dict[str, str]:
    description = {"model": "model4", "scale": 2, "sizes": asdict(SIZES), "encoder_input": "rgb"}
    return {"dasrlib": json.dumps({**description, **changes})}


@pytest.mark.parametrize(
    "metadata",
    [
        {"dasrlib": "{}"},
        {"dasrlib": "no json"},
        described(sizes={"width": 3}),
        described(sizes={**asdict(SIZES), "channels": 16}),
        described(model="model2"),
        described(model="model9"),
    ],
    ids=["empty", "no json", "other sizes", "wrong sizes", "other model", "unknown model"],
)
def test_a_description_that_does_not_fit_the_tensors(saved, metadata):
    save_file(load_file(saved), saved, metadata=metadata)
    with pytest.raises(ValueError, match=r"net\.safetensors") as error:
        weights.load(saved)
    one_sentence(error)


# The bundled models


def test_bundled_models_say_how_they_were_trained():
    found = weights.catalogue()
    assert "laptop/model4-x4-iso" in found
    for name, record in found.items():
        assert record.minutes > 0, name
        assert record.profile["name"] == name.split("/")[0]
        assert {"device", "torch", "commit"} <= set(record.provenance), name
        losses = [line["iteration"] for line in record.log]
        assert losses == sorted(losses), name
        stages = record.profile["stage1"], record.profile["stage2"]
        assert losses[-1] == sum(stage["iterations"] for stage in stages), name
        if record.model == "predictor":  # its codes are of length 1 and less
            assert all(0 < error < 0.1 for error in record.log[-1]["code_error"].values()), name
        else:
            # One that knows no noise is measured under noise all the same: it falls to 15 dB.
            least = 20 if record.model in MODELS else 14
            assert all(psnr > least for psnr in record.log[-1]["psnr"].values()), name


def test_a_bundled_run_has_the_settings_of_its_profile_today():
    """Else the table of profiles says something else than what made the results."""
    for record in weights.catalogue().values():
        if record.model in NETWORKS:
            profile = training.profile_for(record.model, "laptop")
            for stage in ("stage1", "stage2"):
                stored = record.profile[stage]
                today = replace(getattr(profile, stage), iterations=stored["iterations"])
                if stored["iterations"]:
                    assert json.loads(json.dumps(asdict(today))) == stored, record.model
            # Half an hour of one thread; on a processor that other programs share a little more.
            assert record.minutes < 45, record.model
            continue
        space = DegradationSpace(**record.space)
        profile = profiles.for_space(profiles.get(record.profile["name"]), space)
        stages = record.profile["stage1"], record.profile["stage2"]
        total = sum(stage["iterations"] for stage in stages)
        assert total == 6000 or (total == 12_000 and space.without), record.model
        profile = profiles.with_iterations(profile, total)
        settings = training.identity(record.model, profile, space, record.seed)
        training.require_same_settings(Path(record.model), asdict(record), settings)


def test_bundled_models_load_as_described():
    for name, record in weights.catalogue().items():
        model = weights.load_system(name)
        assert (model.name, model.scale) == (
            record.model,
            1 if name.endswith("dncnn") else record.scale,
        )
        if record.model in NETWORKS:
            assert model.sizes == NETWORKS[record.model][0]["laptop"], name
        else:
            assert asdict(model.sizes) == record.profile["sizes"], name
        assert all(torch.isfinite(t).all() for t in model.state_dict().values()), name


def test_bundled_files_stay_small():
    total = sum(path.stat().st_size for path in weights.BUNDLED.rglob("*") if path.is_file())
    assert 0 < total < 40e6


# Headers that somebody wrote to do harm, or by mistake


@pytest.mark.parametrize(
    "change",
    [
        {"sizes": {"channels": 10**9}},
        {"sizes": {"groups": 10**9}},
        {"sizes": {"blocks": 10**6, "channels": 10**6}},
        {"sizes": {"channels": 16}},
        {"sizes": {"channels": -4}},
        {"sizes": {"channels": "many"}},
        {"sizes": {"unknown": 3}},
        {"sizes": 7},
        {"model": "model6"},
        {"model": ["model4"]},
        {"scale": 10**9},
        {"model": "rcan", "sizes": {"groups": 10**9}, "space": None},
        {"model": "srmd", "sizes": {"code": 10**9}, "space": None},
    ],
    ids=str,
)
def test_a_header_of_another_network_is_refused_and_allocates_nothing(saved, monkeypatch, change):
    with safe_open(saved, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        header = json.loads(file.metadata()["dasrlib"])
    for key, value in change.items():
        merged = isinstance(value, dict) and "model" not in change
        header[key] = {**header[key], **value} if merged else value
    save_file(tensors, saved, metadata={"dasrlib": json.dumps(header)})
    described, devices = weights._described, []

    def watched(description):
        devices.append(torch.empty(0).device.type)
        return described(description)

    monkeypatch.setattr(weights, "_described", watched)
    with pytest.raises(ValueError, match="does not hold the network that its header describes"):
        weights.load_system(saved)
    assert set(devices) <= {"meta"}


# The authors' checkpoints


class Malicious:
    """Unpickled, it makes a folder."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.mkdir, (str(self.target),)


def test_load_authors_runs_no_code(tmp_path):
    torch.save({"G.head.0.weight": Malicious(tmp_path / "owned")}, tmp_path / "model_600.pt")
    with pytest.raises(ValueError, match=r"model_600\.pt") as error:
        weights.load_authors(tmp_path / "model_600.pt", 4)
    assert not (tmp_path / "owned").exists()
    one_sentence(error)


def test_load_authors_of_something_else(tmp_path):
    path = tmp_path / "model_600.pt"
    with pytest.raises(FileNotFoundError, match="there is no file"):
        weights.load_authors(path, 4)
    torch.save({"weight": torch.rand(3)}, path)
    with pytest.raises(ValueError, match="not a ×4 DASR checkpoint"):
        weights.load_authors(path, 4)


@pytest.mark.parametrize("kind", ["text", "list", "truncated"])
def test_load_authors_of_no_checkpoint(tmp_path, kind):
    path = tmp_path / "model_600.pt"
    torch.save([torch.rand(3)], path)
    if kind == "text":
        path.write_text("not a checkpoint\n")
    elif kind == "truncated":
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"model_600\.pt") as error:
        weights.load_authors(path, 4)
    one_sentence(error)
