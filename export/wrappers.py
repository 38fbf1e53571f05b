"""The decoder as modules that are traced: what goes in, what comes out, and which kernels compute it."""

import torch
from jaxtyping import Float, Int, Int32
from torch import Tensor, nn
from torch.nn import functional as F

from export.batched_kernels import Batched
from export.buffered_kernels import Buffered
from export.expert_kernels import ExpertKernel, fused_experts, portable_experts, visible_experts
from export.graph_sites import mark_site
from export.initializers import rotaries
from export.kernels import kernels_of
from export.rotation import Tables
from export.traced_states import Past, States
from models.decoder import Decoder
from models.sites import place_of
from models.spec import DecoderSpec


class Wrapper(nn.Module):
    """A decoder with the rotary tables its kernels read."""

    def __init__(self, spec: DecoderSpec) -> None:
        super().__init__()
        self.spec, self.decoder = spec, Decoder(spec)
        for index, kind in enumerate(rotaries(spec)):
            for part in ("cos", "sin"):
                self.register_buffer(f"{part}{index}", torch.empty(spec.context, kind.features // 2))

    @property
    def tables(self) -> Tables:
        kinds = enumerate(rotaries(self.spec))
        return Tables({kind: (self.get_buffer(f"cos{i}"), self.get_buffer(f"sin{i}")) for i, kind in kinds})

    def kernels(self, graph: str, ids: Tensor, total: Tensor, past: Past, experts: ExpertKernel) -> Buffered:
        kind = kernels_of(self.spec)[graph]
        assert issubclass(kind, Buffered)
        before = total.to(torch.int64) - ids.shape[0]
        positions = before + torch.arange(ids.shape[0])
        return kind(self.spec, total, positions, self.tables, States(self.spec, past), experts)


class Fast(Wrapper):
    """Only the logits of the last token, for generation."""

    def forward(self, ids: Int[Tensor, " token"], total: Int32[Tensor, " 1"], past: Past) -> tuple[Tensor, Past]:
        kernels = self.kernels("fast", ids, total, past, fused_experts)
        x = self.decoder.stream(ids, kernels.positions, kernels)
        return self.decoder.logits(x[-1:]).float(), kernels.states.present


class Watched(Wrapper):
    """Every place of a site is an output; `rows` are the tokens whose logits are computed."""

    def forward(
        self, ids: Int[Tensor, " token"], total: Int32[Tensor, " 1"], rows: Int[Tensor, " row"], past: Past
    ) -> tuple[Tensor, Past, list[Tensor]]:
        kernels = self.kernels("probe", ids, total, past, visible_experts)
        seen: dict[str, Tensor] = {}

        def see(site: str, value: Tensor, rows: Tensor | None = None) -> Tensor:
            if place_of(site) != site:
                return value
            seen[site] = mark_site(value.float(), rows)
            return seen[site].to(value.dtype)

        x = self.decoder.stream(ids, kernels.positions, kernels, see)
        return self.decoder.logits(F.embedding(rows, x)).float(), kernels.states.present, list(seen.values())


class Ecosystem(Wrapper):
    """Has a batch axis and the names that other tools expect.

    Attributes:
        graph: The graph whose attention kernels are used.
    """

    graph = "std"

    @property
    def experts(self) -> ExpertKernel:
        """How experts are computed."""
        return portable_experts

    def forward(
        self,
        input_ids: Int[Tensor, "batch token"],
        attention_mask: Int[Tensor, "batch total"],
        position_ids: Int[Tensor, "batch token"],
        past: Past,
    ) -> tuple[Float[Tensor, "batch token vocab"], Past]:
        kind = kernels_of(self.spec)[self.graph]
        assert issubclass(kind, Batched)
        states = States(self.spec, past)
        kernels = kind(self.spec, attention_mask, position_ids, self.tables, states, self.experts)
        return self.decoder(input_ids, position_ids, kernels).float(), kernels.states.present


class ForGenai(Ecosystem):
    """The same for onnxruntime-genai."""

    graph = "genai"

    @property
    def experts(self) -> ExpertKernel:
        return fused_experts
