"""Writes docs/reference/python-api.md from docstrings: `python -m edge.commands.python_api PAGE`.

It reads source text, so the page is the same whatever is installed.
"""

import ast
import re
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from inspect import cleandoc
from pathlib import Path

import edge
from edge.change import Edit

_OPENING = """# Python API

Written by `make docs` from the docstrings of `edge.__all__`. `import edge` loads no runtime: each
name is imported on first use.

Annotations give shapes. `Float32[np.ndarray, 'token past']` is a float32 array with these two [axes](sites.md#axes).
"""

_COLUMNS = 100

_OF_EDITS = {name for name in vars(Edit) if not name.startswith("_")}
"""Methods of an edit that engines call, and users do not."""

_SECTION = re.compile(r"^(Args|Attributes|Raises|Returns):$")
_ENTRY = re.compile(r"^    (\S[^:]*): (.*)$")

Named = ast.ClassDef | ast.FunctionDef


def python_api() -> str:
    """Every public name with its signature and docstring, as one Markdown page."""
    names = [name for name in edge.__all__ if not name.startswith("_")]
    contents = ", ".join(f"[`{name}`](#edge{name.lower()})" for name in names)
    return "\n".join([_OPENING, contents + ".\n", *(_section(name) for name in names)])


def _section(name: str) -> str:
    home = edge._HOMES[name]
    node, *bases = _lineage(home, name)
    parts = [f"## edge.{name}", _code(_signature(node, bases, f"edge.{name}")), _text(node)]
    if isinstance(node, ast.ClassDef):
        hidden = _OF_EDITS if home == Edit.__module__ else set()
        for method in _methods([node, *bases]):
            if method.name not in hidden:
                heading = f"{name}.{method.name}"
                parts += [f"### {heading}", _code(_signature(method, [], heading)), _text(method)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _lineage(module: str, name: str) -> list[Named]:
    """The definition of a name, and then of its base classes in the same module.

    Raises:
        LookupError: the module does not define it.
    """
    found = find_spec(module)
    if found is None or found.origin is None:
        raise LookupError(f"no source of {module}")
    tree = ast.parse(Path(found.origin).read_text(encoding="utf8"))
    known = {node.name: node for node in tree.body if isinstance(node, Named)}
    if name not in known:
        raise LookupError(f"{module} does not define {name}")
    lineage: list[Named] = [known[name]]
    for node in lineage:
        bases = node.bases if isinstance(node, ast.ClassDef) else []
        lineage += [known[base.id] for base in bases if isinstance(base, ast.Name) and base.id in known]
    return lineage


def _methods(nodes: list[Named]) -> Iterator[ast.FunctionDef]:
    """Public methods and properties with a docstring."""
    for node in nodes:
        for method in node.body:
            if isinstance(method, ast.FunctionDef) and not method.name.startswith("_") and ast.get_docstring(method):
                yield method


def _signature(node: Named, bases: list[Named], name: str) -> str:
    if isinstance(node, ast.ClassDef):
        fields = [field for one in (*reversed(bases), node) for field in _fields(one)]
        star = ["*"] if fields and "kw_only=True" in _decorators(node) else []
        return f"class {name}({', '.join(star + fields)})" if fields else f"class {name}"
    returns = ast.unparse(node.returns) if node.returns else "None"
    if "property" in _decorators(node):
        return f"{name}: {returns}"
    arguments = re.sub(r"^(self|cls)(, |$)", "", ast.unparse(node.args))
    return f"{name}({arguments}) -> {returns}"


def _decorators(node: Named) -> str:
    return " ".join(ast.unparse(decorator) for decorator in node.decorator_list)


def _fields(node: Named) -> Iterator[str]:
    """What a dataclass is constructed from; nothing for another class."""
    if isinstance(node, ast.ClassDef) and "dataclass" in _decorators(node):
        for field in node.body:
            if isinstance(field, ast.AnnAssign):
                value = ast.unparse(field.value) if field.value else ""
                default = f" = {value}" if value and not value.startswith("field(") else ""
                yield f"{ast.unparse(field.target)}: {ast.unparse(field.annotation)}{default}"


def _code(signature: str) -> str:
    """A signature; one that is long has each argument on its own line."""
    if len(signature) > _COLUMNS:
        opening, arguments, closing = _parenthesized(signature)
        signature = opening + "".join(f"\n    {argument}," for argument in arguments) + f"\n{closing}"
    return f"```python\n{signature}\n```"


def _parenthesized(signature: str) -> tuple[str, list[str], str]:
    """`f(a: int, b: list[int]) -> c` is `f(`, its arguments, and `) -> c`."""
    start = signature.index("(") + 1
    depth, arguments = 1, [""]
    for place, letter in enumerate(signature[start:], start):
        depth += (letter in "([{") - (letter in ")]}")
        if depth == 0:
            return (
                signature[:start],
                [argument.strip() for argument in arguments if argument.strip()],
                signature[place:],
            )
        if letter == "," and depth == 1:
            arguments.append("")
        else:
            arguments[-1] += letter
    raise ValueError(f"no closing parenthesis in {signature}")


def _text(node: Named) -> str:
    """A docstring as Markdown: its sections become lists."""
    written: list[str] = []
    in_section = False
    for line in cleandoc(ast.get_docstring(node) or "").splitlines():
        if section := _SECTION.match(line):
            in_section = True
            written.append(f"**{section[1]}**\n")
        elif in_section and (entry := _ENTRY.match(line)):
            written.append(f"- `{entry[1]}`: {entry[2]}")
        elif in_section and line.startswith("    "):
            written.append(f"  {line.strip()}")
        else:
            in_section = in_section and not line
            written.append(line)
    return "\n".join(written)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(python_api(), encoding="utf8")
