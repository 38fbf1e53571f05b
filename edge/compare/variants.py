"""The variants of a comparison: how they are chosen, named and opened."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Concatenate, ParamSpec, Protocol, TypeVar, runtime_checkable

from edge.engines.choice import engine_of
from edge.engines.registry import check_beside
from edge.session import Model
from edge.variant import Variant, open_variant, prepare_variant
from models.checkpoint import open_checkpoint
from models.errors import MisuseError
from models.find_model import find_model
from models.spec import DecoderSpec
from models.tokenizer import Tokenizer, open_tokenizer

P = ParamSpec("P")
R = TypeVar("R")


@runtime_checkable
class RemoteModel(Protocol):
    """A model that may be in another process. It runs module-level functions that take a `Model` first."""

    def call(self, function: Callable[Concatenate[Model, P], R], *arguments: P.args, **keywords: P.kwargs) -> R:
        """The result of `function(model, ...)`."""


@dataclass(frozen=True)
class OpenVariant:
    """One opened variant of a comparison.

    Attributes:
        name: Name in tables: the engine, or model and engine if models differ.
    """

    name: str
    spec: DecoderSpec
    remote: RemoteModel


@dataclass(frozen=True)
class ChosenVariant:
    """A variant that is not opened yet."""

    name: str
    variant: Variant
    spec: DecoderSpec
    tokenizer: Tokenizer | None


def chosen_variants(models: Sequence[str], engines: Sequence[str], threads: int | None) -> list[ChosenVariant]:
    """Every model on every engine, in order; the first is the reference.

    Raises:
        MisuseError: there is only one variant, an engine or a model is unknown, vocabularies differ, or a runtime
            beside the engines does not read a model.
        MissingPackageError: such a runtime is not installed.
    """
    for engine in engines:
        engine_of(engine)  # before anything is read
    if len(models) * len(engines) < 2:
        raise MisuseError(
            f"{models[0]} on {engines[0]} is one variant, and a comparison needs two; add -e ENGINE or another MODEL"
        )
    checkpoints = [open_checkpoint(find_model(model)) for model in models]
    for engine, checkpoint in product(engines, checkpoints):
        check_beside(engine_of(engine), checkpoint)
    specs = [checkpoint.spec for checkpoint in checkpoints]
    tokenizers = [open_tokenizer(checkpoint.source.texts()) for checkpoint in checkpoints]
    for model, spec, tokenizer in zip(models, specs, tokenizers, strict=True):
        _check_vocabulary(f"{models[0]} and {model}", specs[0], spec, tokenizers[0], tokenizer)
    shown = _shown(models, [checkpoint.name for checkpoint in checkpoints])
    return [
        ChosenVariant(
            name=engine if len(models) == 1 else f"{name} {engine}",
            variant=Variant(checkpoint.source.path, engine, threads),
            spec=spec,
            tokenizer=tokenizer,
        )
        for (name, checkpoint, spec, tokenizer), engine in product(
            zip(shown, checkpoints, specs, tokenizers, strict=True), engines
        )
    ]


@contextmanager
def opened(chosen: Sequence[ChosenVariant], progress: Callable[[str], None]) -> Iterator[list[OpenVariant]]:
    """Opens each variant in its own process while the context lasts. Exports missing graphs and weights first."""
    for variant in dict.fromkeys(one.variant for one in chosen):
        prepare_variant(variant, progress)
    with ExitStack() as stack:
        yield [
            OpenVariant(one.name, one.spec, stack.enter_context(open_variant(one.variant, progress))) for one in chosen
        ]


def _check_vocabulary(
    names: str, spec: DecoderSpec, other: DecoderSpec, tokenizer: Tokenizer | None, other_tokenizer: Tokenizer | None
) -> None:
    if spec.vocab_size != other.vocab_size:
        raise MisuseError(
            f"{names} have vocabularies of {spec.vocab_size} and {other.vocab_size} tokens; distributions over "
            "different tokens cannot be compared"
        )
    if tokenizer and other_tokenizer and not tokenizer.agrees(other_tokenizer):
        raise MisuseError(
            f"{names} have vocabularies of one size whose tokens differ; distributions over different tokens cannot "
            "be compared"
        )


def _shown(models: Sequence[str], names: Sequence[str]) -> list[str]:
    """The name of each model, or the user's argument if two have the same name."""
    return [name if names.count(name) == 1 else model for name, model in zip(names, models, strict=True)]
