"""The torch decoder with a checkpoint's weights: the reference for exports and engines."""

import numpy as np
import torch

from models.checkpoint import Checkpoint
from models.decoder import Decoder

KINDS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""torch types of the float precisions."""


def load_decoder(checkpoint: Checkpoint, kind: str = "fp32") -> Decoder:
    """The decoder in one float type, for inference, without a second copy of weights. Dequantizes quantized weights."""
    with torch.device("meta"):
        decoder = Decoder(checkpoint.spec)
    weights = {
        name: torch.from_numpy(np.array(array, np.float32)).to(KINDS[kind])
        for name, array in checkpoint.weights.items()
    }
    decoder.load_state_dict(weights, assign=True)
    return decoder.eval().requires_grad_(False)
