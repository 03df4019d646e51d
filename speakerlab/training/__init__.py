"""The only PyTorch Lightning code: system, data module, callbacks, run folders."""
