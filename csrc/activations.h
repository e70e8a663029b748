// tanh and the logistic function.
//
// float: x P(x^2) / Q(x^2) on [-9.02, 9.02], constant beyond, where tanh is 1 to float's precision. The coefficients are a
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

inline Vec<float> tanh(Vec<float> x) {
    const float most = 9.02f;
    x = at_least(-most, at_most(most, x));
    Vec<float> s = x * x;
    Vec<float> p = broadcast(1.33193821e-8f);
    p = fma(p, s, broadcast(2.05837662e-5f));
    p = fma(p, s, broadcast(3.49405504e-3f));
    p = fma(p, s, broadcast(1.33797365e-1f));
    p = fma(p, s, broadcast(0.99999998f));
    Vec<float> q = broadcast(7.76216369e-7f);
    q = fma(q, s, broadcast(3.28312397e-4f));
    q = fma(q, s, broadcast(2.58711551e-2f));
    q = fma(q, s, broadcast(4.67130519e-1f));
    q = fma(q, s, broadcast(1.0f));
    return at_least(-1.0f, at_most(1.0f, quotient(x * p, q)));  // near the ends it may round beyond 1
}

inline Vec<float> sigmoid(Vec<float> x) {
    const Vec<float> half = broadcast(0.5f);
    return fma(tanh(x * half), half, half);
}

inline Vec<double> tanh(Vec<double> x) {
    for (int i = 0; i < width<double>; i++) x[i] = __builtin_tanh(x[i]);
    return x;
}

inline Vec<double> sigmoid(Vec<double> x) {
    for (int i = 0; i < width<double>; i++) x[i] = 1 / (1 + __builtin_exp(-x[i]));
    return x;
}

}  // namespace tenor::TENOR_ISA
