// Vectors of the accumulator type, as wide as the instruction set this file is compiled for.
//
// GCC's and Clang's vector extension gives + - * / and comparisons on any target (x86, AArch64). Only what it cannot say is
// written per instruction set: fused multiply-add, and the bfloat16 dot product. The file is compiled once per
// instruction set in a namespace of its own (TENOR_ISA), with -ffp-contract=off: a sum is fused where `fma` stands, so a
// row gives the same bits in whatever tile it is computed.
#pragma once

#include <cstdint>
#include <cstring>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace tenor::TENOR_ISA {

#if defined(__AVX512F__)
constexpr int BYTES = 64;
#elif defined(__AVX2__)
constexpr int BYTES = 32;
#else
constexpr int BYTES = 16;
#endif

using bf16 = uint16_t;

template <class T>
struct Vector {
    static constexpr int W = BYTES / sizeof(T);
    typedef T V __attribute__((vector_size(BYTES)));
};

template <class T>
using Vec = typename Vector<T>::V;
template <class T>
constexpr int width = Vector<T>::W;

typedef uint32_t Words __attribute__((vector_size(BYTES)));      // as many as floats
typedef uint16_t Halves __attribute__((vector_size(BYTES / 2)));  // as many as floats

template <class T>
inline Vec<T> load(const T* p) {
    Vec<T> v;
    memcpy(&v, p, BYTES);
    return v;
}
template <class T>
inline void store(T* p, Vec<T> v) {
    memcpy(p, &v, BYTES);
}
// The first n lanes; the others are 0, or stay unwritten.
template <class T>
inline Vec<T> load_part(const T* p, int n) {
    if (n >= width<T>) return load(p);
    T lanes[width<T>] = {};
    memcpy(lanes, p, n * sizeof(T));
    return load(lanes);
}
template <class T>
inline void store_part(T* p, Vec<T> v, int n) {
    if (n >= width<T>) return store(p, v);
    memcpy(p, &v, n * sizeof(T));
}
// NEARNESS 3: into the first cache level, 2: into the second.
template <int NEARNESS>
inline void fetch(const void* from, size_t bytes) {
    for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch(static_cast<const char*>(from) + i, 0, NEARNESS);
}
template <class T>
inline Vec<T> broadcast(T x) {
    return x - Vec<T>{};  // x - 0 and not x + 0: -0 stays -0
}

inline Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
#if defined(__AVX512F__)
    return (Vec<float>)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
    return (Vec<float>)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
    return a * b + c;
#endif
}
inline Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) {
#if defined(__AVX512F__)
    return (Vec<double>)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif defined(__FMA__)
    return (Vec<double>)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#else
    return a * b + c;
#endif
}

// The smaller and the greater; x where it is NaN.
template <class V>
V at_most(V limit, V x) {
#if defined(__AVX512F__)
    if constexpr (sizeof(x[0]) == 4) return (V)_mm512_maskz_min_ps(-1, (__m512)limit, (__m512)x);
#elif defined(__AVX2__)
    if constexpr (sizeof(x[0]) == 4) return (V)_mm256_min_ps((__m256)limit, (__m256)x);
#endif
    return limit < x ? limit : x;
}
template <class V>
V at_least(V limit, V x) {
#if defined(__AVX512F__)
    if constexpr (sizeof(x[0]) == 4) return (V)_mm512_maskz_max_ps(-1, (__m512)limit, (__m512)x);
#elif defined(__AVX2__)
    if constexpr (sizeof(x[0]) == 4) return (V)_mm256_max_ps((__m256)limit, (__m256)x);
#endif
    return limit > x ? limit : x;
}

// bfloat16 is the upper half of a float.
inline Vec<float> widen(Halves h) {
#if defined(__AVX512F__)
    return (Vec<float>)_mm512_maskz_slli_epi32(-1, _mm512_maskz_cvtepu16_epi32(-1, (__m256i)h), 16);  // GCC makes two halves of a __builtin_convertvector
#elif defined(__AVX2__)
    return (Vec<float>)_mm256_slli_epi32(_mm256_cvtepu16_epi32((__m128i)h), 16);
#else
    return (Vec<float>)(__builtin_convertvector(h, Words) << 16);
#endif
}

