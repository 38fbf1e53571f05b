"""The engines of Edge and the other runtimes, all with one interface.

Opening a runtime on a folder returns a function, which runs a prompt and returns milliseconds: to the first token, and
between all later ones. Large packages are imported inside, in the process of the runtime.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path
from time import perf_counter_ns

from models.precision import Scheme, Zero
from tests.bench.traffic import Reads, dense, grouped, q4_0


@dataclass(frozen=True)
class Times:
    """One run, in milliseconds.

    Attributes:
        first_ms: Time from the prompt to the first token.
        between_ms: Every inter-token interval.
    """

    first_ms: float
    between_ms: tuple[float, ...]


DEPTH = 1_700
"""Tokens before the prompt of `EDGE_DEEP`; the context is 2,048."""

Run = Callable[[list[int], int], Times]
"""Runs a prompt of ids, and decodes a number of tokens greedily after the first."""


@dataclass(frozen=True)
class Runtime:
    """One way to run the model.

    Attributes:
        packages: Its packages, whose versions are printed.
        open: Opens it, given the folder of the checkpoint and the number of threads.
        reads: Bytes of weights read per token; None if they are unknown, or if it also reads or writes other data.
    """

    name: str
    packages: tuple[str, ...]
    open: Callable[[Path, int], Run]
    reads: Reads | None = None

    @property
    def missing(self) -> tuple[str, ...]:
        """Packages that are not installed."""
        return tuple(package for package in self.packages if not _is_installed(package))

    @property
    def versions(self) -> str:
        return ", ".join(f"{package} {version(package)}" for package in self.packages)


def _is_installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def _timed(tokens: Iterator[object], count: int) -> Times:
    """Decodes the first token and `count` more, with the time of each."""
    clock = [perf_counter_ns()]
    for _ in range(count + 1):
        next(tokens)
        clock.append(perf_counter_ns())
    waits = [(after - before) / 1e6 for before, after in pairwise(clock)]
    return Times(waits[0], tuple(waits[1:]))


FEW_EXPERTS = "few-experts"
"""The folder with fewer experts, next to that of a mixture."""


def _edge(engine: str, parts: str = "none", depth: int = 0, sibling: str = "") -> Callable[[Path, int], Run]:
    """Edge through its Python API, `edge.load(...).run(...)`, with `depth` tokens before the prompt.

    `sibling` is the name of another folder with a checkpoint, next to the one that is opened.
    """

    def open_edge(folder: Path, threads: int) -> Run:
        import edge
        from edge.watch import Watch

        model = edge.load(folder.with_name(sibling or folder.name), engine=engine, threads=threads)
        every = Watch.all()
        watch = {"none": Watch.nothing(), "sites": Watch(parts=every.parts), "all": every}[parts]

        def run(ids: list[int], count: int) -> Times:
            timing = model.run(ids=[1] * depth + ids, max_new_tokens=count + 1, watch=watch, stop_tokens=()).timing
            return Times(timing.ttft_ms, timing.inter_token_ms)

        return run

    return open_edge


def _open_bare(folder: Path, threads: int) -> Run:
    """Only the matrix products, in ONNX Runtime."""
    import numpy as np

    from tests.bench.bare import FEATURES, open_products

    session = open_products(folder, threads)
    width = session.get_inputs()[0].shape[1]

    def passes(first: int) -> Iterator[object]:
        rows = first
        while True:
            features = np.ones((rows, width), np.float32)
            yield session.run(None, {FEATURES: features, "last": np.array([rows - 1])})
            rows = 1

    return lambda ids, count: _timed(passes(len(ids)), count)


def _genai(precision: str) -> Callable[[Path, int], Run]:
    """onnxruntime-genai, with the graph of its model builder."""

    def open_genai(folder: Path, threads: int) -> Run:
        return _open_genai(folder, threads, precision)

    return open_genai


def _open_genai(folder: Path, threads: int, precision: str) -> Run:
    import onnxruntime_genai as genai

    built = folder.parent / f"genai-{precision}"
    if not (built / "genai_config.json").exists():
        builder = ["-m", "onnxruntime_genai.models.builder", "-i", folder, "-o", built, "-p", precision, "-e", "cpu"]
        cached = ["-c", folder.parent / "genai-cache"]
        done = subprocess.run([sys.executable, *map(str, builder + cached)], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"its model builder failed: {done.stderr.strip().splitlines()[-1]}")
    config = json.loads((built / "genai_config.json").read_text())
    config["model"]["decoder"]["session_options"]["intra_op_num_threads"] = threads
    (built / "genai_config.json").write_text(json.dumps(config))
    model = genai.Model(str(built))

    def tokens(ids: list[int], count: int) -> Iterator[object]:
        length = len(ids) + count + 2
        params = genai.GeneratorParams(model)
        params.set_search_options(max_length=length, min_length=length, do_sample=False, batch_size=1)
        generator = genai.Generator(model, params)
        generator.append_tokens(ids)
        while True:
            generator.generate_next_token()
            yield generator.get_next_tokens()[0]

    return lambda ids, count: _timed(tokens(ids, count), count)


def _gguf_file(folder: Path, kind: str) -> Path:
    """A GGUF file with the weights of a folder, all matrices in one type; written if it is not there."""
    from tests.models.sources.converted import write_gguf

    file = folder.parent / f"{folder.name}-{kind}.gguf"
    if not file.exists():
        write_gguf(folder, file, kind)
    return file


def _edge_gguf(kind: str, engine: str = "onnx") -> Callable[[Path, int], Run]:
    """Edge on a GGUF file."""
    return lambda folder, threads: _edge(engine)(_gguf_file(folder, kind), threads)


def _llama_cpp(kind: str) -> Callable[[Path, int], Run]:
    """llama.cpp through its Python package, with a GGUF file of the same weights; keys and values in float16."""

    def open_llama_cpp(folder: Path, threads: int) -> Run:
        from llama_cpp import Llama

        file = _gguf_file(folder, kind)
        context = json.loads((folder / "config.json").read_text())["max_position_embeddings"]
        llama = Llama(str(file), n_ctx=context, n_threads=threads, n_threads_batch=threads, verbose=False)

        def run(ids: list[int], count: int) -> Times:
            llama.reset()  # otherwise it reuses the prompt of the previous run from its cache
            return _timed(llama.generate(ids, temp=0.0), count)

        return run

    return open_llama_cpp


def _open_transformers(folder: Path, threads: int) -> Run:
    """transformers with torch, its cache and fused attention."""
    import torch
    from transformers import AutoModelForCausalLM, DynamicCache
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.set_num_threads(threads)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa").eval()

    def tokens(ids: list[int]) -> Iterator[object]:
        cache, fed = DynamicCache(config=model.config), torch.tensor([ids])
        while True:
            with torch.inference_mode():
                logits = model(fed, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
            fed = logits[:, -1].argmax(-1, keepdim=True)
            yield int(fed)

    return lambda ids, count: _timed(tokens(ids), count)


def _mlx_lm(bits: int | None) -> Callable[[Path, int], Run]:
    """mlx-lm in float32, or quantized as it is opened."""

    def open_mlx_lm(folder: Path, threads: int) -> Run:
        return _open_mlx_lm(folder, threads, bits)

    return open_mlx_lm


def _open_mlx_lm(folder: Path, threads: int, bits: int | None) -> Run:
    """mlx-lm, with the same BLAS for MLX as in Edge, and the same groups. Routers stay in float32, as in Edge."""
    from edge.engines.blas import preload_blas, set_blas_threads

    preload_blas()
    import mlx.core as mx
    from mlx import nn
    from mlx_lm.generate import generate_step
    from mlx_lm.utils import load_model

    set_blas_threads(threads)
    model, _ = load_model(folder)
    if bits is not None:
        nn.quantize(
            model,
            group_size=GROUP,
            bits=bits,
            class_predicate=lambda path, part: hasattr(part, "to_quantized") and not path.endswith("mlp.gate"),
        )
        mx.eval(model.parameters())

    def run(ids: list[int], count: int) -> Times:
        return _timed(generate_step(mx.array(ids), model, max_tokens=count + 1), count)

    return run


GROUP = 32
"""Weights of a group, in Edge's int4 and in mlx-lm."""

