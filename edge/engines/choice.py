"""What users choose to run a decoder on, and how they spell it: `onnx`, `mlx:int4`, `onnx+cuda:int8-g64`."""

from dataclasses import dataclass
from difflib import get_close_matches

from models.errors import MisuseError
from models.precision import FP32, Float, Grouped, Precision, precision_of

PACKAGES = {"onnx": "onnxruntime", "torch": "torch", "mlx": "mlx"}
"""The package that each engine computes with."""

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
}
"""Where ONNX Runtime can compute, by what it calls the code for it."""

MOST_THREADS = 1024
"""More than any machine has cores for; ONNX Runtime hangs on a hundred thousand."""

_FLOATS = {"torch": ("fp32", "bf16", "fp16"), "mlx": ("fp32", "bf16", "fp16")}


@dataclass(frozen=True)
class EngineChoice:
    """One engine as it is to be opened.

    Attributes:
        provider: Where ONNX Runtime computes; `cpu` for every other engine, which finds its device by itself.
    """

    name: str
    precision: Precision = FP32
    provider: str = "cpu"

    @property
    def float_kind(self) -> str:
        """The kind of float that is computed with; beside quantized matrices it is float32."""
        return self.precision.kind if isinstance(self.precision, Float) else FP32.kind

    @property
    def float_bytes(self) -> int:
        """Of one such float."""
        return 4 if self.float_kind == FP32.kind else 2

    def __str__(self) -> str:
        """As users write it; what goes without saying is left out."""
        provider = "" if self.provider == "cpu" else f"+{self.provider}"
        precision = "" if self.precision == FP32 else f":{self.precision}"
        return f"{self.name}{provider}{precision}"


def floats_of(name: str, provider: str) -> tuple[str, ...]:
    """The kinds of float that an engine has kernels for; every engine runs quantized matrices."""
    if name == "onnx":
        return ("fp32",) if provider == "cpu" else ("fp32", "fp16")
    return _FLOATS[name]


def engine_of(text: str) -> EngineChoice:
    """The choice that users spell so: an engine, `+` and a provider, `:` and a precision.

    Raises:
        MisuseError: an unknown engine, with what was meant; an unknown provider or precision; a precision that the
            engine does not run.
    """
    where, colon, spelled = text.partition(":")
    name, plus, provider = where.partition("+")
    if name not in PACKAGES:
        close = get_close_matches(name, [*PACKAGES, "onnxruntime", "ort", "pytorch"], n=1)
        meant = {"onnxruntime": "onnx", "ort": "onnx", "pytorch": "torch"}.get(close[0], close[0]) if close else None
        hint = f"; did you mean '{meant}'?" if meant else ""
        raise MisuseError(f"no engine '{name}'{hint} (engines: {', '.join(PACKAGES)})")
    if plus and (name != "onnx" or provider not in PROVIDERS):
        raise MisuseError(
            f"no engine '{where}'; onnx alone takes a provider: {', '.join(f'onnx+{one}' for one in PROVIDERS)}"
        )
    precision, provider = precision_of(spelled) if colon else FP32, provider if plus else "cpu"
    floats = floats_of(name, provider)
    if isinstance(precision, Float) and precision.kind not in floats:
        runs = ", ".join((*floats, "int4", "int8"))
        raise MisuseError(f"engine '{where}' has no kernels for {precision}; it runs {runs}")
    return EngineChoice(name, precision, provider)


def check_threads(threads: int | None, name: str = "threads") -> None:
    """Refuses threads that no engine can start; `name` is what the user gave them as."""
    if threads is not None and not 1 <= threads <= MOST_THREADS:
        raise MisuseError(f"{name} is {threads}; an engine computes with at least 1 and at most {MOST_THREADS:,}")


def elsewhere(text: str, name: str) -> str:
    """The same on engine `name`: in the same precision, or in float32 where that engine has no kernels for it."""
    precision = engine_of(text).precision
    runs = isinstance(precision, Grouped) or precision.kind in floats_of(name, "cpu")
    return str(EngineChoice(name, precision if runs else FP32))
