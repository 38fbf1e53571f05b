"""llama.cpp on a GGUF file, measured beside the engines: logits, speed and memory, and nothing from inside."""

from ctypes import POINTER, c_int8, c_int32, c_void_p
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import psutil
from jaxtyping import Float32, Int64

from edge.change import NO_CHANGES, Changes
from edge.engines.base import NO_ROWS, Rows, Step, copied, watched_places
from edge.engines.choice import PACKAGES, EngineChoice
from edge.timing import Grain, TimesByScope, Without
from edge.watch import Watch
from models.checkpoint import Checkpoint
from models.errors import CheckpointError, EdgeError, MissingPackageError, MisuseError
from models.sites import LOGITS
from models.sublayers.states import Mark

try:
    import llama_cpp as api
except ImportError as error:
    raise MissingPackageError("engine 'llama.cpp'", "llama-cpp-python", "llama") from error
except (OSError, RuntimeError) as error:
    raise EdgeError(f"llama-cpp-python is installed and cannot be loaded ({error}); install it again") from error

BATCH = 512
"""Most tokens that llama.cpp computes together, as in the passes of the engines."""

_ERROR = 4
"""The level of errors in ggml's log."""

_errors: list[str] = []
"""Errors in the log of llama.cpp, the last one for messages."""


def _note(level: int, text: bytes, _: int | None) -> None:
    """Keeps the errors of llama.cpp, which would print its whole log."""
    if level == _ERROR:
        _errors.append(text.decode("utf8", "replace").strip())


_log = api.llama_log_callback(_note)  # llama.cpp has its address from here on
api.llama_log_set(_log, c_void_p(0))
api.llama_backend_init()


