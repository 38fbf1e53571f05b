"""Qwen3: Llama with norms of queries and keys in every head, and with `head_dim` as a key of the config."""

from models.families.attention_windows import upper_windows
from models.families.config import Config
from models.families.family import Family
from models.families.llama import PARTS, decoder_of, layer_of, norm_of, with_attention
from models.families.qwen2 import DEFAULTS as QWEN2
from models.families.qwen2 import NULLABLE
from models.families.views import Stored, stored_parts
from models.spec import DecoderSpec, HeadNorm


def decoder(config: Config) -> DecoderSpec:
    layer = with_attention(layer_of(config, bias=config.flag("attention_bias")), head_norm=HeadNorm(norm_of(config)))
    return decoder_of(config, [with_attention(layer, window=window) for window in upper_windows(config)])


def weights_of(spec: DecoderSpec) -> dict[str, Stored]:
    return stored_parts(spec, PARTS | {"attn.query_norm": "self_attn.q_norm", "attn.key_norm": "self_attn.k_norm"})


DEFAULTS = {**QWEN2, "head_dim": 128, "attention_bias": False}

FAMILY = Family(decoder=decoder, weights_of=weights_of, defaults=DEFAULTS, nullable=NULLABLE)
