// tanh and the logistic function.
//
// float: x P(x^2) / Q(x^2) on [-9.02, 9.02], at an end beyond, where tanh is 1 to float's precision. The coefficients are a
// minimax fit of the relative error (2.2e-8 before rounding); with rounding tanh is within 4e-7 relative and sigmoid, taken
// from it, within 2e-7 absolute of the true value (tests/test_native.py measures both over the whole range).
// double: libm, lane by lane; it serves gradient checks.
#pragma once

#include "simd.h"

namespace tenor::TENOR_ISA {

// a / b, b from 1 to 420: what tanh divides by.
inline Vec<float> quotient(Vec<float> a, Vec<float> b) {
#if defined(__AMX_TILE__)
    // On CPUs with AMX the division takes as long as 16 products; on a Zen 4 it was the faster way; other CPUs were not measured.
    const Vec<float> rough = (Vec<float>)_mm512_maskz_rcp14_ps(-1, (__m512)b);
    return a * fma(rough, fma(-b, rough, broadcast(1.0f)), rough);  // one step of Newton's: from 14 bits to all but the last
#else
    return a / b;
#endif
}

// tanh(x), or tanh(x / 2): that scales the coefficients by powers of two, which rounds nothing.
template <bool HALF>
Vec<float> tanh_of(Vec<float> x) {
    constexpr float a = HALF ? 0.5f : 1.0f, u = a * a;
    const Vec<float> s = at_most(broadcast(81.3604f / u), x * x);
    Vec<float> p = broadcast(1.33193821e-8f * u * u * u * u * a);
    p = fma(p, s, broadcast(2.05837662e-5f * u * u * u * a));
    p = fma(p, s, broadcast(3.49405504e-3f * u * u * a));
    p = fma(p, s, broadcast(1.33797365e-1f * u * a));
    p = fma(p, s, broadcast(0.99999998f * a));
    Vec<float> q = broadcast(7.76216369e-7f * u * u * u * u);
    q = fma(q, s, broadcast(3.28312397e-4f * u * u * u));
    q = fma(q, s, broadcast(2.58711551e-2f * u * u));
    q = fma(q, s, broadcast(4.67130519e-1f * u));
    q = fma(q, s, broadcast(1.0f));
    return at_least(broadcast(-1.0f), at_most(broadcast(1.0f), quotient(x * p, q)));  // beyond the ends it is more, and near them it may round beyond 1
}

inline Vec<float> tanh(Vec<float> x) { return tanh_of<false>(x); }

inline Vec<float> sigmoid(Vec<float> x) {
    const Vec<float> half = broadcast(0.5f);
    return fma(tanh_of<true>(x), half, half);
}

inline Vec<double> tanh(Vec<double> x) {
    for (int i = 0; i < width<double>; i++) x[i] = __builtin_tanh(x[i]);
    return x;
}

inline Vec<double> sigmoid(Vec<double> x) {
    for (int i = 0; i < width<double>; i++) x[i] = 1 / (1 + __builtin_exp(-x[i]));
    return x;
}

// What a cell computes its gates with: `kept` is the share of a state that stays, all others are sigmoid and tanh.
struct Exact {
    template <class V>
    static V tanh(V x) { return TENOR_ISA::tanh(x); }
    template <class V>
    static V sigmoid(V x) { return TENOR_ISA::sigmoid(x); }
    template <class V>
    static V kept(V x) { return TENOR_ISA::sigmoid(x); }
};

#if defined(TENOR_HAS_S8)
// For reading in 8 bits, where the next step's product takes states in steps of 1/127: x P(x^2) / Q(x^2) of lower degree, fitted likewise on [-5, 5] (5e-5 absolute), and with AVX-512 a
// reciprocal of 14 bits: within 1.2e-4 of the true value, 1 or -1 from 5.01 on. What decides how long a state is kept stays exact (`kept`): near 1 such an error
// would be many times what is forgotten at a step, and grow over the text. (The LSTM of 192 in the box reads a review in 104 microseconds on a Zen 5, with exact ones in 110.)
struct Rough {
    static Vec<float> kept(Vec<float> x) { return TENOR_ISA::sigmoid(x); }
    template <bool HALF>
    static Vec<float> tanh_of(Vec<float> x) {
        constexpr float a = HALF ? 0.5f : 1.0f, u = a * a;
        const Vec<float> s = at_most(broadcast(25.0f / u), x * x);
        Vec<float> p = broadcast(6.549095377e-4f * u * u * a);
        p = fma(p, s, broadcast(1.017215946e-1f * u * a));
        p = fma(p, s, broadcast(9.998098594e-1f * a));
        Vec<float> q = broadcast(1.263878106e-2f * u * u);
        q = fma(q, s, broadcast(4.345019953e-1f * u));
        q = fma(q, s, broadcast(1.0f));
#if defined(__AVX512F__)
        const Vec<float> y = x * p * (Vec<float>)_mm512_maskz_rcp14_ps(-1, (__m512)q);
#else
        const Vec<float> y = x * p / q;  // on a Zen 3 as fast as a reciprocal of 11 bits and a step of Newton's
#endif
        return at_least(broadcast(-1.0f), at_most(broadcast(1.0f), y));
    }
    static Vec<float> tanh(Vec<float> x) { return tanh_of<false>(x); }
    static Vec<float> sigmoid(Vec<float> x) { return fma(tanh_of<true>(x), broadcast(0.5f), broadcast(0.5f)); }
};
#else
using Rough = Exact;
#endif

}  // namespace tenor::TENOR_ISA
