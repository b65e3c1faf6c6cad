"""Words of a plan, importable without numpy: roles of further inputs, and filters."""

MASKS = ("ignore", "valid")  # further roles whose masks take pixels out of every sum
MAPS = ("weight", "pos_weight", "instances")  # further roles with one number per pixel
ROLES = (*MASKS, *MAPS)  # of every loss; losses name further roles
FILTERS = ("nearest", "bilinear")  # of Pillow, by which predictions are resized
EMPTY = "empty"  # of --missing: a class without a file has no pixel
# A number that a file may store, as people and programs write it.
STORED_NUMBER = r"[+-]?(?:\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|\.?inf)"