// Round to nearest, ties to even, as torch does; NaN stays NaN. (AVX512-BF16 takes denormal numbers for 0.)
inline Halves narrow(Vec<float> v) {
#if defined(__AVX512BF16__)
    return (Halves)_mm512_cvtneps_pbh((__m512)v);
#else
    Words bits = (Words)v;
    Words rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    Words nan = (bits >> 16) | 0x40u;
    return __builtin_convertvector(v == v ? rounded : nan, Halves);
#endif
}

// Two rows' elements side by side, as the dot product takes them.
inline Words pairs(const bf16* first, const bf16* second) {
    Halves a, b;
    memcpy(&a, first, sizeof a);
    memcpy(&b, second, sizeof b);
    return __builtin_convertvector(a, Words) | (__builtin_convertvector(b, Words) << 16);
}
inline void store_pairs(bf16* p, Words v) { memcpy(p, &v, BYTES); }

#if defined(__AVX512F__)
// 32 rows' 16 columns from `column` on -> 16 lines, `stride` apart, of 32 elements: a column of the rows each.
inline void turn(const bf16* const* rows, int64_t column, bf16* out, int64_t stride) {
    __m512i v[16], w[16];
    for (int i = 0; i < 16; i++) v[i] = (__m512i)pairs(rows[2 * i] + column, rows[2 * i + 1] + column);
    for (int i = 0; i < 16; i += 2) w[i] = _mm512_unpacklo_epi32(v[i], v[i + 1]), w[i + 1] = _mm512_unpackhi_epi32(v[i], v[i + 1]);
    for (int i = 0; i < 16; i += 4)
        for (int j = 0; j < 2; j++) {
            v[i + 2 * j] = _mm512_unpacklo_epi64(w[i + j], w[i + j + 2]);
            v[i + 2 * j + 1] = _mm512_unpackhi_epi64(w[i + j], w[i + j + 2]);
        }
    // v[4 a + b]: of the pairs 4 a to 4 a + 3, the columns b, b + 4, b + 8 and b + 12, a quarter each.
    for (int b = 0; b < 4; b++) {
        const __m512i low = _mm512_shuffle_i32x4(v[b], v[4 + b], 0x88), high = _mm512_shuffle_i32x4(v[8 + b], v[12 + b], 0x88);
        const __m512i low_odd = _mm512_shuffle_i32x4(v[b], v[4 + b], 0xdd), high_odd = _mm512_shuffle_i32x4(v[8 + b], v[12 + b], 0xdd);
        _mm512_storeu_si512(out + b * stride, _mm512_shuffle_i32x4(low, high, 0x88));
        _mm512_storeu_si512(out + (4 + b) * stride, _mm512_shuffle_i32x4(low_odd, high_odd, 0x88));
        _mm512_storeu_si512(out + (8 + b) * stride, _mm512_shuffle_i32x4(low, high, 0xdd));
        _mm512_storeu_si512(out + (12 + b) * stride, _mm512_shuffle_i32x4(low_odd, high_odd, 0xdd));
    }
}
#endif

// What the products read (operands), what sums are kept in, and how the two meet.
struct F32 {
    using elem = float;
    using acc = float;
    using V = Vec<float>;
    static constexpr int PAIR = 1;  // operands that one multiply takes along k
    static V load_elems(const elem* p) { return load(p); }
    static void store_elems(elem* p, V v) { store(p, v); }
    using Left = V;
    static Left left(const char* p) {
        float x;
        memcpy(&x, p, 4);
        return broadcast(x);
    }
    static V dot(V sum, Left a, const elem* b) { return fma(a, load(b), sum); }
};

struct F64 {
    using elem = double;
    using acc = double;
    using V = Vec<double>;
    static constexpr int PAIR = 1;
    static V load_elems(const elem* p) { return load(p); }
    static void store_elems(elem* p, V v) { store(p, v); }
    using Left = V;
    static Left left(const char* p) {
        double x;
        memcpy(&x, p, 8);
        return broadcast(x);
    }
    static V dot(V sum, Left a, const elem* b) { return fma(a, load(b), sum); }
};

