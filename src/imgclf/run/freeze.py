"""The configuration as a run folder keeps it."""

from omegaconf import DictConfig, OmegaConf

from imgclf.run_folder import RunFolder


def frozen(config: DictConfig) -> str:
    """All references resolved, as YAML; only ``${folder}`` stays one, so that a run folder can be moved."""
    copy = config.copy()
    OmegaConf.set_struct(copy, False)
    copy.folder = r"\${folder}"
    copy.pop("resume", None)
    plain = OmegaConf.to_container(copy, resolve=True)
    assert isinstance(plain, dict)
    del plain["folder"]
    return OmegaConf.to_yaml(OmegaConf.create(plain))


def thawed(folder: RunFolder) -> DictConfig:
    """The configuration that a run folder keeps, with the folder where it lies now."""
    config = OmegaConf.create(folder.read_config())
    config.folder = str(folder.path.absolute())
    return config
