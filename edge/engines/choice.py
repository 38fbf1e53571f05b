"""Engine, provider and precision as users write them: `onnx`, `mlx:int4`, `onnx+cuda:int8-g64`."""

from dataclasses import dataclass
from difflib import get_close_matches

from models.errors import MisuseError
from models.precision import FP32, Float, Precision, precision_of

PACKAGES = {"onnx": "onnxruntime", "torch": "torch", "mlx": "mlx"}
"""The package that each engine computes with."""

BESIDE = {"llama.cpp": "llama_cpp"}
"""Runtimes that are measured beside the engines, on GGUF files, and give logits only; and the package of each."""

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
}
"""Execution providers of ONNX Runtime by the short names that users write."""

MOST_THREADS = 1024
"""Upper limit for threads; ONNX Runtime hangs with a hundred thousand."""

_FLOATS = {"torch": ("fp32", "bf16", "fp16"), "mlx": ("fp32", "bf16", "fp16")}


@dataclass(frozen=True)
class EngineChoice:
    """An engine with its precision and provider.

    Attributes:
        provider: Execution provider of ONNX Runtime; `cpu` for other engines, which choose their device themselves.
    """

    name: str
    precision: Precision = FP32
    provider: str = "cpu"

    @property
    def has_sites(self) -> bool:
        """Whether it is an engine, whose sites can be recorded; a runtime beside the engines gives logits only."""
        return self.name in PACKAGES

    @property
    def float_kind(self) -> str:
        """The float type of the computation; float32 with quantized matrices."""
        return self.precision.kind if isinstance(self.precision, Float) else FP32.kind

    @property
    def float_bytes(self) -> int:
        """Bytes of one such float."""
        return 4 if self.float_kind == FP32.kind else 2

    def __str__(self) -> str:
        """The choice as users write it, without default values."""
        provider = "" if self.provider == "cpu" else f"+{self.provider}"
        precision = "" if self.precision == FP32 else f":{self.precision}"
        return f"{self.name}{provider}{precision}"


def floats_of(name: str, provider: str) -> tuple[str, ...]:
    """The float types that an engine has kernels for. Every engine also runs quantized matrices."""
    if name == "onnx":
        return ("fp32",) if provider == "cpu" else ("fp32", "fp16")
    return _FLOATS[name]


def engine_of(text: str) -> EngineChoice:
    """Parses an engine, optionally `+` and a provider, and `:` and a precision.

    Raises:
        MisuseError: unknown engine (the message suggests a close name), provider or precision; or a precision that the
            engine does not run.
    """
    where, colon, spelled = text.partition(":")
    name, plus, provider = where.partition("+")
    if name not in PACKAGES | BESIDE:
        close = get_close_matches(name, [*PACKAGES, *BESIDE, "onnxruntime", "ort", "pytorch"], n=1)
        meant = {"onnxruntime": "onnx", "ort": "onnx", "pytorch": "torch"}.get(close[0], close[0]) if close else None
        hint = f"; did you mean '{meant}'?" if meant else ""
        raise MisuseError(f"no engine '{name}'{hint} (engines: {', '.join(PACKAGES)})")
    if plus and (name != "onnx" or provider not in PROVIDERS):
        raise MisuseError(
            f"no engine '{where}'; only onnx takes a provider: {', '.join(f'onnx+{one}' for one in PROVIDERS)}"
        )
    if name in BESIDE:
        if colon:
            raise MisuseError(f"{name} computes with the weights of a GGUF file as they are; leave out ':{spelled}'")
        return EngineChoice(name)
    precision, provider = precision_of(spelled) if colon else FP32, provider if plus else "cpu"
    floats = floats_of(name, provider)
    if isinstance(precision, Float) and precision.kind not in floats:
        runs = ", ".join((*floats, "int4", "int8"))
        raise MisuseError(f"engine '{where}' has no kernels for {precision}; it runs {runs}")
    return EngineChoice(name, precision, provider)


def check_sites(text: str, need: str) -> None:
    """Raises MisuseError if `need` shows what happens inside a model, and the engine gives logits only.

    Raises the errors of `engine_of`, too.
    """
    choice = engine_of(text)
    if not choice.has_sites:
        raise MisuseError(
            f"{need} shows what happens inside a model, and {choice.name} gives logits only; use an engine: "
            f"{', '.join(PACKAGES)}"
        )


def check_threads(threads: int | None, name: str = "threads") -> None:
    """Raises MisuseError for an invalid number of threads; `name` is the option in the message."""
    if threads is not None and not 1 <= threads <= MOST_THREADS:
        raise MisuseError(f"{name} is {threads}; it must be between 1 and {MOST_THREADS:,}")


def elsewhere(text: str, name: str) -> str:
    """The same choice on engine `name`: in the same precision, or in float32 if that engine has no kernels for it."""
    precision = engine_of(text).precision
    runs = not isinstance(precision, Float) or precision.kind in floats_of(name, "cpu")
    return str(EngineChoice(name, precision if runs else FP32))
