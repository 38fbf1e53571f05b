"""Chat templates: formats a conversation as the text that the model was trained on. Runs in a sandbox."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from traceback import walk_tb
from typing import Any, NoReturn

from jinja2 import Template, TemplateError, TemplateSyntaxError, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from models.errors import CheckpointError, EdgeError, MisuseError
from models.special_tokens import keys_of
from models.template_limit import TEMPLATE, limit_lines

_DEFAULT = "default"
"""Name of the template that is used by default."""

_LONGEST = 300
"""Maximum characters of a template's own error message."""

_PLACEHOLDER = "Zanzibar"
"""Assistant text used to find the end-of-turn token. Templates that strip spaces do not change it."""


@dataclass(frozen=True)
class Turn:
    """One message of a conversation.

    Attributes:
        role: `system`, `user` or `assistant`, as templates expect.
    """

    role: str
    content: str


@dataclass(frozen=True)
class ChatTemplate:
    """A chat template of a checkpoint. It is untrusted code, so it runs in jinja's sandbox.

    Attributes:
        file: Its file, for error messages.
        tokens: Special tokens by the names that templates use.
    """

    source: str
    file: Path
    tokens: Mapping[str, str]

    def text_of(self, turns: Sequence[Turn], *, add_generation_prompt: bool = True) -> str:
        """The conversation as text, including special tokens.

        Args:
            add_generation_prompt: End at the start of the assistant's turn.

        Raises:
            MisuseError: the template rejects these turns, for example because of an unknown role.
            CheckpointError: the template has an error.
        """
        messages = [{"role": turn.role, "content": turn.content} for turn in turns]
        given = {"messages": messages, "tools": None, "documents": None, "add_generation_prompt": add_generation_prompt}
        try:
            template = self._compiled
            with limit_lines():
                return template.render({**self.tokens, **given})
        except _RefusedError as error:
            raise MisuseError(
                f"the chat template in {self.file} rejects this conversation: {_line(error.message)}"
            ) from error
        except Exception as error:
            raise CheckpointError(f"the chat template in {self.file} fails{_reason(error)}") from error

    def end_of_turn(self, tokens: Iterable[str]) -> str | None:
        """The token among `tokens` that the template writes directly after the assistant's text, if there is one."""
        start = [Turn("user", "Hello"), Turn("assistant", _PLACEHOLDER)]
        longest_first = sorted(filter(None, tokens), key=len, reverse=True)
        for turns in (start, [*start, Turn("user", "Hello")]):  # some write an end only before another turn
            try:
                _, placeholder, after = self.text_of(turns, add_generation_prompt=False).rpartition(_PLACEHOLDER)
            except EdgeError:
                continue
            end = next((token for token in longest_first if after.lstrip().startswith(token)), None)
            if placeholder and end is not None:
                return end
        return None

    @cached_property
    def _compiled(self) -> Template:
        sandbox = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
        )
        sandbox.filters["tojson"] = _json
        sandbox.globals |= {
            "raise_exception": _refuse,
            "strftime_now": lambda form: datetime.now().strftime(form),
            "dict": _Dict(),
            "namespace": _Namespace,
        }
        return sandbox.from_string(self.source)


class _Generation(Extension):
    """Accepts the `generation` tag, which marks assistant text for training, and ignores it."""

    tags = {"generation"}  # noqa: RUF012, the base class declares it so

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_render"), [], [], body).set_lineno(line)

    def _render(self, caller: Macro) -> str:
        return str(caller())


class _Dict:
    """The `dict` that templates may use."""

    def __call__(self, *args: Any, **keys: Any) -> dict[Any, Any]:
        return dict(*args, **keys)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args)


class _Namespace(Namespace):
    """A namespace that rejects private names, as transformers does."""

    def __init__(*args: Any, **keys: Any) -> None:
        own, *given = args
        names = dict(*given, **keys)
        for name in names:
            _check_public(name)
        Namespace.__init__(own, names)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_public(name)
        super().__setitem__(name, value)


def _check_public(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"a namespace cannot have the name {name!r}: names that begin with _ are private")


class _RefusedError(TemplateError):
    """Raised by `raise_exception` in a template."""


def _refuse(message: object) -> NoReturn:
    raise _RefusedError(str(message))


def _json(
    value: Any, ensure_ascii: Any = False, indent: Any = None, separators: Any = None, sort_keys: Any = False
) -> str:
    """JSON without the HTML escapes of jinja's own filter."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _reason(error: Exception) -> str:
    """The reason and, if known, the line of an error: ` in line 3: ...`."""
    lines = [line for frame, line in walk_tb(error.__traceback__) if frame.f_code.co_filename == TEMPLATE]
    if isinstance(error, TemplateSyntaxError):
        lines.append(error.lineno)
    where = f" in line {lines[-1]}" if lines else ""
    if isinstance(error, TemplateError):
        return f"{where}: {_line(error.message)}"
    return f"{where}: {_line(f'{type(error).__name__}: {error}')}"


def _line(message: str | None) -> str:
    line = " ".join((message or "it gives no reason").split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def open_chat_template(folder: Path, tokens: Mapping[str, str]) -> ChatTemplate | None:
    """The chat template of a checkpoint folder: a template file, or a key of `tokenizer_config.json`.

    `chat_template.json` belongs to a processor, so it is read last.

    Args:
        tokens: Special tokens by the names that templates use.

    Raises:
        CheckpointError: a file cannot be read, or none of several templates is the default.
    """
    for named in (_files(folder), *(_keys(folder / name) for name in ("tokenizer_config.json", "chat_template.json"))):
        if named and _DEFAULT not in named:
            names = ", ".join(sorted(named))
            raise CheckpointError(
                f"{folder} has chat templates named {names}, and none named '{_DEFAULT}'; "
                f"copy the one to use to {folder / 'chat_template.jinja'}"
            )
        if named:
            source, file = named[_DEFAULT]
            return ChatTemplate(source, file, tokens)
    return None


def _files(folder: Path) -> dict[str, tuple[str, Path]]:
    """Templates by name, each with its file."""
    main, more = folder / "chat_template.jinja", sorted((folder / "additional_chat_templates").glob("*.jinja"))
    files = {_DEFAULT: main} | {file.name.removesuffix(".jinja"): file for file in more}
    return {name: (_read(file), file) for name, file in files.items() if file.is_file()}


def _keys(file: Path) -> dict[str, tuple[str, Path]]:
    source = keys_of(file).get("chat_template")
    if isinstance(source, list):
        source = {str(item.get("name")): item.get("template") for item in source if isinstance(item, dict)}
    named = source if isinstance(source, dict) else {_DEFAULT: source}
    return {str(name): (text, file) for name, text in named.items() if isinstance(text, str)}


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf8")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{file} is not UTF-8 text (byte {error.start} is not); save it as UTF-8") from error
