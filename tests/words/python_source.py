"""Text and names of a Python file, found by its syntax tree: docstrings, other strings, comments, identifiers."""

import ast
import io
import tokenize
from collections.abc import Container, Iterator
from itertools import groupby
from pathlib import Path

from tests.words.piece import Piece, shown, words_of

DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def pieces_of(file: Path) -> Iterator[Piece]:
    """All of a file. Of a test, its docstrings and names only: its other strings are what it expects of others."""
    text, source = file.read_text(encoding="utf8"), shown(file)
    tree, is_test = ast.parse(text), source.startswith("tests/")
    docstrings = {id(node): node for node in _docstrings(tree)}
    lines = text.splitlines()
    for node in docstrings.values():
        yield Piece(source, node.lineno, str(node.value))
    yield from _names(tree, source)
    if not is_test:
        yield from _strings(tree, source, lines, docstrings.keys())
    yield from _comments(text, source)


def _docstrings(tree: ast.Module) -> Iterator[ast.Constant]:
    """Docstrings, and strings under a constant or an attribute."""
    for node in ast.walk(tree):
        for inner in getattr(node, "body", ()) if isinstance(node, DOCUMENTED) else ():
            value = inner.value if isinstance(inner, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield value


def _strings(tree: ast.Module, source: str, lines: list[str], docstrings: Container[int]) -> Iterator[Piece]:
    """Strings that code hands on: messages, titles, labels, help, keys. A placeholder is written `{}`."""
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in docstrings or (id(node) in parts and not isinstance(node, ast.JoinedStr)):
            continue
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(one.value) if isinstance(one, ast.Constant) else "{}" for one in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        else:
            continue
        if any(letter.isalpha() for letter in text):
            covered = tuple(lines[node.lineno - 1 : node.end_lineno])
            yield Piece(source, node.lineno, text, is_brief=True, lines=covered)
            if not any(letter.isspace() for letter in text):
                yield Piece(source, node.lineno, words_of(text), kind="name", lines=covered)


def _comments(text: str, source: str) -> Iterator[Piece]:
    """Comments; those on consecutive lines are one."""
    found = [
        (token.start[0], token.string.removeprefix("#"))
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT
    ]
    for _, group in groupby(enumerate(found), lambda entry: entry[1][0] - entry[0]):
        run = [entry[1] for entry in group]
        yield Piece(source, run[0][0], "\n".join(comment for _, comment in run))


def _names(tree: ast.Module, source: str) -> Iterator[Piece]:
    """Every name that the file gives to something, once."""
    seen: dict[str, int] = {}
    for node in ast.walk(tree):
        for name in _given(node):
            seen.setdefault(name, getattr(node, "lineno", 1))
    for name, line in seen.items():
        yield Piece(source, line, words_of(name), kind="name", lines=(name,))


def _given(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        yield node.name
    elif isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
        yield node.attr
    elif isinstance(node, ast.alias) and node.asname:
        yield node.asname
