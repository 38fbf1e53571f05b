"""Granite: Llama with multipliers for embeddings, scores, sublayers and logits, which are folded into weights."""

from math import sqrt

from models.families import llama
from models.families.config import Config
from models.families.family import Family
from models.families.llama import head_dim_of


def folded(config: Config) -> dict[str, float]:
    """The multiplier of the weights of each part, with which a decoder without multipliers gives the same logits.

    A tied head uses the weights of the embedding, so the norm before it is divided by the embedding's multiplier.
    """
    embedding, branch = config.number("embedding_multiplier"), config.number("residual_multiplier")
    score = config.number("attention_multiplier") * sqrt(head_dim_of(config))
    tied = config.flag("tie_word_embeddings")
    logits = 1 / config.number("logits_scaling") / (embedding if tied else 1.0)
    return {"embed": embedding, "attn.query": score, "attn.out": branch, "ffn.down": branch, "head.norm": logits}


DEFAULTS = {
    **llama.DEFAULTS,
    "embedding_multiplier": 1.0,
    "residual_multiplier": 1.0,
    "attention_multiplier": 1.0,
    "logits_scaling": 1.0,
}

FAMILY = Family(decoder=llama.decoder, weights_of=llama.weights_of, defaults=DEFAULTS, folded=folded)
