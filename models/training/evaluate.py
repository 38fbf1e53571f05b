"""What a saved checkpoint can do, measured on the files that ship: the figures of its card."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from models.checkpoint import open_checkpoint
from models.decoder import Decoder
from models.kernels import FullPass
from models.sites import layer_site
from models.training.corpus import Corpus
from models.training.recipe import Recipe
from models.training.train import bits_per_byte, summed_loss

PROMPTS = (
    "Once upon a time there was a little girl who lived",
    "The old captain looked out over the sea and said",
    "In the middle of the forest stood a house, and in the house",
)
"""What the samples on every card begin with; all of them are shown."""

_SAMPLE_TOKENS = 48
_NEURON_WINDOWS = 8
_COPY_ROWS, _COPY_SPAN = 32, 64


@dataclass(frozen=True)
class Evaluation:
    """Figures of one checkpoint.

    Attributes:
        bits_per_byte: Cost of the whole validation text, each window of it read from nothing.
        valid_tokens: Tokens of the validation text.
        exact_zeros: For each layer, the share of neuron activations that are exactly 0.
        never_fired: For each layer, the share of neurons that are 0 on every one of those tokens.
        neuron_tokens: Validation tokens that both are counted on.
        copied: Share of random tokens, seen once before in the same order, that are predicted first.
        samples: Each prompt with what greedy decoding adds to it.
    """

    bits_per_byte: float
    valid_tokens: int
    exact_zeros: tuple[float, ...]
    never_fired: tuple[float, ...]
    neuron_tokens: int
    copied: float
    samples: tuple[tuple[str, str], ...]


def evaluate(folder: Path, recipe: Recipe, corpus: Corpus) -> Evaluation:
    """Measures the checkpoint in `folder`, in float32."""
    decoder = read_decoder(folder)
    windows = corpus.valid[: _NEURON_WINDOWS * recipe.length].astype(np.int64).reshape(-1, recipe.length)
    with torch.no_grad():
        zeros, never = exact_zeros(decoder, torch.from_numpy(windows))
        loss = summed_loss(decoder, bfloat16=False)
        return Evaluation(
            bits_per_byte=bits_per_byte(recipe, corpus, loss, len(corpus.valid)),
            valid_tokens=len(corpus.valid),
            exact_zeros=zeros,
            never_fired=never,
            neuron_tokens=windows.size,
            copied=copied_share(decoder, recipe.seed),
            samples=tuple((prompt, sample(decoder, corpus, prompt)) for prompt in PROMPTS),
        )


def read_decoder(folder: Path) -> Decoder:
    """The decoder in a checkpoint folder, in float32."""
    checkpoint = open_checkpoint(folder)
    decoder = Decoder(checkpoint.spec)
    weights = {name: torch.from_numpy(weight.astype(np.float32)) for name, weight in checkpoint.weights.items()}
    decoder.load_state_dict(weights)
    return decoder


def full_logits(decoder: Decoder, ids: Int[Tensor, "*batch token"]) -> Float[Tensor, "*batch token vocab"]:
    """The logits after every token."""
    kernels = FullPass(ids.shape[-1])
    logits: Tensor = decoder(ids, kernels.positions, kernels)
    return logits


def exact_zeros(decoder: Decoder, ids: Int[Tensor, "batch token"]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """For each layer, the share of zeros among what enters the down projection, and of neurons that are always 0."""
    share: dict[str, float] = {}
    never: dict[str, float] = {}
    neurons = [layer_site(layer, "ffn.neurons") for layer in range(decoder.spec.n_layers)]

    def see(site: str, value: Tensor) -> Tensor:
        if site in neurons:
            zero = value == 0
            share[site] = zero.float().mean().item()
            never[site] = zero.flatten(0, -2).all(dim=0).float().mean().item()
        return value

    kernels = FullPass(ids.shape[-1])
    decoder(ids, kernels.positions, kernels, see)
    return tuple(share[site] for site in neurons), tuple(never[site] for site in neurons)


def copied_share(decoder: Decoder, seed: int) -> float:
    """How often the likeliest token is the right one where random tokens come a second time."""
    span = min(_COPY_SPAN, decoder.spec.context // 2)
    random = torch.Generator().manual_seed(seed)
    once = torch.randint(0, decoder.spec.vocab_size, (_COPY_ROWS, span), generator=random)
    likeliest = full_logits(decoder, torch.cat([once, once], dim=1)).argmax(dim=-1)
    return (likeliest[:, span:-1] == once[:, 1:]).float().mean().item()


def sample(decoder: Decoder, corpus: Corpus, prompt: str) -> str:
    """What greedy decoding adds to a prompt, until the text ends or the sample is long enough."""
    ids: list[int] = corpus.tokenizer.encode(prompt).ids
    given = len(ids)
    while len(ids) < min(given + _SAMPLE_TOKENS, decoder.spec.context):
        likeliest = int(full_logits(decoder, torch.tensor(ids))[-1].argmax())
        if likeliest == corpus.end_of_text:
            break
        ids.append(likeliest)
    return str(corpus.tokenizer.decode(ids))[len(corpus.tokenizer.decode(ids[:given])) :]
