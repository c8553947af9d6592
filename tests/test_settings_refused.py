"""Settings that make no sense are refused where the object is made, before any work."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from dasrlib import errors, profiles, representation
from dasrlib.degradation import DegradationSpace
from dasrlib.profiles import Sizes, Stage
from dasrlib.representation import IN_BATCH, MOCO, ContrastiveLearner, Encoder

NAN = math.nan
STAGE, PROFILE = Stage(iterations=4, lr=1e-3, batch=2), profiles.get("smoke")
ISOTROPIC, PHOTO = DegradationSpace.isotropic(4), DegradationSpace.photo(4)

# An object that is sound, a setting that is not, and the name that the sentence says.
WRONG = {
    "negative iterations": (STAGE, {"iterations": -1}, "iterations"),
    "half an iteration": (STAGE, {"iterations": 1.5}, "iterations"),
    "no batch": (STAGE, {"batch": 0}, "batch"),
    "NaN as learning rate": (STAGE, {"lr": NAN}, "lr"),
    "a negative learning rate": (STAGE, {"lr": -1e-3}, "lr"),
    "negative warm-up": (STAGE, {"warmup": -5}, "warmup"),
    "negative milestone": (STAGE, {"milestones": (3, -1)}, "a milestone"),
    "infinite factor": (STAGE, {"factor": math.inf}, "factor"),
    "misspelt schedule": (STAGE, {"schedule": "cosin"}, "schedule"),
    "no groups": (Sizes(), {"groups": 0}, "groups"),
    "words as channels": (Sizes(), {"channels": "64"}, "channels"),
    "patch of True": (PROFILE, {"patch": True}, "patch"),
    "negative held-out": (PROFILE, {"held_out": -1}, "held_out"),
    "never validated": (PROFILE, {"validate_every": 0}, "validate_every"),
    "NaN minutes": (PROFILE, {"checkpoint_minutes": NAN}, "checkpoint_minutes"),
    "misspelt recipe": (PROFILE, {"recipe": "moco"}, "recipe must be a ContrastiveRecipe"),
    "no stage": (PROFILE, {"stage2": None}, "stage2 must be a Stage"),
    "no data": (PROFILE, {"data": ()}, "data"),
    "temperature -1": (IN_BATCH, {"temperature": -1.0}, "temperature"),
    "temperature 0": (IN_BATCH, {"temperature": 0.0}, "temperature"),
    "momentum 2": (MOCO, {"momentum": 2.0}, "momentum"),
    "momentum 1": (MOCO, {"momentum": 1.0}, "momentum"),
    "half a queue": (MOCO, {"queue_size": 8.5}, "queue_size"),
    "negative queue": (MOCO, {"queue_size": -8}, "queue_size"),
    "shared noise 2": (IN_BATCH, {"shared_noise": 2.0}, "shared_noise"),
    "no copies": (IN_BATCH, {"copies": 0}, "copies"),
    "misspelt negatives": (IN_BATCH, {"negatives": "bach"}, "negatives"),
    "widths the wrong way round": (ISOTROPIC, {"widths": (3.0, 1.0)}, "largest kernel width"),
    "negative width": (ISOTROPIC, {"widths": (-1.0, 1.0)}, "smallest kernel width"),
    "ellipse without width": (PHOTO, {"widths": (0.0, 1.0)}, "smallest kernel width"),
    "NaN noise": (ISOTROPIC, {"noise": NAN}, "noise"),
    "negative noise": (ISOTROPIC, {"noise": -1.0}, "noise"),
    "JPEG of 0": (PHOTO, {"quality": (0.0, 95.0)}, "worst JPEG quality"),
    "JPEG of 101": (PHOTO, {"quality": (40.0, 101.0)}, "best JPEG quality"),
    "scale 5": (ISOTROPIC, {"scale": 5}, "scale"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_setting_without_sense_is_refused(case):
    sound, change, name = WRONG[case]
    with pytest.raises(ValueError, match=name) as error:
        replace(sound, **change)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 150


def test_what_is_said_of_a_number():
    errors.check_number("share", 0.5, at_least=0, below=1)
    errors.check_number("share", 0, at_least=0, below=1)
    with pytest.raises(ValueError, match=r"^n must be a whole number, at least 1, got 1\.5$"):
        errors.check_number("n", 1.5, at_least=1, whole=True)
    with pytest.raises(
        ValueError, match=r"^share must be a finite number, at least 0 and below 1, got 1$"
    ):
        errors.check_number("share", 1, at_least=0, below=1)


def test_a_misspelt_recipe_is_refused():
    with pytest.raises(ValueError, match="expected a ContrastiveRecipe, got 'moco'"):
        ContrastiveLearner(Encoder(), "moco")


def test_patches_that_are_no_pairs_are_refused():
    learner = ContrastiveLearner(Encoder("high-pass"))
    with pytest.raises(ValueError, match="query and key must be patches of one shape"):
        learner(torch.rand(3, 3, 12, 12), torch.rand(2, 3, 12, 12))
    with pytest.raises(ValueError, match="expected a batch of pictures"):
        learner(torch.rand(3, 1, 12, 12), torch.rand(3, 1, 12, 12))


@pytest.mark.parametrize(
    ("logits", "positive"), [((3, 4), (2,)), ((3,), (3,)), ((0, 4), (0,)), ((3, 4), (3, 1))]
)
def test_logits_without_their_positives_are_refused(logits, positive):
    with pytest.raises(ValueError, match=r"expected logits \(B, N\) and a column for each"):
        representation.info_nce(torch.zeros(logits), torch.zeros(positive, dtype=torch.long))
