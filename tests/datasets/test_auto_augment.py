"""Policies of changing pictures: what MindSpore's operators do, where they stand, and what repeats."""

from dataclasses import replace

import numpy as np
import pytest
from augmented import augmentation_of, augmented_batches
from mindspore.dataset.vision import AutoAugmentPolicy, Inter

from src.datasets.augmentation import Changes, usual_augmentation
from src.datasets.auto_augment import auto_augment_operators
from src.datasets.operators import train_transforms
from src.datasets.preprocessing import default_preprocessing
from src.datasets.preprocessing_choices import AREA, DECODED, FILES, SHIFTED, WHOLE
from src.datasets.sources import open_source
from src.utils.errors import UsageError

DIGITS = open_source("digits", "", split="train").subset(np.arange(60))
SMALL = default_preprocessing("cifar10")


def names(transforms: list) -> list[str]:
    return [type(transform).__name__ for transform in transforms]


@pytest.mark.parametrize(
    ("policy", "operator"), [("trivial", "TrivialAugmentWide"), ("rand", "RandAugment"), ("auto", "AutoAugment")]
)
def test_policies_stand_between_geometry_and_normalisation(policy, operator):
    small = names(train_transforms(SMALL, DECODED, Changes(SHIFTED, mirrors=True, colours=True, policy=policy)))
    areas = Changes(AREA, mirrors=True, policy=policy)
    photographs = names(train_transforms(default_preprocessing("imagenet"), FILES, areas))
    still = names(train_transforms(SMALL, DECODED, Changes(WHOLE, policy=policy)))
    assert small == ["Resize", "RandomCrop", "RandomHorizontalFlip", operator, "RandomColorAdjust", "Normalize",
                     "HWC2CHW"]  # fmt: skip
    assert photographs == ["RandomCropDecodeResize", "RandomHorizontalFlip", operator, "Normalize", "HWC2CHW"]
    assert still == ["Resize", "CenterCrop", operator, "Normalize", "HWC2CHW"]


def test_the_policy_of_auto_is_by_the_size_of_the_input():
    found = [auto_augment_operators("auto", is_small=is_small, channels=3)[0] for is_small in (True, False)]
    assert [operator.policy for operator in found] == [AutoAugmentPolicy.CIFAR10, AutoAugmentPolicy.IMAGENET]
    assert {operator.interpolation for operator in found} == {Inter.BILINEAR}
    photographs, asked = replace(DIGITS, form=FILES), augmentation_of("none", auto_augment="auto")
    inputs = [default_preprocessing("folder", size) for size in (64, 65)]
    assert [asked.changes_of(photographs, one).is_small for one in inputs] == [True, False]
    policies = [train_transforms(one, FILES, asked.changes_of(photographs, one))[3].policy for one in inputs]
    assert policies == [AutoAugmentPolicy.CIFAR10, AutoAugmentPolicy.IMAGENET]


def test_the_usual_augmentation_leaves_colours_to_the_policy(cifar_folder):
    source = open_source("cifar10", cifar_folder, split="train")
    assert usual_augmentation(source, SMALL) == "full"
    assert usual_augmentation(source, SMALL, "trivial") == "shift"
    assert usual_augmentation(DIGITS, SMALL, "trivial") == "crop"


@pytest.mark.parametrize("policy", ["trivial", "rand", "auto"])
def test_pictures_are_changed_and_an_epoch_repeats_and_goes_on_bit_for_bit(policy):
    def batches(**options) -> list[np.ndarray]:
        options = {"augmentation": "none", "batch_size": 12, "seed": 1, "epoch": 0, "workers": 2} | options
        return [images for images, *_ in augmented_batches(DIGITS, SMALL, **options)]

    plain, first = batches(), batches(auto_augment=policy)
    changed = [(a != b).any() for a, b in zip(np.concatenate(plain), np.concatenate(first), strict=True)]
    assert np.mean(changed) > 0.5
    np.testing.assert_array_equal(batches(auto_augment=policy), first)
    np.testing.assert_array_equal(batches(auto_augment=policy, first_batch=3), first[3:])
    assert not np.array_equal(batches(auto_augment=policy, epoch=1), first)


def test_grey_pictures_are_refused():
    grey = default_preprocessing("digits", input_channels=1)
    with pytest.raises(UsageError, match="found auto_augment rand for an input of 1 channel, expected 3"):
        train_transforms(grey, DECODED, Changes(SHIFTED, policy="rand"))
