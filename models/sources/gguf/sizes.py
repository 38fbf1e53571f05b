"""What most architectures of GGUF files share: layers, heads, widths, windows and norms, by keys of Hugging Face."""

from math import nextafter
from typing import Any

from models.errors import SpecError
from models.families.attention_windows import FULL, SLIDING
from models.sources.gguf.keys import GgufKeys

Keys = dict[str, Any]

_STATED = "attention.key_length"
"""The size of a head, which many files leave out."""


def sizes_of(keys: GgufKeys) -> Keys:
    """Keys of most architectures. Those that a family does not read are left out later."""
    return {
        "vocab_size": _vocab_size_of(keys),
        "hidden_size": keys.whole("embedding_length"),
        "num_hidden_layers": n_layers_of(keys),
        "num_attention_heads": keys.whole("attention.head_count"),
        "num_key_value_heads": _n_kv_heads_of(keys),
        "head_dim": head_dim_of(keys),
        "max_position_embeddings": keys.whole("context_length"),
        "tie_word_embeddings": not keys.has("output.weight"),
    }


def _vocab_size_of(keys: GgufKeys) -> int:
    """Rows of the embedding. The key `vocab_size` may have another number, since some embeddings are padded."""
    shape = keys.tensors.get("token_embd.weight", ())
    if len(shape) != 2:
        said = f"the tensor 'token_embd.weight' of shape {shape}" if shape else "no tensor 'token_embd.weight'"
        raise SpecError(f"{keys.file} has {said}; a model has a matrix there, so download the model itself")
    return shape[0]


def n_layers_of(keys: GgufKeys) -> int:
    """Layers of the decoder, without those that predict further tokens."""
    counted = keys.whole("block_count")
    further = keys.whole("nextn_predict_layers", 0, least=0, most=counted - 1)
    stored = keys.stored_layers
    if not counted - further <= stored <= counted:
        raise keys.refusal("block_count", f"{stored}, since there are tensors of {stored} layers")
    return counted - further


def _n_kv_heads_of(keys: GgufKeys) -> int:
    heads = keys.whole("attention.head_count")
    shared = keys.whole("attention.head_count_kv", heads)
    if heads % shared:
        raise keys.refusal("attention.head_count_kv", f"a divisor of 'attention.head_count', which is {heads}")
    return shared


def head_dim_of(keys: GgufKeys) -> int:
    """Features of one head of queries, keys and values."""
    width, heads = keys.whole("embedding_length"), keys.whole("attention.head_count")
    if _STATED not in keys and heads > width:
        raise keys.refusal("attention.head_count", f"at most 'embedding_length', which is {width}")
    size = keys.whole(_STATED, max(1, width // heads))
    if keys.whole("attention.value_length", size) != size:
        raise keys.refusal("attention.value_length", f"{size}, as the length of keys ('{_STATED}')")
    return size


def rotated_heads(keys: GgufKeys) -> Keys:
    """Heads whose features are all rotated."""
    size = head_dim_of(keys)
    if keys.whole("rope.dimension_count", size) != size or size % 2:
        raise keys.refusal("rope.dimension_count", f"the size of a head, {_said(keys, size)}, which must be even")
    return {"head_dim": size}


def partly_rotated_heads(keys: GgufKeys, share_key: str = "partial_rotary_factor") -> Keys:
    """Heads of which some features are rotated; configs state their share."""
    size = head_dim_of(keys)
    rotated = keys.whole("rope.dimension_count", size)
    if rotated > size or rotated % 2:
        raise keys.refusal("rope.dimension_count", f"an even number, at most the size of a head, {_said(keys, size)}")
    share = rotated / size
    while int(size * share) < rotated:  # families round down
        share = nextafter(share, 2.0)
    return {"head_dim": size, share_key: share}


def _said(keys: GgufKeys, size: int) -> str:
    """The size of a head, and where it comes from."""
    stated = f"'{_STATED}'" if _STATED in keys else "'embedding_length' / 'attention.head_count'"
    return f"{size} ({stated})"


def width_of(keys: GgufKeys) -> Keys:
    """Neurons of one layer."""
    return {"intermediate_size": keys.whole("feed_forward_length")}


def rms_norm_of(keys: GgufKeys) -> Keys:
    """The number that a norm adds to the mean square."""
    return {"rms_norm_eps": keys.number("attention.layer_norm_rms_epsilon")}


def biases_of(keys: GgufKeys) -> Keys:
    """Whether attention and FFN have biases, which the keys leave out."""
    return {"attention_bias": has_query_bias(keys), "mlp_bias": keys.has("blk.0.ffn_up.bias")}


def has_query_bias(keys: GgufKeys) -> bool:
    """Whether queries have a bias, alone or in one tensor with keys and values."""
    return keys.has("blk.0.attn_q.bias") or keys.has("blk.0.attn_qkv.bias")


def optional_window_of(keys: GgufKeys) -> int | None:
    """Tokens of the attention window; 0 in a file means none."""
    return keys.whole("attention.sliding_window", 0, least=0) or None


def kinds_of_layers(keys: GgufKeys, every: int) -> list[str]:
    """Which layers are sliding: those in a list of flags, or all except every n-th layer, which is full."""
    name, n_layers = "attention.sliding_window_pattern", n_layers_of(keys)
    slides = keys.flags(name, n_layers)
    if slides is None:
        every = keys.whole(name, every, least=0)
        slides = [every == 0 or (layer + 1) % every != 0 for layer in range(n_layers)]
    return [SLIDING if one else FULL for one in slides]
