"""Attention for training: the same result as a full pass, but faster if compiled for a CPU."""

import torch
from torch import Tensor

from models.kernels import FullPass, OneByOne, Probe
from models.spec import Attention, Full, NoCap

BLOCK = 128
"""Queries per block; the keys after the last query of a block are not multiplied."""


class BlockPass(FullPass):
    """A full pass that computes queries in blocks, which leaves out nearly half of the products."""

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def mix_experts(self, experts: OneByOne, x: Tensor, given: Tensor, chosen: Tensor, see: Probe) -> Tensor:
        """Not compiled, since which tokens an expert gets depends on their values."""
        return super().mix_experts(experts, x, given, chosen, see)

    def attend(
        self, layer: int, attention: Attention, query: Tensor, key: Tensor, value: Tensor, sinks: Tensor | None
    ) -> Tensor:
        length = query.shape[-3]
        if (
            attention.window != Full()
            or attention.score_cap != NoCap()
            or length % BLOCK
            or query.shape != key.shape
            or sinks is not None
        ):
            return super().attend(layer, attention, query, key, value, sinks)
        query = query.transpose(-3, -2) * query.shape[-1] ** -0.5
        key, value = key.transpose(-3, -2), value.transpose(-3, -2)
        hidden = torch.full((length, length), float("-inf"), device=query.device).triu(1)
        blocks = []
        for start in range(0, length, BLOCK):
            end = start + BLOCK
            score = (query[..., start:end, :] @ key[..., :end, :].transpose(-1, -2)).float()
            pattern = torch.softmax(score + hidden[start:end, :end], dim=-1)
            blocks.append(pattern.to(value.dtype) @ value[..., :end, :])
        return torch.cat(blocks, dim=-2).transpose(-3, -2)
