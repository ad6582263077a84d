"""Training batches by plain words, for tests that vary one of them."""

from collections.abc import Iterator

from src.datasets.augmentation import Augmentation
from src.datasets.classification import Batch, TrainingInput, training_batches
from src.datasets.preprocessing import Preprocessing
from src.datasets.source import Source

_OF_AUGMENTATION = ("auto_augment", "random_erasing", "streams")
_OF_EPOCH = ("size", "first_image", "first_batch")


def augmentation_of(augmentation: str, **words) -> Augmentation:
    return Augmentation(augmentation, **{key: words[key] for key in _OF_AUGMENTATION if key in words})


def augmented_batches(
    source: Source, preprocessing: Preprocessing, *, augmentation: str, epoch: int = 0, **words
) -> Iterator[Batch]:
    """`training_batches`; words: fields of `Augmentation` and `TrainingInput`, and the call's own."""
    place = {key: words.pop(key) for key in _OF_EPOCH if key in words}
    changed = augmentation_of(augmentation, **words)
    how = {key: value for key, value in words.items() if key not in _OF_AUGMENTATION}
    return training_batches(source, preprocessing, TrainingInput(augmentation=changed, **how), epoch=epoch, **place)
