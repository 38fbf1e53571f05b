"""A process that may open no socket: the kernel ends it with SIGSYS at the first one it asks for.

Run as `python -m tests.offline CODE ARGUMENT ...`; needs Linux on x86-64 or aarch64, and no rights.
"""

import ctypes
import platform
import struct
import sys

_SOCKET = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
"""The kernel's number of the architecture, and that of the system call `socket`, by machine."""

_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _END_THE_PROCESS = 0x7FFF0000, 0x80000000
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _MODE_FILTER = 22, 38, 2
_CALL_AT, _ARCHITECTURE_AT = 0, 4
"""Where `struct seccomp_data` has the number of the call and that of the architecture."""


def can_forbid_sockets() -> bool:
    """Whether this machine's kernel can be asked to."""
    return sys.platform == "linux" and platform.machine() in _SOCKET


def forbid_sockets() -> None:
    """From now on a call of `socket`, from any thread of this process or its children, ends it with SIGSYS."""
    architecture, socket = _SOCKET[platform.machine()]
    program = b"".join(
        struct.pack("HBBI", *step)
        for step in (
            (_LOAD, 0, 0, _ARCHITECTURE_AT),
            (_JUMP_IF_EQUAL, 0, 2, architecture),
            (_LOAD, 0, 0, _CALL_AT),
            (_JUMP_IF_EQUAL, 1, 0, socket),
            (_RETURN, 0, 0, _ALLOW),
            (_RETURN, 0, 0, _END_THE_PROCESS),
        )
    )
    held = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(held)))
    libc = ctypes.CDLL(None, use_errno=True)
    for call in ((_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (_PR_SET_SECCOMP, _MODE_FILTER, header, 0, 0)):
        if libc.prctl(*call):
            raise OSError(ctypes.get_errno(), "the kernel takes no filter of system calls")


if __name__ == "__main__":
    forbid_sockets()
    code, sys.argv = sys.argv[1], sys.argv[1:]
    exec(compile(code, "offline", "exec"), {"__name__": "__main__"})
