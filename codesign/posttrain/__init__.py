"""Post-training quantisation of any timm model, measured: `python -m codesign.quantize`."""
