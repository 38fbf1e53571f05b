"""The torch decoder with a checkpoint's weights: the reference that every export and engine is held against."""

import numpy as np
import torch

from models.checkpoint import Checkpoint
from models.decoder import Decoder


def load_decoder(checkpoint: Checkpoint) -> Decoder:
    """The decoder in float32, for inference; no weight is held twice."""
    with torch.device("meta"):
        decoder = Decoder(checkpoint.spec)
    weights = {name: torch.from_numpy(np.array(array, np.float32)) for name, array in checkpoint.weights.items()}
    decoder.load_state_dict(weights, assign=True)
    return decoder.eval().requires_grad_(False)
