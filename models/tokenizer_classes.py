"""Default special tokens of the tokenizer classes of transformers 5."""

_END = "<|endoftext|>"
_LLAMA = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
_GPT2 = {"bos_token": _END, "eos_token": _END, "unk_token": _END}
_QWEN = {"eos_token": _END, "unk_token": _END, "pad_token": _END}
_GEMMA = {
    "bos_token": "<bos>",
    "eos_token": "<eos>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
    "mask_token": "<mask>",
}
_T5 = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
_INFILLING = {
    "prefix_token": "▁<PRE>",
    "middle_token": "▁<MID>",
    "suffix_token": "▁<SUF>",
    "eot_token": "▁<EOT>",
    "fill_token": "<FILL_ME>",
}
_COHERE = {
    "bos_token": "<BOS_TOKEN>",
    "eos_token": "<|END_OF_TURN_TOKEN|>",
    "unk_token": "<UNK>",
    "pad_token": "<PAD>",
    "cls_token": "<CLS>",
    "sep_token": "<SEP>",
    "mask_token": "<MASK_TOKEN>",
}

CLASS_TOKENS: dict[str, dict[str, str]] = {
    "CodeGenTokenizer": _GPT2,
    "CodeLlamaTokenizer": _LLAMA | _INFILLING,
    "CohereTokenizer": _COHERE,
    "GPT2Tokenizer": _GPT2,
    "GPTNeoXTokenizer": _GPT2 | {"pad_token": "<|padding|>"},
    "GemmaTokenizer": _GEMMA,
    "LlamaTokenizer": _LLAMA,
    "OpenAIGPTTokenizer": {"unk_token": "<unk>"},
    "Qwen2Tokenizer": _QWEN,
    "Qwen3_5Tokenizer": _QWEN,
    "T5Tokenizer": _T5,
    "XGLMTokenizer": _T5 | {"bos_token": "<s>", "sep_token": "</s>", "cls_token": "<s>"},
}
"""Named special tokens by class; other classes have none."""

_ANY = "TokenizersBackend"

_REGISTERED = {
    "cohere2": "CohereTokenizer",
    "ernie4_5": _ANY,
    "gemma": "GemmaTokenizer",
    "gemma2": "GemmaTokenizer",
    "gemma3_text": "GemmaTokenizer",
    "glm4": _ANY,
    "gpt2": "GPT2Tokenizer",
    "gpt_neox": "GPTNeoXTokenizer",
    "granite": _ANY,
    "granitemoe": _ANY,
    "ministral3": _ANY,
    "mistral": _ANY,
    "mixtral": _ANY,
    "nemotron": _ANY,
    "olmo2": _ANY,
    "olmo3": _ANY,
    "olmoe": "GPTNeoXTokenizer",
    "opt": "GPT2Tokenizer",
    "phi": "GPT2Tokenizer",
    "phi3": _ANY,
    "qwen2": "Qwen2Tokenizer",
    "qwen2_moe": "Qwen2Tokenizer",
    "qwen3": "Qwen2Tokenizer",
    "qwen3_moe": "Qwen2Tokenizer",
    "stablelm": _ANY,
    "starcoder2": "GPT2Tokenizer",
}
"""The class that transformers uses for a model type."""

_OFTEN_MISNAMED = frozenset({"ernie4_5", "nemotron", "phi3", "qwen2"})
"""Model types whose published files often name the wrong class; the registered one is used instead."""


def chosen_class(model_type: object, named: object, is_byte_level: bool) -> str:
    """The tokenizer class that `AutoTokenizer` chooses, `TokenizersBackend` if any class works.

    Args:
        model_type: As `config.json` states it.
        named: `tokenizer_class` as the files have it.
        is_byte_level: Whether the tokenizer is byte-level, which `LlamaTokenizer` cannot be.
    """
    registered = _REGISTERED.get(str(model_type))
    misnamed = model_type in _OFTEN_MISNAMED
    chosen = named.removesuffix("Fast") if isinstance(named, str) and not misnamed else registered
    if registered == _ANY or (chosen == "LlamaTokenizer" and is_byte_level):
        return _ANY
    return chosen or _ANY
