"""The mixtures of the benchmarks: Qwen3-MoE checkpoints with random weights, and the pairs that run them."""

from dataclasses import dataclass
from typing import Any

from tests.bench import runtimes as who
from tests.bench.checkpoint import Shape, Sizes, attention_tensors
from tests.bench.pairs import Pair


@dataclass(frozen=True, kw_only=True)
class MixtureShape(Shape):
    """Sizes of a Qwen3-MoE with a separate head; `d_ff` is the width of one expert."""

    n_experts: int
    top_k: int

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.n_layers} layers, d_model {self.d_model:,}, {self.n_heads}/{self.n_kv_heads} heads of "
            f"{self.head_dim}, {self.n_experts} experts of {self.d_ff:,}, top {self.top_k}, vocabulary "
            f"{self.vocab_size:,}, {self.kind}"
        )

    @property
    def tensors(self) -> Sizes:
        return self._tensors(self.n_experts)

    @property
    def read_tensors(self) -> Sizes:
        sizes = self._tensors(self.top_k)
        del sizes["model.embed_tokens.weight"]
        return sizes

    def _tensors(self, experts: int) -> Sizes:
        """The tensors with as many experts in each layer."""
        model, keys = self.d_model, self.n_kv_heads * self.head_dim
        sizes: Sizes = {"model.embed_tokens.weight": (self.vocab_size, model), "model.norm.weight": (model,)}
        sizes["lm_head.weight"] = (self.vocab_size, model)
        for layer in range(self.n_layers):
            name = f"model.layers.{layer}"
            sizes |= attention_tensors(name, model, keys) | {
                f"{name}.self_attn.q_norm.weight": (self.head_dim,),
                f"{name}.self_attn.k_norm.weight": (self.head_dim,),
                f"{name}.mlp.gate.weight": (self.n_experts, model),
            }
            for expert in range(experts):
                one = f"{name}.mlp.experts.{expert}"
                sizes |= {
                    f"{one}.gate_proj.weight": (self.d_ff, model),
                    f"{one}.up_proj.weight": (self.d_ff, model),
                    f"{one}.down_proj.weight": (model, self.d_ff),
                }
        return sizes

    @property
    def config(self) -> dict[str, Any]:
        return super().config | {
            "architectures": ["Qwen3MoeForCausalLM"],
            "model_type": "qwen3_moe",
            "moe_intermediate_size": self.d_ff,
            "num_experts": self.n_experts,
            "num_experts_per_tok": self.top_k,
            "norm_topk_prob": True,
            "decoder_sparse_step": 1,
            "mlp_only_layers": [],
            "rms_norm_eps": 1e-6,
            "use_sliding_window": False,
            "tie_word_embeddings": False,
        }


def qwen3_moe(n_experts: int, n_layers: int) -> MixtureShape:
    """A Qwen3-MoE shape with this number of experts."""
    return MixtureShape(
        name="Qwen3-MoE shape",
        vocab_size=32_000,
        d_model=1024,
        d_ff=768,
        n_layers=n_layers,
        n_heads=16,
        n_kv_heads=4,
        context=2048,
        n_experts=n_experts,
        top_k=4,
    )


N_LAYERS = 8
"""Few, so that two copies in float32 fit into 16 GB of memory."""

MIXTURE, FEW = qwen3_moe(32, N_LAYERS), qwen3_moe(8, N_LAYERS)

SMALL_MIXTURE = MixtureShape(
    name="small mixture shape",
    vocab_size=64,
    d_model=96,
    d_ff=32,
    n_layers=2,
    n_heads=3,
    n_kv_heads=1,
    context=64,
    n_experts=4,
    top_k=2,
)
"""For tests of the benchmarks."""

MIXTURE_PAIRS = (
    Pair(who.EDGE_ONNX, who.TRANSFORMERS, model="moe"),
    Pair(who.EDGE_MLX, who.TRANSFORMERS, model="moe"),
    Pair(who.EDGE_MLX, who.MLX_LM, model="moe"),
    Pair(who.EDGE_MLX_INT4, who.MLX_LM_INT4, model="moe"),
    Pair(who.EDGE_INT4, who.MLX_LM_INT4, model="moe"),
    Pair(who.EDGE_INT4, who.EDGE_ONNX, model="moe"),
    Pair(who.EDGE_INT4, who.EDGE_INT4_FEW, model="moe"),
    Pair(who.EDGE_ONNX, who.EDGE_ONNX_FEW, model="moe"),
    Pair(who.EDGE_INT4, who.LLAMA_CPP_INT4, model="moe"),
)
