"""A stand-in for Huawei's moxing, which exists inside ModelArts only: this project has never been run there.

It really copies files, between the disk and `obs://BUCKET/...`, which lies on the disk too. The names and the
behaviour that it has are those of `mox.file` in Huawei's documentation. Environment variables:

MOXING_STAND_IN         the folder that holds the buckets, and `calls.log`: a line for each copy that was asked for
MOXING_STAND_IN_FAULTS  words that make copies go wrong: `first=N` the first N fail, `always=TEXT` those of a source or
                        target with TEXT in its name fail, `half` half a file is left when a copy fails, `full` it
                        fails as on a full disk, `slow=SECONDS` each takes that long
"""

from moxing import file

__all__ = ["file"]
