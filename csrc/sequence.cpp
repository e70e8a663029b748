// A layer over packed rows, for one instruction set (TENOR_ISA names it; CMakeLists.txt compiles this file once for each).
//
// The passes are headers of this file alone, in a namespace without a name: what is called once is then compiled into its caller.
// Nothing of the standard library's templates is used in them: the linker could hand a copy compiled for AVX-512 to the rest.
#include "backward.h"
#include "forward.h"
#include "packing.h"
#include "reading.h"
#include "weight_gradient.h"
#include "writing.h"

namespace tenor::TENOR_ISA {
namespace {

template <class Op>
constexpr Kernels KERNELS = {
    .lanes = width<typename Op::acc>,
    .whole = TILED<Op> ? TILE_BYTES / int(sizeof(typename Op::elem)) : Op::PAIR,
    .pair = Op::PAIR,
    .elem = sizeof(typename Op::elem),
    .acc = sizeof(typename Op::acc),
    .pack_forward = Packing<Op>::pack_forward,
    .pack_backward = Packing<Op>::pack_backward,
    .pack_8 = Packing<Op>::pack_8,
    .convert = Forward<Op>::convert,
    .cell = Writing<Op>::cell_any,
    .collect = WeightGradient<Op>::collect,
    .fold = Reading<Op>::fold,
    .read = Reading<Op>::read_any,
    .forward = Forward<Op>::forward_any,
    .product = Writing<Op>::product_any,
    .backward = Backward<Op>::backward_any,
    .input_gradient = Backward<Op>::input_gradient,
    .weight_gradient = WeightGradient<Op>::weight_gradient,
};

template <Vec<float> (*F)(Vec<float>)>
void over(const float* x, float* y, int64_t count) {
    for (int64_t i = 0; i < count; i += width<float>) {
        const int n = int(least(width<float>, count - i));
        store_part(y + i, F(load_part(x + i, n)), n);
    }
}

#if defined(__AVX512BF16__)
constexpr bool MULTIPLIES_BF16 = true;
#else
constexpr bool MULTIPLIES_BF16 = false;
#endif
#if defined(TENOR_HAS_S8)
constexpr bool MULTIPLIES_S8 = true;
#else
constexpr bool MULTIPLIES_S8 = false;
#endif

#define TENOR_STRING(x) #x
#define TENOR_NAME(x) TENOR_STRING(x)

}  // namespace

extern const Isa isa;
const Isa isa = {TENOR_NAME(TENOR_ISA), {MULTIPLIES_BF16, MULTIPLIES_S8}, {&KERNELS<F32>, &KERNELS<BF16>, &KERNELS<F64>}, {over<tanh>, over<sigmoid>}};

}  // namespace tenor::TENOR_ISA
