"""CIFAR-100 in its binary version: records of a coarse label (20 of them), a fine one (100) and the pixels."""

from src.datasets.cifar10 import Records

_NAMES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster
man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck
pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger
tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""
CIFAR100 = Records(
    "cifar100", "CIFAR-100", {"train": "train.bin", "eval": "test.bin"}, "cifar-100-binary",
    "cifar-100-binary.tar.gz", "fine_label_names.txt", tuple(_NAMES.split()), label_bytes=2,
)  # fmt: skip
