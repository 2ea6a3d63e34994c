"""How much one input may ask for: every limit of the project, in one table.

A small number can ask for unbounded work, also through the provenance of somebody else's file.
Whoever reads input compares it with its row here before the work starts. The values lie far above
what a real network or checkpoint needs, and low enough that the largest one still compiles within
seconds and a few hundred megabytes.
"""

from __future__ import annotations

from dataclasses import dataclass

from .errors import Problem


@dataclass(frozen=True)
class Limit:
    """The largest value that is accepted, and a sentence that says of what."""

    largest: int
    of: str

    def problems(self, what: str, value: int, at: str = "") -> list[Problem]:
        """No problem, or the one that `what` is larger than the limit."""
        if value <= self.largest:
            return []
        shown = f"{value:,}" if value < 10**20 else "a number"
        return [
            Problem(f"{what} is {shown}, above the limit of {self.largest:,}", at=at, hint=self.of)
        ]


# Numbers of any kind.
DIGITS = Limit(20, "A number is spelled with at most 20 digits.")
TEXT = Limit(1000, "The value of an option has at most 1,000 characters.")
NUMBER = Limit(2**31 - 1, "Frameworks count in 32 bits.")

# An image.
AXIS = Limit(2**20, "An axis of the image has at most 1,048,576 pixels.")
BATCH = Limit(2**16, "A batch has at most 65,536 items.")
MEMORY = Limit(2**50, "A memory has at most 1 PiB.")
VOXELS = Limit(2**31 - 1, "An image has at most 2,147,483,647 pixels or voxels.")

# An encoder.
NAME = Limit(60, "A name has at most 60 characters, so that a class statement fits its line.")
STAGES = Limit(32, "An encoder has at most 32 stages.")
BLOCKS = Limit(1000, "A stage has at most 1,000 blocks.")
ALL_BLOCKS = Limit(2000, "All stages of an encoder have at most 2,000 blocks together.")
STEM = Limit(16, "A stem has at most 16 convolutions.")
KERNEL = Limit(255, "A kernel has at most 255 taps along an axis.")
STRIDE = Limit(255, "A stride is at most 255.")
CHANNELS = Limit(2**20, "A tensor has at most 1,048,576 channels.")

# A decoder.
DECODER_FILTERS = Limit(32, "`decoder_filters` has at most 32 entries.")
VIT_LAYERS = Limit(1000, "A transformer has at most 1,000 layers.")
HEADS = Limit(1024, "An attention has at most 1,024 heads.")
QUERIES = Limit(2**16, "A mask decoder has at most 65,536 queries.")
EMBED_DIM = Limit(2**16, "A token has at most 65,536 channels.")

# A file that is checked.
SOURCE_BYTES = Limit(2**20, "A source file has at most 1 MiB.")
PROVENANCE_BYTES = Limit(64 * 2**10, "The provenance of a file has at most 64 KiB.")

# A spec file.
SPEC_BYTES = Limit(64 * 2**10, "A spec has at most 64 KiB.")
SPEC_DOTS = Limit(100, "A line of a spec has at most 100 dots: reading a key takes cubic time.")
SPEC_PROBLEMS = Limit(100, "The first 100 problems of a spec are reported.")

# A plans file or a `dataset.json` of nnU-Net, which may list every training case.
JSON_BYTES = Limit(16 * 2**20, "A JSON file has at most 16 MiB.")

SPACING = Limit(10**6, "The size of a voxel is a number from 0.000001 to 1,000,000.")

# A checkpoint.
CHECKPOINT_ENTRIES = Limit(10**5, "A checkpoint has at most 100,000 tensors.")
DIRECTORY_BYTES = Limit(32 * 2**20, "The directory of an archive has at most 32 MiB.")
HEADER_BYTES = Limit(32 * 2**20, "The header of a `.safetensors` has at most 32 MiB.")
PICKLE_BYTES = Limit(64 * 2**20, "A pickled state dict has at most 64 MiB beside its values.")
PICKLE_DEPTH = Limit(64, "A pickled state dict nests at most 64 levels deep.")
PICKLE_OPCODES = Limit(5 * 10**6, "A pickled state dict takes at most 5,000,000 steps to load.")
PICKLE_VALUES = Limit(300_000, "A checkpoint describes its network in at most 300,000 values.")
H5_GROUPS = Limit(10**5, "A Keras file has at most 100,000 groups.")

# The page.
PORT = Limit(2**16 - 1, "A port is a number up to 65,535.")

# A state file of `verify --all`.
STATE_BYTES = Limit(64 * 2**20, "A state file has at most 64 MiB.")
STATE_LINE_BYTES = Limit(2**20, "A line of a state file has at most 1 MiB.")

LIMITS = {name: value for name, value in globals().items() if isinstance(value, Limit)}
