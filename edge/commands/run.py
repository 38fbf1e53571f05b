"""`edge run`: prints generated text as a stream."""

from typing import TYPE_CHECKING, Any

import click

from edge.commands.options import (
    check_prompt,
    engine_options,
    open_model,
    parsed_ids,
    print_message,
    run_options,
    text_argument,
)
from edge.commands.sublayer_table import sublayer_record, sublayer_sum, sublayer_table
from edge.terminal import write_generated
from models.errors import MisuseError
from models.json_text import json_text

if TYPE_CHECKING:
    from edge.sampling import Sampling
    from edge.session import Token
    from edge.timing import SublayerTiming
    from edge.trace import Trace
    from models.chat import Turn


@click.command(
    epilog="""\b
    Examples:
      edge run fable-relu "Once upon a time"
      edge run fable-relu "The king" --temperature 0.8 --top-p 0.95 --seed 7
      edge run path/to/chat-model "Why is the sky blue?" --chat
      edge run path/to/checkpoint --ids 1,5,2 -e torch --json
      cat letter.txt | edge run fable-relu -
      edge run fable-relu -- "-5 is below"
    """
)
@click.argument("model")
@click.argument("prompt", required=False)
@run_options
@engine_options
@click.option("--chat", is_flag=True, help="Apply the checkpoint's chat template to PROMPT.")
@click.option("--system", help="System prompt (requires --chat).")
@click.option("--time", "timed", is_flag=True, help="Print the latency of each sublayer in a decode step.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end instead of text.")
def run(
    model: str,
    prompt: str | None,
    ids: str | None,
    max_new_tokens: int,
    sampling: "Sampling",
    seed: int,
    stop_texts: tuple[str, ...],
    engine: str,
    threads: int | None,
    chat: bool,
    system: str | None,
    timed: bool,
    as_json: bool,
) -> None:
    """Run a prompt and print the generated text.

    MODEL is a checkpoint folder, a GGUF file, or a name that 'edge models' lists.
    PROMPT can be '-' to read it from stdin; put -- before a PROMPT that begins with a dash.

    The text goes to stdout. Then stderr shows the number of tokens, the time to first token (ttft), and tok/s.
    """
    prompt_ids = parsed_ids(ids)
    prompt, system = text_argument(prompt, "PROMPT"), text_argument(system, "--system")
    if chat and prompt_ids is not None:
        raise MisuseError("--chat needs a PROMPT and cannot be combined with --ids; remove one of them")
    turns = _turns(prompt, system, chat)
    check_prompt(prompt, prompt_ids, f'edge run {model} "Hello"')
    with open_model(model, engine, threads, "--time" if timed else None) as loaded:
        stream = Stream()
        trace = loaded.run(
            None if turns else prompt,
            ids=loaded.chat_ids(turns) if turns else prompt_ids,
            max_new_tokens=max_new_tokens,
            sampling=sampling,
            seed=seed,
            stop_texts=stop_texts,
            on_token=None if as_json else stream.write,
        )
        if not as_json:
            stream.end(trace.text)
            print_message(_summary(trace))
        timing = loaded.time_sublayers(list(trace.tokens[: trace.n_fed])) if timed else None
    if as_json:
        click.echo(json_text(_record(trace, timing)))
    elif timing is not None:
        click.echo(sublayer_table(timing).text())
        click.echo(sublayer_sum(timing))


def _turns(prompt: str | None, system: str | None, chat: bool) -> "list[Turn] | None":
    """The conversation of `--chat`; None without it."""
    from models.chat import Turn

    if system is not None and not chat:
        raise MisuseError("--system requires --chat; add --chat")
    if not chat:
        return None
    if not prompt:
        raise MisuseError("--chat needs a PROMPT, the message of the user; add one")
    return [*([Turn("system", system)] if system else []), Turn("user", prompt)]


class Stream:
    """Streams generated text to stdout."""

    def __init__(self) -> None:
        self._written = ""

    def write(self, token: "Token") -> None:
        """Prints the text that `token` completes."""
        self._written += token.text
        write_generated(token.text)

    def end(self, text: str) -> None:
        """Prints the rest of the text, such as a character whose last byte is missing."""
        write_generated(f"{text.removeprefix(self._written)}\n")


def _record(trace: "Trace", timing: "SublayerTiming | None") -> dict[str, Any]:
    """A run as JSON: token ids, natural log-probabilities, milliseconds."""
    record: dict[str, Any] = {
        "engine": trace.engine,
        "prompt_tokens": trace.tokens[: trace.prompt_length],
        "tokens": trace.generated,
        "text": trace.text,
        "logprobs": trace.logprobs,
        "finish": trace.finish,
        "timing": {
            "tokenize_ms": trace.timing.tokenize_ms,
            "prefill_ms": trace.timing.prefill_ms,
            "ttft_ms": trace.timing.ttft_ms,
            "inter_token_ms": trace.timing.inter_token_ms,
            "tokens_per_second": trace.timing.tokens_per_second,
        },
    }
    return record if timing is None else record | {"sublayers": sublayer_record(timing)}


def _summary(trace: "Trace") -> str:
    """`12 tokens after 4 · ttft 8.1 ms · 163 tok/s · onnx`."""
    timing = trace.timing
    rate = f" · {timing.tokens_per_second:,.0f} tok/s" if timing.tokens_per_second else ""
    full = " · context full" if trace.finish == "context" else ""
    return (
        f"{len(trace.generated)} tokens after {trace.prompt_length} · ttft {timing.ttft_ms:.3g} ms"
        f"{rate} · {trace.engine}{full}"
    )
