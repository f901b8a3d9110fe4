"""The INT8 Triton kernels compiled for GPUs that are not at hand.

Run `python tests/benchmarks/gpu_triton.py`: it prints, for each architecture, the tensor-core
instruction that the product compiles to and its shared memory, and exits 1 where one lacks it.
Turing is not among them: Triton has no INT8 products there, and `measure` takes compiled kernels.
"""

import sys

from triton import compile as compile_kernel
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from costmodels.measuring import triton_kernels

ARCHITECTURES = {80: "A100", 86: "A10", 87: "Orin", 89: "RTX 4090", 90: "H100 and H200"}
POINTERS = {"left": "*i8", "right": "*i8", "scale": "*fp32", "bias": "*fp32"}
SIZES = {"rows": "i32", "cols": "i32", "depth": "i32", "inverse": "fp32"}
STATIC = ("relu", "codes", "tile_rows", "tile_cols", "tile_depth")


def product(architecture, codes, blocks):
    """Return the compiled product with a ReLU."""
    rows, cols, depth, warps = blocks
    signature = POINTERS | {"result": "*i8" if codes else "*fp16"} | SIZES
    first = len(signature)
    values = (True, codes, rows, cols, depth)
    source = ASTSource(
        fn=triton_kernels._product,
        signature=signature | dict.fromkeys(STATIC, "constexpr"),
        constexprs={(first + i,): value for i, value in enumerate(values)},
    )
    target = GPUTarget("cuda", architecture, 32)
    return compile_kernel(source, target=target, options={"num_warps": warps})


def main():
    """Compile every variant; return the exit code."""
    missing = 0
    for architecture, device in ARCHITECTURES.items():
        for blocks in triton_kernels._BLOCKS:
            for codes in (False, True):
                built = product(architecture, codes, blocks)
                found = [name for name in ("wgmma", "mma.sync") if name in built.asm["ptx"]]
                missing += not found
                kind = "codes" if codes else "values"
                print(f"{device} {blocks} {kind}: {found} {built.metadata.shared} B shared")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