struct BF16 {
    using elem = bf16;
    using acc = float;
    using V = Vec<float>;
    static constexpr int PAIR = 2;
    static V load_elems(const elem* p) {
        Halves h;
        memcpy(&h, p, sizeof h);
        return widen(h);
    }
    static void store_elems(elem* p, V v) {
        Halves h = narrow(v);
        memcpy(p, &h, sizeof h);
    }
#if defined(__AVX512BF16__)
    using Left = __m512i;
    static Left left(const char* p) {
        int32_t x;
        memcpy(&x, p, 4);
        return _mm512_set1_epi32(x);
    }
    static V dot(V sum, Left a, const elem* b) {
        return (V)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)_mm512_loadu_si512(b));
    }
#else
    struct Left {
        V low, high;
    };
    static Left left(const char* p) {
        uint32_t x;
        memcpy(&x, p, 4);
        Words pair = x - Words{};
        return {(V)(pair << 16), (V)(pair & 0xffff0000u)};
    }
    static V dot(V sum, const Left& a, const elem* b) {
        Words pairs;
        memcpy(&pairs, b, BYTES);
        sum = fma(a.low, (V)(pairs << 16), sum);
        return fma(a.high, (V)(pairs & 0xffff0000u), sum);
    }
#endif
};

#if defined(__AVX2__)
#define TENOR_HAS_S8
// 8-bit products for frozen weights. The left side is a state in [-1, 1] as round(127 h) + 128, so that it is unsigned as
// the instructions want it; whoever packs the weights takes the 128 off again. Sums are exact.
struct S8 {
    using elem = int8_t;
    using acc = int32_t;
    using V = Vec<int32_t>;
    static constexpr int PAIR = 4;
    // Without VNNI two products are added in 16 bits, which hold 255 times 128: two weights side by side may be 128 together. (Factors of
    // 16 bits would need no such care, and half as many are multiplied a second: 45 and 90 billion on a core of a Zen 3; of floats 44.)
#if defined(__AVX512VNNI__)
    static constexpr bool TWO_IN_16_BITS = false;
#else
    static constexpr bool TWO_IN_16_BITS = true;
#endif
    using Left = V;
    static Left left(const char* p) {
        int32_t x;
        memcpy(&x, p, 4);
        return broadcast(x);
    }
    static V dot(V sum, Left a, const elem* b) {
        const V weights = load(reinterpret_cast<const int32_t*>(b));
#if defined(__AVX512VNNI__)
        return (V)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)a, (__m512i)weights);
#elif defined(__AVX512F__)
        return sum + (V)_mm512_madd_epi16(_mm512_maddubs_epi16((__m512i)a, (__m512i)weights), _mm512_set1_epi16(1));
#else
        return sum + (V)_mm256_madd_epi16(_mm256_maddubs_epi16((__m256i)a, (__m256i)weights), _mm256_set1_epi16(1));
#endif
    }
    static void store_elems(elem* p, Vec<float> h) {  // rounds to nearest, ties to even; saturates
#if defined(__AVX512F__)
        const __m128i bytes = _mm512_maskz_cvtsepi32_epi8(-1, _mm512_maskz_cvtps_epi32(-1, (__m512)(h * 127.0f)));
#else
        const __m256i whole = _mm256_cvtps_epi32((__m256)(h * 127.0f));
        const __m128i halves = _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1)), bytes = _mm_packs_epi16(halves, halves);
#endif
        const __m128i unsigned_bytes = _mm_xor_si128(bytes, _mm_set1_epi8(char(0x80)));
        memcpy(p, &unsigned_bytes, width<float>);
    }
    static Vec<float> value(const acc* p) {
#if defined(__AVX512F__)
        return (Vec<float>)_mm512_maskz_cvtepi32_ps(-1, (__m512i)load(p));
#else
        return (Vec<float>)_mm256_cvtepi32_ps((__m256i)load(p));
#endif
    }
};
#endif

}  // namespace tenor::TENOR_ISA
