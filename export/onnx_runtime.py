"""Imports ONNX Runtime with telemetry disabled. All other modules import it from here."""

import os

# Read once, at import. Without it, version 1.32 contacts a server ten seconds after a session opens, and writes an id
# of this machine to the temporary folder.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort

__all__ = ["ort"]
