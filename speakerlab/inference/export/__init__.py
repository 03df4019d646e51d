"""Trained models as files that other programs run: ONNX, `torch.export`, and a folder that says all of itself."""
