"""Keys of configs that never change logits. Edge does not read them, and prints no note about them."""

_FILE = (
    "architectures", "auto_map", "custom_pipelines", "dtype", "torch_dtype", "transformers_version",
    "transformers.js_config", "name_or_path", "model_type", "is_llama_config", "license", "unsloth_version",
    "unsloth_fixed", "use_bfloat16", "torchscript", "quantization", "quantization_config",
)  # fmt: skip
"""Facts about the file and the tools that wrote it."""

_TOKENS = (
    "bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id", "eod_token_id", "sep_token_id", "cls_token_id",
    "mask_token_id", "decoder_start_token_id", "tokenizer_class", "vocab_file", "prefix",
)  # fmt: skip
"""Special tokens, which do not affect the forward pass."""

_TRAINING = (
    "attention_dropout", "attn_pdrop", "classifier_dropout", "dropout", "embd_pdrop", "embedding_dropout",
    "hidden_dropout", "init_std", "initializer_range", "layerdrop", "pretraining_tp", "resid_pdrop",
    "residual_dropout", "gradient_checkpointing", "neftune_noise_alpha", "output_router_logits",
    "router_aux_loss_coef",
)  # fmt: skip
"""Training."""

_OTHER_TASKS = (
    "id2label", "label2id", "num_labels", "problem_type", "finetuning_task", "task_specific_params",
    "summary_activation", "summary_first_dropout", "summary_last_dropout", "summary_proj_to_labels", "summary_type",
    "summary_use_proj",
)  # fmt: skip
"""Heads for other tasks."""

_CALLS = (
    "attn_implementation", "cache_implementation", "chunk_size_feed_forward", "is_decoder", "n_ctx",
    "output_attentions", "output_hidden_states", "reorder_and_upcast_attn", "return_dict", "use_cache",
    "use_return_dict",
)  # fmt: skip
"""Options of a call of the model in transformers."""

_SAMPLING = (
    "assistant_confidence_threshold", "assistant_lookbehind", "encoder_repetition_penalty", "epsilon_cutoff",
    "eta_cutoff", "num_assistant_tokens", "num_assistant_tokens_schedule", "target_lookbehind",
    "begin_suppress_tokens", "diversity_penalty", "do_sample", "early_stopping", "encoder_no_repeat_ngram_size",
    "exponential_decay_length_penalty", "forced_bos_token_id", "forced_eos_token_id", "length_penalty", "max_length",
    "min_length", "no_repeat_ngram_size", "num_beam_groups", "num_beams", "num_return_sequences", "output_scores",
    "remove_invalid_values", "repetition_penalty", "return_dict_in_generate", "suppress_tokens", "temperature",
    "top_k", "top_p", "typical_p", "bad_words_ids",
)  # fmt: skip
"""Sampling options, which newer checkpoints have in `generation_config.json`."""

HARMLESS = frozenset((*_FILE, *_TOKENS, *_TRAINING, *_OTHER_TASKS, *_CALLS, *_SAMPLING))
