"""The words for a picture's geometry and augmentation, for whoever has to name them without MindSpore."""

RESIZE_MODES = ("squash", "shorter_side", "letterbox")
INTERPOLATIONS = ("bilinear", "bicubic")
AUGMENTATIONS = ("auto", "full", "shift", "crop", "none")
AUTO_AUGMENTS = ("none", "trivial", "rand", "auto")
STREAMS = ("worker", "image")  # whose random numbers augment a picture
CACHES = ("none", "ram", "disk")
# What a picture is on its way to the network: its file's bytes, uint8 (length,); pixels, uint8 (H, W, 3), decoded for a
# grey input (H, W), of 16 bits float32 (H, W); or cut to the input's size, uint8 (S, S, 3), grey float32 (S, S, 1).
FILES, DECODED, RESIZED = FORMS = ("files", "decoded", "resized")
# What training makes of a picture's place: nothing, the evaluation's; the whole picture is shifted; an area is cut out.
WHOLE, SHIFTED, AREA = "whole", "shifted", "area"
