"""The words for a picture's geometry, for whoever has to name them without MindSpore."""

RESIZE_MODES = ("squash", "shorter_side", "letterbox")
INTERPOLATIONS = ("bilinear", "bicubic")
