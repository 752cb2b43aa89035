"""Codes a GGUF file anew with llama.cpp's own quantiser."""

import ctypes
import os
import sys

import llama_cpp as ll

CODINGS = {"Q4_K_M": ll.LLAMA_FTYPE_MOSTLY_Q4_K_M, "Q8_0": ll.LLAMA_FTYPE_MOSTLY_Q8_0}


def quantise(source, target, coding):
    """Writes TARGET whole or not at all."""
    params = ll.llama_model_quantize_default_params()
    params.ftype = CODINGS[coding]
    params.allow_requantize = True
    partial = f"{target}.partial"
    if ll.llama_model_quantize(source.encode(), partial.encode(), ctypes.byref(params)) != 0:
        sys.exit(f"llama.cpp cannot code {source} as {coding}")
    os.replace(partial, target)
