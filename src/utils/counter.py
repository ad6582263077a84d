"""What counts answers, of one class a picture or several."""

from src.utils.accuracy import Accuracy
from src.utils.multilabel import MultilabelScores

Counter = Accuracy | MultilabelScores


def counter_of(task: str, num_classes: int) -> Counter:
    """What counts the answers of a network with one class a picture (`single`) or several (`multilabel`)."""
    return MultilabelScores(num_classes) if task == "multilabel" else Accuracy(num_classes)
