"""Learnt and random policies of changing training pictures, as MindSpore's C++ operators."""

from src.utils.errors import UsageError


def auto_augment_operators(policy: str, *, is_small: bool, channels: int) -> list:
    """Operators on uint8 (H, W, 3) between geometry and normalisation; none for the policy 'none'.

    policy: 'trivial' (TrivialAugment Wide, Mueller and Hutter 2021: one operation of random strength), 'rand'
    (RandAugment, Cubuk et al. 2020: two of strength 9) or 'auto' (AutoAugment, Cubuk et al. 2019, with the policies
    found on CIFAR-10 if `is_small`, else those found on ImageNet). Raises UsageError for grey pictures.
    """
    if policy == "none":
        return []
    if channels != 3:
        raise UsageError(
            f"found auto_augment {policy} for an input of {channels} channel, expected 3, as its operations change "
            "colours; leave it out"
        )
    from mindspore.dataset import vision

    # Where a turned or moved picture leaves corners these are black, as those of a shifted one; pixels between pixels
    # are bilinear, as in torchvision's references. The magnitudes are the operators' own, of 31 bins.
    drawing = {"interpolation": vision.Inter.BILINEAR, "fill_value": 0}
    if policy == "trivial":
        return [vision.TrivialAugmentWide(num_magnitude_bins=31, **drawing)]
    if policy == "rand":
        return [vision.RandAugment(num_ops=2, magnitude=9, num_magnitude_bins=31, **drawing)]
    found_on = vision.AutoAugmentPolicy.CIFAR10 if is_small else vision.AutoAugmentPolicy.IMAGENET
    return [vision.AutoAugment(found_on, **drawing)]
