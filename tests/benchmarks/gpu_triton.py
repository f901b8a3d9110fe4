"""The INT8 Triton kernels compiled for GPUs that are not at hand.

Run `python tests/benchmarks/gpu_triton.py`: it prints, for each architecture, the tensor-core
instructions that a kernel compiles to and its shared memory, and exits 1 where a product lacks
them. Turing is not among them: Triton has no INT8 products there, and `measure` takes compiled
kernels.
"""

import sys

from triton import compile as compile_kernel
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from costmodels.measuring import triton_attention, triton_kernels, triton_rows

ARCHITECTURES = {80: "A100", 86: "A10", 87: "Orin", 89: "RTX 4090", 90: "H100 and H200"}
INSTRUCTIONS = ("wgmma", "mma.sync")
FP16 = "*fp16"


def build(kernel, architecture, types, constants, warps=4, odd=()):
    """Return a compiled kernel.

    Args:
        kernel: The Triton function.
        architecture: Compute capability, as in 90.
        types: Of its arguments, in order.
        constants: Values of its last arguments, the constexprs.
        warps: Of a program.
        odd: Places of the integers that are no multiples of 16, as all others and pointers are.
    """
    whole = [place for place, kind in enumerate(types) if kind != "fp32" and place not in odd]
    aligned = {(place,): [["tt.divisibility", 16]] for place in whole}
    kinds = [*types, *("constexpr" for _ in constants)]
    source = ASTSource(
        fn=kernel,
        signature=dict(zip(kernel.arg_names, kinds, strict=True)),
        constexprs={(len(types) + i,): value for i, value in enumerate(constants)},
        attrs=aligned,
    )
    target = GPUTarget("cuda", architecture, 32)
    return compile_kernel(source, target=target, options={"num_warps": warps})


def products(architecture):
    """Yield the products' names and kernels: values, codes, values added to scattered rows."""
    for *tile, warps in triton_kernels._BLOCKS:
        for name, result, added, index, fused in (
            ("values", FP16, FP16, "*fp32", (True, False, False, False)),
            ("codes", "*i8", "*i8", "*fp32", (True, True, False, False)),
            ("residual", FP16, FP16, "*i32", (False, False, True, True)),
        ):
            types = ["*i8", "*i8", "*fp32", "*fp32", added, index, result, *["i32"] * 4, "fp32"]
            built = build(
                triton_kernels._product, architecture, types, [*fused, *tile], warps, (7, 10)
            )
            yield f"{tile} {name}", built


def attention(architecture):
    """Yield attention of 7x7 windows and heads of 32 channels, without and with a shift."""
    for name, masked, regions in (("straight", False, FP16), ("shifted", True, "*i32")):
        types = ["*i8", FP16, regions, "*i8", "i32", "i32", "fp32", "fp32"]
        kernel, constants = triton_attention._window_attention, [masked, 49, 32, 64, 32]
        yield f"attention {name}", build(kernel, architecture, types, constants, odd=(4, 5))


def norms(architecture):
    """Yield LayerNorms: codes of gathered rows, codes, values."""
    for name, gathers, codes in (
        ("gathered codes", True, True),
        ("codes", False, True),
        ("values", False, False),
    ):
        for cols in (128, 1024, 4096):
            types = [FP16, FP16, FP16, "*i32" if gathers else FP16, "*i8" if codes else FP16]
            types += ["i32", "i32", "i32", "fp32", "fp32"]
            constants = [gathers, codes, max(1, triton_rows._TILE // cols), cols]
            built = build(triton_rows._norm_rows, architecture, types, constants, odd=(5, 7))
            yield f"LayerNorm {cols} {name}", built


def main():
    """Compile every variant; return the exit code."""
    missing = 0
    for architecture, device in ARCHITECTURES.items():
        for family in (products, attention, norms):
            for name, built in family(architecture):
                found = [one for one in INSTRUCTIONS if one in built.asm["ptx"]]
                missing += not found and family is not norms
                print(f"{device} {name}: {found} {built.metadata.shared} B shared")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
