"""Export a trained network: safetensors, ONNX and a model card."""
