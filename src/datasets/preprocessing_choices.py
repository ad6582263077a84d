"""The words for a picture's geometry and augmentation, for whoever has to name them without MindSpore."""

RESIZE_MODES = ("squash", "shorter_side", "letterbox")
INTERPOLATIONS = ("bilinear", "bicubic")
AUGMENTATIONS = ("auto", "full", "shift", "crop", "none")
AUTO_AUGMENTS = ("none", "trivial", "rand", "auto")
STREAMS = ("worker", "image")  # whose random numbers augment a picture
CACHES = ("none", "ram", "disk")
# How far pictures are on their way when they are cached: as their files, decoded, or decoded and resized.
FILES, DECODED, RESIZED = KEPT = ("files", "decoded", "resized")
