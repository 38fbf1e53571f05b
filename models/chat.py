"""A checkpoint's chat template: turns of a conversation to the text it was trained on, in a sandbox."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from jinja2 import Template, TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment

from models.errors import CheckpointError, MisuseError
from models.tokenizer import keys_of

_TOKENS = ("bos_token", "eos_token", "unk_token", "pad_token")


@dataclass(frozen=True)
class Turn:
    """What one side says.

    Attributes:
        role: `system`, `user` or `assistant`, as templates know them.
    """

    role: str
    content: str


class _Generation(Extension):
    """Lets templates mark what the assistant says, which matters in training only."""

    tags = {"generation"}  # noqa: RUF012, the base class declares it so

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        said = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_say"), [], [], said).set_lineno(line)

    def _say(self, caller: Macro) -> str:
        return str(caller())


@dataclass(frozen=True)
class ChatTemplate:
    """A template as the checkpoint's files hold it; it comes from strangers, so it runs in jinja's sandbox.

    Attributes:
        file: Where it stands, for messages.
        tokens: The special tokens it may write, by the names that templates use.
    """

    source: str
    file: Path
    tokens: dict[str, str]

    def text_of(self, turns: Sequence[Turn]) -> str:
        """The conversation as text, up to where the assistant is to speak; special tokens are spelled out.

        Raises:
            MisuseError: the template refuses these turns, for instance a role it does not know.
            CheckpointError: the template itself is at fault.
        """
        messages = [{"role": turn.role, "content": turn.content} for turn in turns]
        try:
            return self._compiled.render(messages=messages, add_generation_prompt=True, **self.tokens)
        except _RefusedError as error:
            raise MisuseError(f"the chat template in {self.file} refuses this conversation: {error}") from error
        except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise CheckpointError(f"the chat template in {self.file} fails: {error}") from error

    @cached_property
    def _compiled(self) -> Template:
        sandbox = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
        )
        sandbox.filters["tojson"] = _json
        sandbox.globals["raise_exception"] = _refuse
        sandbox.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
        return sandbox.from_string(self.source)


class _RefusedError(TemplateError):
    """What templates raise by themselves."""


def _refuse(message: str) -> NoReturn:
    raise _RefusedError(message)


def _json(value: Any, ensure_ascii: bool = False, indent: int | None = None, **options: Any) -> str:
    """JSON as it is: jinja's own filter escapes for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)


def open_chat_template(folder: Path) -> ChatTemplate | None:
    """The chat template of a checkpoint folder: a file of its own, or a key of `tokenizer_config.json`."""
    config = keys_of(folder / "tokenizer_config.json")
    tokens = {name: spelled for name in _TOKENS if (spelled := _spelled(config.get(name))) is not None}
    for file, source in (
        (folder / "chat_template.jinja", _text(folder / "chat_template.jinja")),
        (folder / "chat_template.json", keys_of(folder / "chat_template.json").get("chat_template")),
        (folder / "tokenizer_config.json", config.get("chat_template")),
    ):
        if (found := _default_of(source)) is not None:
            return ChatTemplate(found, file, tokens)
    return None


def _text(file: Path) -> str | None:
    return file.read_text(encoding="utf8") if file.is_file() else None


def _spelled(token: object) -> str | None:
    """A special token as its text, whether it is written as that or as a table with its content."""
    content = token.get("content") if isinstance(token, dict) else token
    return content if isinstance(content, str) else None


def _default_of(source: object) -> str | None:
    """The template itself; of several, that which is called `default`."""
    if isinstance(source, list):
        named = {item.get("name"): item.get("template") for item in source if isinstance(item, dict)}
        source = named.get("default")
    return source if isinstance(source, str) else None
