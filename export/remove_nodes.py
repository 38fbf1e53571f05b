"""Graphs without some of their sublayers, by editing the bytes of an ONNX file.

An ONNX file is a protobuf message (onnx.proto3, protobuf's wire format). Only nodes, their names and the names of
values are read, so the packages `onnx` and torch are not needed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from models.errors import EdgeError

_GRAPH = 7
_NODE, _INITIALIZER, _INPUT, _OUTPUT, _VALUE = 1, 5, 11, 12, 13
_INPUTS, _OUTPUTS, _NAME, _KIND, _ATTRIBUTE = 1, 2, 3, 4, 5
_BODIES = (6, 11)
_INITIALIZER_NAME, _VALUE_NAME = 8, 1
_BYTES = 2
"""Field numbers of ModelProto, GraphProto, NodeProto, AttributeProto (its graphs), TensorProto and ValueInfoProto; and
a wire type."""

Field = tuple[int, bytes, bytes]
"""Number, bytes of the whole field, and its content; the content is empty for other wire types than bytes."""


@dataclass(frozen=True)
class ReducedGraph:
    """A graph without some nodes.

    Attributes:
        model: The bytes of the ONNX file.
        initializers: Names of the initializers and values that the remaining nodes read.
    """

    model: bytes
    initializers: frozenset[str]


def remove_nodes(model: bytes, is_removed: Callable[[str], bool]) -> ReducedGraph:
    """Removes the nodes whose names `is_removed` accepts: sublayers, which then add nothing to the residual stream.

    Raises:
        EdgeError: the removed nodes do not end in additions to a value of another node.
    """
    parts = list(_fields(model))
    graph = next(content for number, _, content in parts if number == _GRAPH)
    fields = list(_fields(graph))
    nodes = [_Node(content) for number, _, content in fields if number == _NODE]
    removed = [node for node in nodes if is_removed(node.name)]
    inside = {value for node in removed for value in node.outputs}
    replacements = _residuals(removed, inside, {value for node in nodes for value in node.outputs})
    kept = [node.renamed(replacements) for node in nodes if not is_removed(node.name)]
    lost = [value for node in kept for value in node.reads if value in inside]
    if lost:
        raise EdgeError(f"nodes cannot be removed: '{lost[0]}' is used outside the sublayer that computes it")
    read = frozenset(value for node in kept for value in node.reads)
    written = b"".join(_kept_field(field, inside, read) for field in fields if field[0] != _NODE)
    body = b"".join(_bytes_field(_NODE, node.content) for node in kept) + written
    others = b"".join(whole for number, whole, _ in parts if number != _GRAPH)
    return ReducedGraph(others + _bytes_field(_GRAPH, body), read)


def _residuals(removed: list["_Node"], inside: set[str], produced: set[str]) -> dict[str, str]:
    """For each sum of a removed sublayer, the value it adds to: one of another node, or another such sum."""
    replacements: dict[str, str] = {}
    for node in removed:
        added_to = [one for one in node.inputs if one in replacements or (one in produced and one not in inside)]
        if node.kind == "Add" and added_to:
            replacements[node.outputs[0]] = added_to[0]
    return replacements


def _kept_field(field: Field, inside: set[str], read: frozenset[str]) -> bytes:
    """The bytes of a graph field; empty if it belongs to removed nodes."""
    number, whole, content = field
    if number == _VALUE:
        return b""
    if number == _INITIALIZER and _text(content, _INITIALIZER_NAME) not in read:
        return b""
    return b"" if number == _OUTPUT and _text(content, _VALUE_NAME) in inside else whole


class _Node:
    """One node of the file.

    Attributes:
        reads: Its inputs, and the values that graphs inside it, such as the body of a loop, read from outside.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        fields = list(_fields(content))
        self.inputs, self.outputs = (
            [value.decode() for number, _, value in fields if number == which] for which in (_INPUTS, _OUTPUTS)
        )
        self.name, self.kind = _text(content, _NAME), _text(content, _KIND)
        attributes = [value for number, _, value in _fields(content) if number == _ATTRIBUTE]
        bodies = [body for one in attributes for number, _, body in _fields(one) if number in _BODIES]
        self.reads = [*self.inputs, *(value for body in bodies for value in _captured(body))]

    def renamed(self, replacements: dict[str, str]) -> "_Node":
        """The same node with renamed inputs, in graphs inside it too."""
        if not replacements.keys() & set(self.reads):
            return self

        def in_node(number: int, content: bytes) -> bytes | None:
            if number == _ATTRIBUTE:
                return _rewritten(content, in_attribute)
            return _replaced(content.decode(), replacements).encode() if number == _INPUTS else None

        def in_attribute(number: int, content: bytes) -> bytes | None:
            return _rewritten(content, in_body) if number in _BODIES else None

        def in_body(number: int, content: bytes) -> bytes | None:
            return _Node(content).renamed(replacements).content if number == _NODE else None

        return _Node(_rewritten(self.content, in_node))


def _replaced(name: str, replacements: dict[str, str]) -> str:
    while name in replacements:
        name = replacements[name]
    return name


def _captured(graph: bytes) -> list[str]:
    """The values that a graph inside a node reads from the graph around it."""
    fields = list(_fields(graph))
    nodes = [_Node(content) for number, _, content in fields if number == _NODE]
    names = {_INPUT: _VALUE_NAME, _INITIALIZER: _INITIALIZER_NAME}
    own = {_text(content, names[number]) for number, _, content in fields if number in names}
    own |= {value for node in nodes for value in node.outputs}
    return [value for node in nodes for value in node.reads if value and value not in own]


def _rewritten(message: bytes, rewrite: Callable[[int, bytes], bytes | None]) -> bytes:
    """A message whose fields of bytes have the content that `rewrite` returns; None leaves a field as it is."""
    written = b""
    for number, whole, content in _fields(message):
        new = rewrite(number, content)
        written += whole if new is None else _bytes_field(number, new)
    return written


def _text(message: bytes, number: int) -> str:
    """A string field; empty if there is none."""
    return next((content.decode() for other, _, content in _fields(message) if other == number), "")


def _fields(message: bytes) -> Iterator[Field]:
    """The fields of a message in order."""
    at = 0
    while at < len(message):
        start = at
        key, at = _number(message, at)
        number, kind = key >> 3, key & 7
        content = b""
        if kind == _BYTES:
            size, at = _number(message, at)
            content, at = message[at : at + size], at + size
        elif kind == 0:
            _, at = _number(message, at)
        else:
            at += 8 if kind == 1 else 4
        yield number, message[start:at], content


def _number(message: bytes, at: int) -> tuple[int, int]:
    """Reads a varint (7 bits per byte, least significant first); returns it and the position after it."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _bytes_field(number: int, content: bytes) -> bytes:
    """Encodes a field of bytes."""
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*written, value])
