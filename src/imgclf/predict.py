"""Classifying unlabelled images with a finished run: those of its data, or anybody's picture files."""

import csv
import math
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from pytorch_lightning import seed_everything
from pytorch_lightning.callbacks import LambdaCallback
from torch import Tensor

from imgclf import distributed
from imgclf.callbacks.drawing import FAINT, INK, contact_sheet
from imgclf.data.decode import DAMAGE, why
from imgclf.data.folders import list_pictures
from imgclf.data.kaggle import KaggleCIFAR10
from imgclf.data.module import ImageData
from imgclf.errors import Failed, InputError, say
from imgclf.evaluate import bare_trainer, require_run, trained
from imgclf.log import log, speak
from imgclf.run_folder import RunFolder, written_aside


def predict(config: DictConfig) -> None:
    """Write ``submission.csv``, and on request ``probabilities.npy``, into the run folder ``config.run``.

    Where ``config.images`` names picture files, those are classified instead: a table, a contact sheet, a CSV file.
    """
    require_run(config)
    if not distributed.is_first():  # one process does it all
        return
    OmegaConf.set_struct(config, False)
    devices = config.trainer.get("devices")
    devices = devices[:1] if OmegaConf.is_list(devices) else 1
    config.trainer.update({"strategy": "auto", "num_nodes": 1, "devices": devices})
    os.environ.pop("LOCAL_RANK", None)
    speak(None)
    seed_everything(config.seed, verbose=False)
    model, data = trained(config)
    model.average_flips, folder = config.average_flips, RunFolder(config.run)
    pictures = None if config.images is None else PictureBatches(str(config.images), data, config.sheet)
    if pictures is None and type(data).read_unlabelled is ImageData.read_unlabelled:
        raise InputError(f"{type(data).__name__} has no unlabelled images: give some by images=FOLDER")
    kept = bytearray()  # one stretch of memory: many small results between large tensors that are freed cost gigabytes
    keep = LambdaCallback(on_predict_batch_end=lambda *args: kept.extend(args[2].float().cpu().numpy().tobytes()))
    trainer = bare_trainer(config, keep)
    own = data if pictures is None else None
    trainer.predict(model, dataloaders=pictures, datamodule=own, return_predictions=False)
    probabilities = np.frombuffer(kept, np.float32).reshape(-1, data.num_classes)
    if pictures is not None:
        pictures.answer(folder, probabilities, config.rows)
    else:
        file = folder.path / "submission.csv"
        if config.probabilities:
            with written_aside(folder.path / "probabilities.npy") as aside, aside.open("wb") as out:
                np.save(out, probabilities)
        ids = data.lists()[1] if isinstance(data, KaggleCIFAR10) else range(len(probabilities))
        names = [data.class_names[label] for label in probabilities.argmax(axis=1)]
        with written_aside(file) as aside, aside.open("w", newline="", encoding="utf-8") as out:
            csv.writer(out, lineterminator="\n").writerows([("id", "label"), *zip(ids, names, strict=True)])
        say(f"\n{len(probabilities):,} images classified: {file}")


