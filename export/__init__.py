"""The torch decoder as ONNX graphs."""