class LlamaCppEngine:
    """Runs a GGUF file as `llama_cpp.Llama` does by default: keys and values in float16, no flash attention.

    On an x86-64 CPU, flash attention doubled the time of a token after 768 others, and changed KL divergence by 1%.
    """

    timing_method = "no timers inside"
    float_bytes = 2

    def __init__(self, checkpoint: Checkpoint, choice: EngineChoice, threads: int | None) -> None:
        self.spec, self.name = checkpoint.spec, str(choice)
        self._watched = watched_places(self.spec)
        self.threads = threads or psutil.cpu_count(logical=False) or 1
        self.versions = {"llama-cpp-python": api.__version__}
        self.weights_bytes = checkpoint.stored_bytes
        self._file = (checkpoint.files or (checkpoint.source.path,))[0]
        self._model = _load(self._file)
        self._context: Any = None
        self._ids: list[int] = []
        self._capacity = self._text = 0
        tokens = api.llama_vocab_n_tokens(api.llama_model_get_vocab(self._model))
        if tokens != self.spec.vocab_size:
            self.close()
            raise CheckpointError(
                f"{self._file} has {tokens} tokens in llama.cpp and {self.spec.vocab_size} in Edge, so their logits "
                "cannot be compared; open it without llama.cpp"
            )

    @property
    def fed(self) -> int:
        return len(self._ids)

    @property
    def allocator_peak_bytes(self) -> None:
        """None: llama.cpp does not report it."""

    def reserve(self, capacity: int) -> None:
        """A new context, to which the tokens are fed again: llama.cpp cannot grow one."""
        if capacity <= self._capacity:
            return
        self._free_context()
        wanted = api.llama_context_default_params()
        wanted.n_ctx, wanted.n_batch, wanted.n_ubatch = capacity, BATCH, BATCH
        wanted.n_threads = wanted.n_threads_batch = self.threads
        wanted.flash_attn_type = api.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self._context = api.llama_init_from_model(self._model, wanted)
        if not self._context:
            raise EdgeError(f"llama.cpp cannot reserve {capacity} tokens: {_said()}; use fewer tokens")
        self._capacity = int(api.llama_n_ctx(self._context))
        self._feed_again()

    def ready(self, watch: Watch, changing: bool) -> None:
        """Refuses what llama.cpp cannot do, before a run begins."""
        if changing or self._watched(watch):
            _refuse()

    def clear(self) -> None:
        self._text += 1
        self._ids = []
        if self._context:
            api.llama_memory_clear(api.llama_get_memory(self._context), False)

    def mark(self) -> Mark[Any]:
        return Mark(self._text, self.fed, {})

    def restore(self, mark: Mark[Any]) -> None:
        assert mark.text == self._text and mark.fed <= self.fed, "a mark is of this text, and of tokens in the cache"
        if mark.fed == self.fed:
            return
        self._ids = self._ids[: mark.fed]
        if not api.llama_memory_seq_rm(api.llama_get_memory(self._context), 0, mark.fed, -1):
            self._feed_again()  # a state that does not grow cannot go back

    def feed(
        self, ids: Int64[np.ndarray, " token"], watch: Watch, into: Rows = NO_ROWS, changes: Changes = NO_CHANGES
    ) -> Step:
        self.ready(watch, bool(changes))
        return Step(copied(self._logits(ids, watch.logits), into.get(LOGITS)))

    def feed_instrumented(self, ids: Int64[np.ndarray, " token"], repeats: int, grain: Grain) -> list[TimesByScope]:
        _refuse()

    def feed_without(self, ids: Int64[np.ndarray, " token"], rounds: int) -> dict[str, tuple[Without, ...]]:
        return {}  # it cannot leave sublayers out

    def close(self) -> None:
        self._free_context()
        if self._model:
            api.llama_model_free(self._model)
            self._model = None

    def _free_context(self) -> None:
        if self._context:
            api.llama_free(self._context)
            self._context, self._capacity = None, 0

    def _feed_again(self) -> None:
        """Fills an empty cache with the tokens that were fed."""
        ids = np.array(self._ids, np.int64)
        self._ids = []
        api.llama_memory_clear(api.llama_get_memory(self._context), False)
        if len(ids):
            self._logits(ids, every=False)

    def _logits(self, ids: Int64[np.ndarray, " token"], every: bool) -> Float32[np.ndarray, "row vocab"]:
        """Feeds tokens: logits after every one, or after the last. The next call may overwrite them."""
        pieces = []
        for start in range(0, len(ids), BATCH):
            piece = ids[start : start + BATCH]
            is_last = start + BATCH >= len(ids)
            self._decode(piece, every, is_last)
            rows = len(piece) if every else int(is_last)
            if rows:
                found = np.ctypeslib.as_array(api.llama_get_logits(self._context), (rows, self.spec.vocab_size))
                pieces.append(found if is_last else found.copy())
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def _decode(self, ids: Int64[np.ndarray, " token"], every: bool, is_last: bool) -> None:
        """One pass of at most `BATCH` tokens at the end of the cache."""
        assert self._context, "the capacity is reserved before tokens are fed"
        tokens, wanted = ids.astype(np.int32), np.full(len(ids), every, np.int8)
        wanted[-1] |= is_last
        given = tokens.ctypes.data_as(POINTER(c_int32)), wanted.ctypes.data_as(POINTER(c_int8))
        code = api.llama_decode(self._context, api.llama_batch(len(ids), given[0], None, None, None, None, given[1]))
        if code:
            raise EdgeError(f"llama.cpp cannot compute {len(ids)} tokens of {self._file} (code {code}): {_said()}")
        self._ids += ids.tolist()


def _load(file: Path) -> Any:
    """The model of a GGUF file; of a split one, all its parts."""
    _errors.clear()
    model = api.llama_model_load_from_file(str(file).encode("utf8"), api.llama_model_default_params())
    if not model:
        raise CheckpointError(f"llama.cpp cannot load {file}: {_said()}; open it with an engine: {', '.join(PACKAGES)}")
    return model


def _said() -> str:
    """The last error of llama.cpp."""
    return _errors[-1] if _errors else "it does not say why"


def _refuse() -> NoReturn:
    raise MisuseError(
        "llama.cpp gives logits only: it records no sites, applies no edits and times no sublayers; use an engine: "
        f"{', '.join(PACKAGES)}"
    )