class PictureBatches:
    """Picture files as batches for a network, decoded by threads, a batch ahead; and the answer for them.

    Args:
        source: what ``images=`` names.
        data: says how files are decoded, and how pixels become inputs.
        shown: how many pictures to keep for the contact sheet.
    """

    def __init__(self, source: str, data: ImageData, shown: int) -> None:
        self.source, self.data, self.shown, self.files = source, data, shown, list_pictures(source)
        self.read: list[Path] = []
        self.thumbnails: list[NDArray[np.uint8]] = []
        self.unreadable: list[str] = []

    def __len__(self) -> int:
        return math.ceil(len(self.files) / self.data.eval_batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs float32 (n, in_channels, resize, resize), and zeros in the place of labels."""
        size = self.data.eval_batch_size
        parts = [self.files[start : start + size] for start in range(0, len(self.files), size)]
        with ThreadPoolExecutor(min(distributed.cores(), 8)) as pool:  # photos are large: few are open at once
            ahead = pool.map(self._decoded, parts[0])
            for part, following in zip(parts, [*parts[1:], []], strict=True):
                found, ahead = list(ahead), pool.map(self._decoded, following)
                self.unreadable += [f"{file}: {p}" for file, p in zip(part, found, strict=True) if isinstance(p, str)]
                self.read += [file for file, p in zip(part, found, strict=True) if not isinstance(p, str)]
                batch = [pixels for pixels in found if not isinstance(pixels, str)]
                for pixels in batch[: self.shown - len(self.thumbnails)]:
                    picture = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
                    self.thumbnails.append(np.asarray(picture.convert("RGB").resize((160, 160))))
                if batch:
                    inputs = self.data.to_input(torch.from_numpy(np.stack(batch)))
                    yield inputs, torch.zeros(len(batch), dtype=torch.int64)

    def _decoded(self, file: Path) -> NDArray[np.uint8] | str:
        """Pixels uint8 (c, s, s), or what is wrong with the file."""
        try:
            return self.data.decode(file)
        except DAMAGE as error:
            return why(error)

    def answer(self, folder: RunFolder, probabilities: NDArray[np.float32], rows: int) -> None:
        """Print a table of the first ``rows`` files; write all of them, and the contact sheet, to ``predicted/``."""
        for problem in self.unreadable:
            log.error(f"not classified: {problem}")
        if not self.read:
            raise InputError(f"images={self.source}: none of the {len(self.files)} files could be read")
        root = Path(os.path.commonpath([file.parent for file in self.files]))
        count, classes, answers = len(self.read), self.data.class_names, []
        for file, row in zip(self.read, probabilities, strict=True):
            name = os.fsencode(file.relative_to(root)).decode("utf-8", "replace")  # it need not be a text
            line = re.sub(r"[\x00-\x1f]+", " ", name)  # nor one line
            second, first = row.argsort()[-2:]
            answers.append((name, line, classes[first], row[first], f"{classes[second]} {row[second]:.3f}"))
        width, decode = max(map(len, classes)), self.data.decode
        form = f"{decode.size} x {decode.size}, {'grey' if decode.channels == 1 else 'RGB'}"
        lines = [f"\n{count} pictures, each as in training: {decode.fit}, {form}\n"]
        lines += [f"{'file':34}  {'class':{width}}  probability  next"]  # 80 columns
        lines += [f"{line[-34:]:34}  {guess:{width}}  {p:11.3f}  {more}" for _, line, guess, p, more in answers[:rows]]
        say("\n".join(lines + [f"… and {count - rows:,} more"] * (count > rows)))

        stem = str(folder.path / "predicted" / (re.sub(r"[^\w.-]+", "_", self.source).strip("_.")[-80:] or "pictures"))
        with written_aside(Path(f"{stem}.csv")) as aside, aside.open("w", newline="", encoding="utf-8") as out:
            writer = csv.writer(out, lineterminator="\n")
            writer.writerow(["file", "class", "probability", *classes])
            for (name, _, guess, share, _), row in zip(answers, probabilities, strict=True):
                writer.writerow([name, guess, *(f"{p:.6f}" for p in (share, *row))])
        shown = answers[: len(self.thumbnails)]
        captions = [((line[-22:], FAINT), (f"{guess} {share:.2f}", INK)) for _, line, guess, share, _ in shown]
        title = f"{len(shown)} of {count} pictures, as the network is shown them: class and probability"
        sheet = Image.fromarray(contact_sheet(np.stack(self.thumbnails), captions, columns=6, title=title))
        with written_aside(Path(f"{stem}.png")) as aside:
            sheet.save(aside, format="PNG")
        say(f"\nall {count}:     {stem}.csv\ncontact sheet: {stem}.png")
        if self.unreadable:
            raise Failed(f"{len(self.unreadable)} of {len(self.files)} files were not classified")
