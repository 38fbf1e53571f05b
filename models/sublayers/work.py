"""Work of one part of a pass: bytes read and written, and operations of matrix products."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Work:
    """Work of one part in one pass.

    Attributes:
        touched_bytes: Bytes read and written.
        flops: Multiplications and additions in matrix products.
    """

    touched_bytes: float
    flops: float

    def __add__(self, other: "Work") -> "Work":
        return Work(self.touched_bytes + other.touched_bytes, self.flops + other.flops)


NOTHING = Work(0.0, 0.0)
