"""imgclf: image classification with Hydra, PyTorch Lightning and TensorBoard."""