INT4, INT4_WIDE = grouped(Scheme(4, GROUP, Zero.WHOLE)), grouped(Scheme(4, 128, Zero.MIDDLE))

EDGE_ONNX = Runtime("edge onnx", ("onnxruntime",), _edge("onnx"), dense)
EDGE_ONNX_SITES = Runtime("edge onnx, all sites recorded", ("onnxruntime",), _edge("onnx", "sites"))
EDGE_ONNX_ALL = Runtime("edge onnx, sites and logits recorded", ("onnxruntime",), _edge("onnx", "all"))
EDGE_DEEP = Runtime("edge onnx at depth 1,700", ("onnxruntime",), _edge("onnx", depth=DEPTH))
EDGE_INT4 = Runtime("edge onnx:int4", ("onnxruntime",), _edge("onnx:int4"), INT4)
EDGE_INT4_WIDE = Runtime("edge onnx:int4-g128-sym", ("onnxruntime",), _edge("onnx:int4-g128-sym"), INT4_WIDE)
EDGE_INT4_FEW = Runtime("edge onnx:int4, 8 experts", ("onnxruntime",), _edge("onnx:int4", sibling=FEW_EXPERTS), INT4)
EDGE_ONNX_FEW = Runtime("edge onnx, 8 experts", ("onnxruntime",), _edge("onnx", sibling=FEW_EXPERTS), dense)
EDGE_MLX_INT4 = Runtime("edge mlx:int4", ("mlx",), _edge("mlx:int4"), INT4)
EDGE_MLX = Runtime("edge mlx", ("mlx",), _edge("mlx"), dense)
EDGE_TORCH = Runtime("edge torch", ("torch",), _edge("torch"), dense)
BARE = Runtime("matrix products only", ("onnxruntime", "onnx"), _open_bare, dense)
GENAI = Runtime("onnxruntime-genai", ("onnxruntime-genai",), _genai("fp32"), dense)
GENAI_INT4 = Runtime("genai int4", ("onnxruntime-genai",), _genai("int4"))
LLAMA_CPP = Runtime("llama.cpp F32", ("llama-cpp-python", "gguf"), _llama_cpp("F32"), dense)
LLAMA_CPP_INT4 = Runtime("llama.cpp Q4_0", ("llama-cpp-python", "gguf"), _llama_cpp("Q4_0"), q4_0)
EDGE_Q4_1 = Runtime("edge onnx, Q4_1 file", ("onnxruntime", "gguf"), _edge_gguf("Q4_1"))
EDGE_Q4_0 = Runtime("edge onnx, Q4_0 file", ("onnxruntime", "gguf"), _edge_gguf("Q4_0"))
EDGE_Q4_K = Runtime("edge onnx, Q4_K file", ("onnxruntime", "gguf"), _edge_gguf("Q4_K"))
EDGE_SYMMETRIC = Runtime("edge onnx:int4-sym", ("onnxruntime",), _edge("onnx:int4-sym"))
LLAMA_CPP_Q4_1 = Runtime("llama.cpp Q4_1", ("llama-cpp-python", "gguf"), _llama_cpp("Q4_1"))
LLAMA_CPP_Q4_K = Runtime("llama.cpp Q4_K", ("llama-cpp-python", "gguf"), _llama_cpp("Q4_K"))
TRANSFORMERS = Runtime("transformers", ("transformers", "torch"), _open_transformers, dense)
MLX_LM = Runtime("mlx-lm", ("mlx-lm", "mlx"), _mlx_lm(None), dense)
MLX_LM_INT4 = Runtime("mlx-lm 4 bits", ("mlx-lm", "mlx"), _mlx_lm(4), INT4)

BY_NAME = {
    runtime.name: runtime
    for runtime in (
        EDGE_ONNX, EDGE_ONNX_SITES, EDGE_ONNX_ALL, EDGE_DEEP, EDGE_INT4, EDGE_INT4_WIDE, EDGE_MLX, EDGE_TORCH,
        EDGE_Q4_1, EDGE_Q4_0, EDGE_Q4_K, EDGE_SYMMETRIC, LLAMA_CPP_Q4_1, LLAMA_CPP_Q4_K, EDGE_INT4_FEW, EDGE_ONNX_FEW,
        EDGE_MLX_INT4, BARE, GENAI, GENAI_INT4, LLAMA_CPP, LLAMA_CPP_INT4, TRANSFORMERS, MLX_LM, MLX_LM_INT4,
    )
}  # fmt: skip
