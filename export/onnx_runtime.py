"""ONNX Runtime with its telemetry off. Everything else that needs it imports it from here."""

import os

# Read once, while it is imported. Without it, version 1.32 looks up a host of its maker ten seconds after a session
# opens, and writes an id of this machine to the temporary folder.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort

__all__ = ["ort"]
