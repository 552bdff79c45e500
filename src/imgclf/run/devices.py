"""What the devices here are and can do; torch is loaded only where it has to be asked."""


def device_type(accelerator: str) -> str:
    """``cuda``, ``cpu`` or another kind of device that ``trainer.accelerator`` stands for on this machine."""
    if accelerator not in ("auto", "gpu", "cuda", "mps"):
        return accelerator
    import torch

    if accelerator != "mps" and torch.cuda.is_available():
        return "cuda"
    if accelerator != "cuda" and torch.backends.mps.is_available():
        return "mps"
    return "cpu" if accelerator == "auto" else accelerator


def has_bfloat16() -> bool:
    """Whether the GPU computes in it, if only by emulation."""
    import torch

    return torch.cuda.is_bf16_supported()


def multiplies_bfloat16(device: str) -> bool:
    """Whether the device has instructions for it: AVX512-BF16 or AMX on a processor, Ampere and later among GPUs.

    Without them bfloat16 is emulated, which is slower than float32.
    """
    import torch

    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device == "cpu":
        # torch tells through these alone; a version without them counts as a processor without the instructions.
        questions = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(getattr(torch.cpu, question, lambda: False)() for question in questions)
    return False
