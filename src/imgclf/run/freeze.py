"""The configuration as a run folder keeps it."""

from typing import Any

from omegaconf import DictConfig, OmegaConf

from imgclf.run_folder import RunFolder

# What a run is asked to do, or is part of; not what it is.
_OF_THE_COMMAND = ("resume", "rerun", "trust", "sweep")


def resolved(config: DictConfig) -> dict[str, Any]:
    """All references resolved, as plain values; only ``${folder}`` stays one, so that a run folder can be moved."""
    copy = config.copy()
    OmegaConf.set_struct(copy, False)
    copy.folder = r"\${folder}"
    for key in _OF_THE_COMMAND:
        copy.pop(key, None)
    plain = OmegaConf.to_container(copy, resolve=True)
    assert isinstance(plain, dict)
    del plain["folder"]
    return {str(key): value for key, value in plain.items()}


def frozen(config: DictConfig) -> str:
    """The resolved configuration as YAML."""
    return OmegaConf.to_yaml(OmegaConf.create(resolved(config)))


def thawed(folder: RunFolder) -> DictConfig:
    """The configuration that a run folder keeps, with the folder where it lies now."""
    config = OmegaConf.create(folder.read_config())
    config.folder = str(folder.path.absolute())
    return config
