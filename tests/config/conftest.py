"""A small project on disk: a package `shopkit` with classes like ours, and a configuration tree."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SHOPKIT = {
    "shopkit/__init__.py": "from .nets.plain import Plain as Plain\nfrom shopkit.base import *\n",
    "shopkit/names.py": (
        'from typing import Literal\nActivation = Literal["relu", "tanh"]\nSize = int | tuple[int, int]\n'
    ),
    "shopkit/base.py": (
        "from __future__ import annotations\n"
        "from typing import Any\n"
        "import torch\n"
        "from torch import nn\n"
        "from pytorch_lightning import LightningModule\n"
        "class Base(LightningModule):\n"
        "    def __init__(self, net: nn.Module, num_classes: int, lr: float | torch.Tensor = 0.1,\n"
        "                 label_smoothing: float = 0.0, *, compile: bool = False) -> None:\n"
        "        super().__init__()\n"
        "    @classmethod\n"
        "    def from_file(cls, path: str, strict: bool = True) -> Base: ...\n"
        "def build(size: int, /, name: str, **rest: Any) -> None: ...\n"
    ),
    "shopkit/nets/__init__.py": "",
    "shopkit/nets/plain.py": (
        "from __future__ import annotations\n"
        "from pathlib import Path\n"
        "from typing import Any, Optional, Union\n"
        "from collections.abc import Sequence, Mapping, Callable\n"
        "from ..base import Base\n"
        "from shopkit import names\n"
        "from shopkit.names import Activation\n"
        "Widths = Sequence[int]\n"
        "class Plain(Base):\n"
        "    def __init__(self, hidden: Widths, activation: 'Activation' = 'relu', dropout: float = 0.0,\n"
        "                 size: names.Size = 28, name: Optional[str] = None, folder: Path | None = None,\n"
        "                 scale: Mapping[str, float] | None = None, \n"
        "                 hook: Callable[[int], int] | None = None, depth: Union[int, None] = None,\n"
        "                 loose: int = None, flag: bool = True, **kwargs: Any) -> None:\n"
        "        super().__init__(object(), **kwargs)\n"
        "class Narrow(Plain):\n"
        "    pass\n"
        "class Open(Base):\n"
        "    def __init__(self, **options: Any) -> None:\n"
        "        self.options = options\n"
        "class Popping(Base):\n"
        "    def __init__(self, **options: Any) -> None:\n"
        "        self.depth = options.pop('depth')\n"
        "        super().__init__(object(), **options)\n"
    ),
    "shopkit/data.py": (
        "from dataclasses import KW_ONLY, InitVar, dataclass, field\n"
        "from typing import ClassVar\n"
        "@dataclass\n"
        "class Folder:\n"
        "    root: str\n"
        "    classes: ClassVar[int] = 10\n"
        "    batch_size: int = 32\n"
        "    cache: dict[str, int] = field(default_factory=dict)\n"
        "    hidden: int = field(default=1, init=False)\n"
        "    seed: InitVar[int] = 0\n"
        "@dataclass(kw_only=True)\n"
        "class Split(Folder):\n"
        "    ratio: float\n"
        "@dataclass\n"
        "class Marked:\n"
        "    a: int\n"
        "    _: KW_ONLY\n"
        "    b: int\n"
        "class Bare: ...\n"
    ),
    "shopkit/branches.py": (
        "import sys\n"
        "if sys.platform == 'nowhere':\n"
        "    class Either:\n"
        "        def __init__(self, left): ...\n"
        "else:\n"
        "    class Either:\n"
        "        def __init__(self, right): ...\n"
    ),
    "shopkit/lazy.py": "def __getattr__(name): raise AttributeError(name)\n",
    "shopkit/broken.py": "class Half(:\n",
    "shopkit/circle.py": "from shopkit.circle_two import Round\n",
    "shopkit/circle_two.py": "from shopkit.circle import Round\n",
}

CONF = {
    "train.yaml": (
        "defaults:\n  - _self_\n  - data: fashion\n  - model: mlp\n  - optimizer: sgd\n  - trainer: default\n"
        "  - experiment: null\nseed: 0\nname: first\n"
    ),
    "data/fashion.yaml": "_target_: shopkit.data.Folder\nroot: data\nbatch_size: 256\n",
    "model/mlp.yaml": "_target_: shopkit.Plain\nhidden: [256]\nactivation: relu\nnum_classes: 10\n",
    "model/lenet.yaml": "_target_: shopkit.Plain\nhidden: [120, 84]\nnum_classes: 10\nleaf: {deep: 1}\n",
    "model/googlenet.yaml": "_target_: shopkit.Plain\nhidden: []\nnum_classes: 10\n",
    "optimizer/sgd.yaml": "_target_: torch.optim.SGD\n_partial_: true\nlr: 0.1\n",
    "trainer/default.yaml": "_target_: pytorch_lightning.Trainer\nmax_epochs: 10\n",
    "experiment/good.yaml": "# @package _global_\ndefaults:\n  - override /model: lenet\nseed: 3\n",
    "experiment/bad_choice.yaml": "# @package _global_\ndefaults:\n  - override /model: lenett\n",
    "experiment/bad_group.yaml": "# @package _global_\ndefaults:\n  - override /modle: lenet\n",
    "experiment/no_slash.yaml": "# @package _global_\ndefaults:\n  - override model: lenet\n",
    "experiment/no_override.yaml": "# @package _global_\ndefaults:\n  - /model: lenet\n",
    "experiment/bad_yaml.yaml": "# @package _global_\nseed: 3\n  name: [\n",
    "experiment/twice.yaml": "# @package _global_\nseed: 3\nseed: 4\n",
    "experiment/a_list.yaml": "# @package _global_\n- seed\n",
}


def _write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="session")
def shopkit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that holds the package `shopkit`, found by imports, though nothing here imports it."""
    folder = _write(tmp_path_factory.mktemp("code"), SHOPKIT)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture(scope="session")
def conf(shopkit: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration tree whose primary config is `train`."""
    return _write(tmp_path_factory.mktemp("project") / "conf", CONF)
