"""Classifying anybody's picture files with a finished run: scripts/predict.py images=FOLDER."""

import csv
import io
import logging
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig
from PIL import Image
from torch import Tensor

from imgclf.callbacks.predictions import KeepPredictions
from imgclf.data.module import ImageData
from imgclf.distributed import cores
from imgclf.errors import Failed, InputError, say
from imgclf.evaluate import bare_trainer, data_for, trained_model
from imgclf.images.picture_files import Picture, list_pictures, read_picture
from imgclf.log import speak
from imgclf.models.classifier import Classifier
from imgclf.pictures.grid import captioned
from imgclf.pictures.lettering import FAINT, INK
from imgclf.report.text import cut, pad
from imgclf.run_folder import RunFolder, write_whole, written_aside

log = logging.getLogger(__name__)

_COLUMNS = 6  # pictures side by side
_LONGEST_NAME = 34  # characters of a file's name in the table, which then fits 80 columns


def predict_pictures(config: DictConfig) -> None:
    """Classify the files that ``config.images`` names: a table, a contact sheet, and a CSV file with all of them.

    Args:
        config: of scripts/predict.py.

    Raises:
        Failed: some files could not be read, which are named; the others are classified.
        InputError: there are no such files, or none that can be read.
    """
    speak(None)
    source = Path(str(config.images))
    files = list_pictures(source)
    model = trained_model(config)
    assert isinstance(model, Classifier)
    model.average_flips = config.average_flips
    data = data_for(model, config)
    batches = PictureBatches(files, data, config.sheet)
    keep = KeepPredictions(data.num_classes)
    bare_trainer(config, keep).predict(model, dataloaders=batches, return_predictions=False)
    for problem in batches.unreadable:
        log.error(f"not classified: {problem}")
    if not batches.names:
        raise InputError(f"images={source}: none of the {len(files)} files could be read")
    say(f"\n{_conversions(batches, data)}\n")
    probabilities = keep.probabilities[: keep.done]
    say(_table(batches.names, probabilities, data.class_names, config.rows))
    target = RunFolder(config.run).path / "predicted" / source.resolve().stem
    table_file, picture = target.with_name(f"{target.name}.csv"), target.with_name(f"{target.name}.png")
    write_whole(table_file, _csv(batches.names, probabilities, data.class_names))
    captions = [
        ((shown.file.name, FAINT), (f"{data.class_names[row.argmax()]} {row.max():.2f}", INK))
        for shown, row in zip(batches.shown, probabilities, strict=False)
    ]
    title = f"{len(batches.shown)} of {len(batches.names)} pictures of {source.name}: class and probability"
    sheet = captioned(np.stack([shown.thumbnail for shown in batches.shown]), captions, _COLUMNS, title)
    with written_aside(picture) as aside:
        Image.fromarray(sheet).save(aside, format="PNG")
    say(f"\nall {len(batches.names)}:     {table_file}\ncontact sheet: {picture}")
    if batches.unreadable:
        raise Failed(f"{len(batches.unreadable)} of {len(files)} files were not classified")


class PictureBatches:
    """Batches of what the network is fed for picture files; decoded by threads, and never more than one batch kept.

    Args:
        files: in the order of the answer.
        data: says how many channels there are, and how pixels become inputs.
        shown: how many pictures to keep for the contact sheet.
    """

    def __init__(self, files: Sequence[Path], data: ImageData, shown: int) -> None:
        self.files = files
        self.data = data
        self.image_count = len(files)
        self.names: list[str] = []
        self.shown: list[Picture] = []
        self.unreadable: list[str] = []
        self.cut = self.resized = self.recoloured = 0
        self._shown = shown

    def __len__(self) -> int:
        return math.ceil(len(self.files) / self.data.eval_batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs float32 (n, in_channels, resize, resize), and zeros in the place of labels."""
        with ThreadPoolExecutor(cores()) as pool:
            for first in range(0, len(self.files), self.data.eval_batch_size):
                chosen = self.files[first : first + self.data.eval_batch_size]
                inputs = [self._input(found) for found in pool.map(self._read, chosen) if self._is_picture(found)]
                if inputs:
                    yield torch.cat(inputs), torch.zeros(len(inputs), dtype=torch.int64)

    def _read(self, file: Path) -> Picture | InputError:
        try:
            return read_picture(file, len(self.data.mean))
        except InputError as error:
            return error

    def _is_picture(self, found: Picture | InputError) -> bool:
        if isinstance(found, InputError):
            self.unreadable.append(str(found))
        return isinstance(found, Picture)

    def _input(self, picture: Picture | InputError) -> Tensor:
        assert isinstance(picture, Picture)
        width, height = picture.size
        self.cut += width != height
        self.resized += min(width, height) != self.data.resize
        self.recoloured += picture.was_colour != (len(self.data.mean) == 3)
        self.names.append(picture.file.name)
        if len(self.shown) < self._shown:
            self.shown.append(picture)
        return self.data.to_input(torch.from_numpy(picture.pixels)[None])


def _conversions(batches: PictureBatches, data: ImageData) -> str:
    """What was done to the pictures, in a sentence."""
    colour = "grey, made RGB" if len(data.mean) == 3 else "in colour, made grey"
    done = [
        (batches.cut, "not square, of which the middle square is taken"),
        (batches.resized, f"of another size than {data.resize} x {data.resize}, resized as in training"),
        (batches.recoloured, colour),
    ]
    parts = [f"{count} {what}" for count, what in done if count]
    return f"{len(batches.names)} pictures: {'; '.join(parts) or 'all as in training'}"


def _table(names: Sequence[str], probabilities: NDArray[np.float32], classes: Sequence[str], rows: int) -> str:
    """The first files with their two likeliest classes."""
    width = max(len(name) for name in classes)
    lines = [f"{'file':{_LONGEST_NAME}}  {'class':{width}}  probability  next"]
    for name, row in list(zip(names, probabilities, strict=True))[:rows]:
        first, second = row.argsort()[::-1][:2]
        guess = f"{classes[first]:{width}}  {row[first]:11.3f}  {classes[second]} {row[second]:.3f}"
        lines.append(f"{pad(cut(name, _LONGEST_NAME), _LONGEST_NAME, right=False)}  {guess}")
    if len(names) > rows:
        lines.append(f"… and {len(names) - rows:,} more")
    return "\n".join(lines)


def _csv(names: Sequence[str], probabilities: NDArray[np.float32], classes: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "class", "probability", *classes])
    for name, row in zip(names, probabilities, strict=True):
        writer.writerow([name, classes[row.argmax()], f"{row.max():.6f}", *(f"{value:.6f}" for value in row)])
    return text.getvalue()
