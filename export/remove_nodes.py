"""Graphs without some of their sublayers, cut out of the bytes of an ONNX file: nothing but this module reads them.

An ONNX file is a protobuf message (onnx.proto3, protobuf's wire format). Only nodes, their names and the names of
values are looked at, so neither `onnx` nor what a model was exported with is needed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from models.errors import EdgeError

_GRAPH = 7
_NODE, _INITIALIZER, _OUTPUT, _VALUE = 1, 5, 12, 13
_INPUTS, _OUTPUTS, _NAME, _KIND = 1, 2, 3, 4
_INITIALIZER_NAME, _VALUE_NAME = 8, 1
_BYTES = 2
"""Field numbers of ModelProto, GraphProto, NodeProto, TensorProto and ValueInfoProto; and a wire type."""

Field = tuple[int, bytes, bytes]
"""Number, the whole field as it stands, and what it holds; nothing where it is no bytes."""


@dataclass(frozen=True)
class ReducedGraph:
    """A graph without some nodes.

    Attributes:
        model: As an ONNX file holds it.
        initializers: Names of those that are still read.
    """

    model: bytes
    initializers: frozenset[str]


def remove_nodes(model: bytes, is_cut: Callable[[str], bool]) -> ReducedGraph:
    """A graph without the nodes whose names `is_cut` picks: sublayers that add nothing to the residual stream.

    Raises:
        EdgeError: what is cut out does not end in additions to a value from outside.
    """
    parts = list(_fields(model))
    graph = next(held for number, _, held in parts if number == _GRAPH)
    fields = list(_fields(graph))
    nodes = [_Node(held) for number, _, held in fields if number == _NODE]
    cut = [node for node in nodes if is_cut(node.name)]
    inside = {value for node in cut for value in node.outputs}
    stands_for = _residuals(cut, inside, {value for node in nodes for value in node.outputs})
    kept = [node.renamed(stands_for) for node in nodes if not is_cut(node.name)]
    lost = [value for node in kept for value in node.inputs if value in inside]
    if lost:
        raise EdgeError(f"a graph cannot be cut: '{lost[0]}' is used outside the sublayer that computes it")
    read = frozenset(value for node in kept for value in node.inputs)
    written = b"".join(_kept_field(field, inside, read) for field in fields if field[0] != _NODE)
    body = b"".join(_held(_NODE, node.held) for node in kept) + written
    others = b"".join(whole for number, whole, _ in parts if number != _GRAPH)
    return ReducedGraph(others + _held(_GRAPH, body), read)


def _residuals(cut: list["_Node"], inside: set[str], made: set[str]) -> dict[str, str]:
    """What each sum of a cut sublayer adds to: a value that a node outside makes, or another such sum."""
    stands_for: dict[str, str] = {}
    for node in cut:
        added_to = [one for one in node.inputs if one in stands_for or (one in made and one not in inside)]
        if node.kind == "Add" and added_to:
            stands_for[node.outputs[0]] = added_to[0]
    return stands_for


def _kept_field(field: Field, inside: set[str], read: frozenset[str]) -> bytes:
    """A field of the graph, or nothing where it is of what was cut out."""
    number, whole, held = field
    if number == _VALUE:
        return b""
    if number == _INITIALIZER and _text(held, _INITIALIZER_NAME) not in read:
        return b""
    return b"" if number == _OUTPUT and _text(held, _VALUE_NAME) in inside else whole


class _Node:
    """One node, as it stands in the file."""

    def __init__(self, held: bytes) -> None:
        self.held = held
        fields = list(_fields(held))
        self.inputs, self.outputs = (
            [value.decode() for number, _, value in fields if number == which] for which in (_INPUTS, _OUTPUTS)
        )
        self.name, self.kind = _text(held, _NAME), _text(held, _KIND)

    def renamed(self, stands_for: dict[str, str]) -> "_Node":
        """The same, reading other values."""
        if not stands_for.keys() & set(self.inputs):
            return self
        written = b""
        for number, whole, value in _fields(self.held):
            name = value.decode() if number == _INPUTS else ""
            while name in stands_for:
                name = stands_for[name]
            written += _held(_INPUTS, name.encode()) if number == _INPUTS else whole
        return _Node(written)


def _text(message: bytes, number: int) -> str:
    """A field of text; empty where there is none."""
    return next((held.decode() for found, _, held in _fields(message) if found == number), "")


def _fields(message: bytes) -> Iterator[Field]:
    """The fields of a message in their order."""
    at = 0
    while at < len(message):
        start = at
        key, at = _number(message, at)
        number, kind = key >> 3, key & 7
        held = b""
        if kind == _BYTES:
            size, at = _number(message, at)
            held, at = message[at : at + size], at + size
        elif kind == 0:
            _, at = _number(message, at)
        else:
            at += 8 if kind == 1 else 4
        yield number, message[start:at], held


def _number(message: bytes, at: int) -> tuple[int, int]:
    """A varint, and where it ends: 7 bits a byte, the least first."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _held(number: int, held: bytes) -> bytes:
    """A field that holds bytes."""
    return _varint(number << 3 | _BYTES) + _varint(len(held)) + held


def _varint(value: int) -> bytes:
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*written, value])
