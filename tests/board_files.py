"""What TensorBoard's files of a run hold."""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

# The clock and the machine decide these, not the run.
UNREPEATABLE = ("images_per_second", "memory/")


class Board:
    """All that the event files of a folder hold, in the order in which it was written.

    Args:
        folder: of a run.
    """

    def __init__(self, folder: Path) -> None:
        everything = {"scalars": 0, "images": 0, "tensors": 0, "histograms": 0}
        self.events = EventAccumulator(str(folder), size_guidance=everything)
        self.events.Reload()
        self.tags = self.events.Tags()

    def scalars(self, tag: str) -> list[tuple[int, float]]:
        """(step, value) of each point."""
        return [(event.step, event.value) for event in self.events.Scalars(tag)]

    def repeatable(self) -> dict[str, list[tuple[int, float]]]:
        """All scalars that the same command gives again."""
        return {tag: self.scalars(tag) for tag in self.tags["scalars"] if not tag.startswith(UNREPEATABLE)}

    def image_steps(self, tag: str) -> list[int]:
        """The steps that have a picture."""
        return [event.step for event in self.events.Images(tag)] if tag in self.tags["images"] else []

    def image(self, tag: str) -> NDArray[np.uint8]:
        """The last picture, uint8 (height, width, 3)."""
        encoded = self.events.Images(tag)[-1].encoded_image_string
        return np.array(Image.open(io.BytesIO(encoded)).convert("RGB"))

    def text(self, tag: str) -> str:
        """The last text."""
        event = self.events.Tensors(f"{tag}/text_summary")[-1]
        return event.tensor_proto.string_val[0].decode()
