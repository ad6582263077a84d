"""The description of a DenseNet: everything that shapes it, in a form that goes into checkpoints. No MindSpore here."""

import dataclasses
import math
from dataclasses import dataclass

from src.utils.errors import ReportedError, UsageError


@dataclass(frozen=True)
class Architecture:
    """A DenseNet-BC (Huang et al. 2017, arXiv:1608.06993).

    net: the named network it started from; num_classes: width of the logits; growth_rate: k, the features a dense
    layer adds; block_config: dense layers in each block; stem: 'conv7x7' (stride 2 and a max pool) or 'conv3x3'
    (stride 1, no pool); stem_features: channels behind the stem; bn_size: width of a bottleneck in multiples of k;
    compression: theta, the share of channels a transition keeps; drop_rate: dropout behind each dense layer;
    transition_pool: 'avg' as in the paper or 'max'; stem_pool: 'pad' pads the stem's max pool by one pixel on each
    side as in the paper's code, 'same' at the bottom and the right only. 'max' and 'same' are what the MindSpore
    model zoo's checkpoints were trained with. input_channels: 3 (colours) or 1 (grey).

    Raises ReportedError, naming the field, for a value of the wrong type or out of range.
    """

    net: str
    num_classes: int
    growth_rate: int
    block_config: tuple[int, ...]
    stem: str
    stem_features: int
    bn_size: int = 4
    compression: float = 0.5
    drop_rate: float = 0.0
    transition_pool: str = "avg"
    stem_pool: str = "pad"
    input_channels: int = 3

    def __post_init__(self) -> None:
        for name in _FIELDS:
            value = getattr(self, name)
            if wanted := expected_instead(name, value):
                raise ReportedError(f"network architecture: {name} is {value!r:.60}, expected {wanted}")

    def to_dict(self) -> dict:
        """The fields as plain values that survive JSON."""
        return dataclasses.asdict(self) | {"block_config": list(self.block_config)}

    @classmethod
    def from_dict(cls, fields: object) -> "Architecture":
        """The inverse of `to_dict` for values from a file that nobody vouches for.

        Raises ReportedError for anything but a mapping of exactly this class's fields, of their types and ranges.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        if not isinstance(fields, dict):
            raise ReportedError(f"network architecture: found {type(fields).__name__}, expected a mapping of fields")
        fields = {"input_channels": 3} | fields  # checkpoints of before do not say it
        missing = [name for name in names if name not in fields]
        unknown = [f"{name!r:.60}" for name in fields if name not in names]
        if missing or unknown:
            raise ReportedError(
                f"network architecture: missing fields {missing}, unknown fields [{', '.join(unknown[:5])}]; "
                "was it written by another version of this project?"
            )
        if isinstance(fields["block_config"], list):  # JSON knows no tuples
            fields = fields | {"block_config": tuple(fields["block_config"])}
        return cls(**fields)

    @property
    def num_parameters(self) -> int:
        """Number of trained values: convolutions, gamma and beta of the normalisations, classifier."""
        kernel = 7 if self.stem == "conv7x7" else 3
        width = self.bn_size * self.growth_rate
        channels = self.stem_features
        total = self.input_channels * kernel**2 * channels + 2 * channels
        for block, layers in enumerate(self.block_config, 1):
            for _ in range(layers):
                total += 2 * channels + channels * width + 2 * width + 9 * width * self.growth_rate
                channels += self.growth_rate
            total += 2 * channels  # the transition's normalisation, or the last one
            if block < len(self.block_config):
                out_channels = max(1, int(channels * self.compression))
                total += channels * out_channels
                channels = out_channels
        return total + (channels + 1) * self.num_classes

    def feature_size(self, image_size: int) -> int:
        """Height and width of the last feature map for square images of this height and width.

        Raises ReportedError when nothing would be left of the image.
        """
        size = image_size
        if self.stem == "conv7x7":
            size = math.ceil(math.ceil(size / 2) / 2)
        size >>= len(self.block_config) - 1
        if size < 1:
            raise ReportedError(
                f"image_size is {image_size}: the pools of {self.net} with {len(self.block_config)} dense blocks "
                "leave no pixel of it; use larger images or fewer blocks"
            )
        return size

    def check_frozen(self, blocks: int) -> None:
        """Raise UsageError when the network has no `blocks` dense blocks to freeze."""
        if blocks > len(self.block_config):
            raise UsageError(
                f"found freeze {blocks}, but this {self.net} has {len(self.block_config)} dense blocks; give at most "
                "so many"
            )

    def check_batch(self, image_size: int, images: int) -> None:
        """Raise UsageError when `images` square images at once are too few to train batch normalisation with.

        The last feature map is the smallest. Of a single value in each channel the variance is 0 and its unbiased
        estimate 0 / 0: the running variances would become 0 or NaN, and an evaluation amplify noise.
        """
        if self.feature_size(image_size) ** 2 * images < 2:
            raise UsageError(
                f"found per_batch_size {images} with image_size {image_size}, of which {self.net} leaves 1x1 features, "
                "so that batch normalisation would have one value in each channel; give --per_batch_size 2 or more, or "
                "larger images"
            )


_NAMED = {
    "densenet100": {"growth_rate": 12, "block_config": (16, 16, 16), "stem": "conv3x3", "stem_features": 24},
    "densenet121": {"growth_rate": 32, "block_config": (6, 12, 24, 16), "stem": "conv7x7", "stem_features": 64},
    "densenet161": {"growth_rate": 48, "block_config": (6, 12, 36, 24), "stem": "conv7x7", "stem_features": 96},
    "densenet169": {"growth_rate": 32, "block_config": (6, 12, 32, 32), "stem": "conv7x7", "stem_features": 64},
    "densenet201": {"growth_rate": 32, "block_config": (6, 12, 48, 32), "stem": "conv7x7", "stem_features": 64},
}
NETWORKS = tuple(_NAMED)

# Upper limits are far above any trained DenseNet; they keep a damaged checkpoint from asking for all memory.
BOUNDS = {
    "num_classes": (1, 1_000_000),
    "growth_rate": (1, 512),
    "block_config": (1, 256),  # of each block
    "stem_features": (1, 4096),
    "bn_size": (1, 64),
    "compression": (0.001, 1.0),
    "drop_rate": (0.0, 0.99),
}
MAX_BLOCKS = 8
CHOICES = {
    "net": NETWORKS,
    "stem": ("conv7x7", "conv3x3"),
    "transition_pool": ("avg", "max"),
    "stem_pool": ("pad", "same"),
}
INPUT_CHANNELS = (3, 1)
_FIELDS = (*CHOICES, *BOUNDS, "input_channels")


def expected_instead(name: str, value: object) -> str:
    """What the field `name` of `Architecture` may be, in words, or '' when `value` is that."""
    if name in CHOICES:
        choices = CHOICES[name]
        either = " or ".join(choices) if len(choices) == 2 else f"one of {', '.join(choices)}"
        return "" if isinstance(value, str) and value in choices else either
    if name == "input_channels":
        return "" if type(value) is int and value in INPUT_CHANNELS else "3 or 1"
    low, high = BOUNDS[name]
    if name == "block_config":
        good = isinstance(value, tuple) and 1 <= len(value) <= MAX_BLOCKS and all(_is_int(v, low, high) for v in value)
        return "" if good else f"1 to {MAX_BLOCKS} integers from {low} to {high}"
    if isinstance(low, int):
        return "" if _is_int(value, low, high) else f"an integer from {low} to {high}"
    good = type(value) in (int, float) and low <= value <= high
    return "" if good else f"a number from {low:g} to {high:g}"


def _is_int(value: object, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


def architecture(net: str, num_classes: int, **overrides: object) -> Architecture:
    """The network called `net` with `num_classes` outputs; `overrides` replace fields of `Architecture`.

    Raises ReportedError for an unknown network or a field's value that is out of range.
    """
    if net not in _NAMED:
        raise ReportedError(f"net is {net!r:.60}, expected one of {', '.join(NETWORKS)}")
    return Architecture(**({"net": net, "num_classes": num_classes} | _NAMED[net] | overrides))
