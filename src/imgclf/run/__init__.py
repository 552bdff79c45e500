"""From a configuration to objects to results; with the command line the only room that knows Hydra."""
