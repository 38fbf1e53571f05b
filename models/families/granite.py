"""Granite: Llama with multipliers for embeddings, scores, sublayers and logits, which are folded into weights."""

from math import sqrt

from models.families import llama
from models.families.config import Config
from models.families.family import Family
from models.families.llama import head_dim_of


def multipliers(config: Config) -> dict[str, float]:
    """What each part's weights are multiplied by, so that a decoder without multipliers gives the same logits.

    A tied head reads with the embedding's weights: the norm before it takes back what the embedding gained.
    """
    embedding, branch = config.number("embedding_multiplier", 1.0), config.number("residual_multiplier", 1.0)
    score = config.number("attention_multiplier", 1.0) * sqrt(head_dim_of(config))
    tied = config.flag("tie_word_embeddings", False)
    logits = 1 / config.number("logits_scaling", 1.0) / (embedding if tied else 1.0)
    return {"embed": embedding, "attn.query": score, "attn.out": branch, "ffn.down": branch, "head.norm": logits}


FAMILY = Family(llama.spec_of, llama.weights_of, multipliers=multipliers)
