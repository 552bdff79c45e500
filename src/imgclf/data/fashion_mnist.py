"""Fashion-MNIST (Xiao et al. 2017): 28x28 grey images of clothes in 10 classes."""

from pathlib import Path
from typing import Any

from imgclf.data.batches import ImageArray
from imgclf.data.module import ImageData, as_tensors
from imgclf.errors import InputError
from imgclf.images import fashion_mnist as files


class FashionMNIST(ImageData):
    """All 60,000 training and 10,000 test images.

    Args:
        dir: folder of the four IDX files, plain or gzipped; downloads go here.
        system_dir: folder to look in next, such as the one that a system package fills; None for none.
        download: fetch the files where neither folder has them.
        options: those of :class:`ImageData`.
    """

    class_names = files.CLASS_NAMES

    def __init__(self, dir: str, system_dir: str | None, download: bool, **options: Any) -> None:
        super().__init__(**options)
        self.dir = Path(dir)
        self.system_dir = Path(system_dir) if system_dir is not None else None
        self.download = download

    def prepare_data(self) -> None:
        """Download the files unless they are there; a download that was broken off is completed."""
        if self.download and 0 < len(files.missing_files(self.dir)) < len(files.FILES):
            files.download_fashion_mnist(self.dir)
        if files.find_fashion_mnist(self.dir, self.system_dir) is not None:
            return
        if not self.download:
            raise InputError(
                f"no Fashion-MNIST files in data.dir={self.dir} or data.system_dir={self.system_dir}: "
                "set data.download=true, or put the four IDX files into data.dir"
            )
        files.download_fashion_mnist(self.dir)

    def read_train(self) -> ImageArray:
        return as_tensors(*files.read_fashion_mnist(self._folder(), "train", files.FULL_SHA256))

    def read_test(self) -> ImageArray:
        return as_tensors(*files.read_fashion_mnist(self._folder(), "t10k", files.FULL_SHA256))

    def _folder(self) -> Path:
        folder = files.find_fashion_mnist(self.dir, self.system_dir)
        if folder is None:
            raise InputError(f"no Fashion-MNIST files in data.dir={self.dir}: run again to download them")
        return folder


class FashionMNISTMini(ImageData):
    """The first 1,000 training and 200 test images of each class, which ship with the package.

    Args:
        options: those of :class:`ImageData`.
    """

    class_names = files.CLASS_NAMES

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)

    def read_train(self) -> ImageArray:
        return as_tensors(*files.read_fashion_mnist(files.fashion_mnist_mini_folder(), "train", files.MINI_SHA256))

    def read_test(self) -> ImageArray:
        return as_tensors(*files.read_fashion_mnist(files.fashion_mnist_mini_folder(), "t10k", files.MINI_SHA256))
