// Intel's AMX: eight tile registers of up to 16 rows of 64 bytes, and an instruction that multiplies two of them.
//
// In a product C += A B, tiles 0 to 3 hold C (16 columns each), 4 and 5 rows of A, 6 and 7 sixteen lines of a panel (matmul.h),
// which lie as the instruction wants them. Two heights of tiles are in use at a time, so that any number of rows is cut into
// nearly equal tiles without shaping the registers anew: that takes as long as 10 products (44 ns on a Xeon of 2023).
// A row's sums are taken in the same order whatever tile it is in: 32 ks (64 of 8 bits) at a time, as the instruction takes them,
// which is another order than AVX512-BF16's. Denormal operands count as 0 for both.
#pragma once

#include "sanitizer.h"
#include "simd.h"

namespace tenor::TENOR_ISA {

constexpr int TILE_ROWS = 16, TILE_BYTES = 64;

template <class Op>
constexpr bool TILED = false;

// How rows are cut into tiles: `tiles[0]` of them of height[0], `tiles[1]` of height[1], in turn as long as there are both.
template <class Op>
struct Cut {
    int rows;
    explicit Cut(int64_t count) : rows(int(count)) {}
    void cover(int64_t count) { rows = int(count); }
};

// One product of a sum of products: `whole` tiles along k of rows of A, `stride` bytes apart, times a panel's tiles.
struct Term {
    int64_t whole;
    const char* a;
    int64_t stride;
    const char* panel;
};

// Where the sums go, and what they begin with: rows `stride` elements apart, a panel's vector v at at[v].
template <class acc>
struct Sums {
    acc* to;
    int64_t stride;
    const int* at;
    const acc* from;
    int64_t from_stride;  // 0: every row begins with the same
    const int* from_at;
};

#if defined(__AMX_TILE__)
template <>
constexpr bool TILED<BF16> = true;
template <>
constexpr bool TILED<S8> = true;

struct TileCut {
    int rows = 0, height[2] = {}, tiles[2] = {};

    TileCut(const TileCut&) = delete;
    TileCut& operator=(const TileCut&) = delete;
    // Shapes this thread's registers. Another cut, or another library's use of them, ends it.
    explicit TileCut(int64_t count) { cover(count); }
    // Another number of rows, where it is another.
    void cover(int64_t count) {
        if (rows == count) return;
        rows = int(count);
        if (!rows) return;
        const int all = (rows + TILE_ROWS - 1) / TILE_ROWS, low = rows / all, higher = rows % all;
        height[0] = low + (higher > 0), height[1] = low;
        tiles[0] = higher ? higher : all / 2, tiles[1] = all - tiles[0];
        struct {
            uint8_t palette = 1, start = 0, none[14] = {};
            uint16_t bytes[16] = {};
            uint8_t rows[16] = {};
        } shape;
        for (int tile = 0; tile < 8; tile++) shape.bytes[tile] = TILE_BYTES, shape.rows[tile] = TILE_ROWS;
        for (int tile = 0; tile < 6; tile++) shape.rows[tile] = uint8_t(height[tile < 4 ? tile / 2 : tile - 4]);
        __asm__ volatile("ldtilecfg %0" ::"m"(shape));  // GCC before 12.4 takes _tile_loadconfig to read 8 bytes, and may drop the others (its bug 114098)
    }
};
template <>
struct Cut<BF16> : TileCut {
    using TileCut::TileCut;
};
template <>
struct Cut<S8> : TileCut {
    using TileCut::TileCut;
};

// Gives the registers back after a thread's last product, so that the system need not save them.
template <class Op>
struct TilesInUse {
    ~TilesInUse() {
        if constexpr (TILED<Op>) _tile_release();
    }
};

// Inline assembly is hidden from AddressSanitizer: it is shown both ends of each row of a tile.
inline void shown_to_sanitizer([[maybe_unused]] const void* from, [[maybe_unused]] int64_t stride, [[maybe_unused]] int rows) {
#if defined(TENOR_SANITIZED)
    for (int r = 0; r < rows; r++)
        for (int end = 0; end < TILE_BYTES; end += TILE_BYTES - 1) (void)*(static_cast<const volatile char*>(from) + r * stride + end);
#endif
}

// Tiles of one height (SIDE 0 or 1) or of both, one below the other (SIDE 2), by one or two of a panel's vectors from v on.
// row: the first of either height.
template <class Op, int SIDE, int V>
void tile_product(const Term* terms, int count, int v, const TileCut& cut, const int64_t* row, const Sums<typename Op::acc>& sums) {
    using acc = typename Op::acc;
    constexpr bool FIRST = SIDE != 1, SECOND = SIDE != 0, WIDE = V == 2;
    const auto from = [&](int side, int i) { return sums.from + row[side] * sums.from_stride + sums.from_at[v + i]; };
    const auto to = [&](int side, int i) { return sums.to + row[side] * sums.stride + sums.at[v + i]; };
    const int64_t from_bytes = sums.from_stride * int64_t(sizeof(acc)), to_bytes = sums.stride * int64_t(sizeof(acc));
    for (int side = !FIRST; side <= SECOND; side++)
        for (int i = 0; i < V; i++) shown_to_sanitizer(from(side, i), from_bytes, cut.height[side]), shown_to_sanitizer(to(side, i), to_bytes, cut.height[side]);
    if constexpr (FIRST) _tile_loadd(0, from(0, 0), from_bytes);
    if constexpr (FIRST && WIDE) _tile_loadd(1, from(0, 1), from_bytes);
    if constexpr (SECOND) _tile_loadd(2, from(1, 0), from_bytes);
    if constexpr (SECOND && WIDE) _tile_loadd(3, from(1, 1), from_bytes);
#define TENOR_TIMES(sum, left, right)     \
    if constexpr (Op::PAIR == 2)          \
        _tile_dpbf16ps(sum, left, right); \
    else                                  \
        _tile_dpbusd(sum, left, right)
    for (const Term* term = terms; term < terms + count; term++) {
        const char *a = term->a + row[0] * term->stride, *second = SECOND ? term->a + row[1] * term->stride : nullptr;
        const int64_t stride = term->stride, panel = term->whole * TILE_ROWS * TILE_BYTES;
        const char* b = term->panel + v * panel;
        for (int64_t k = 0; k < term->whole; k++, a += TILE_BYTES, second += SECOND ? TILE_BYTES : 0, b += TILE_ROWS * TILE_BYTES) {
            if (FIRST) shown_to_sanitizer(a, stride, cut.height[0]);
            if (SECOND) shown_to_sanitizer(second, stride, cut.height[1]);
            shown_to_sanitizer(b, TILE_BYTES, TILE_ROWS);
            if constexpr (FIRST) _tile_loadd(4, a, stride);
            _tile_loadd(6, b, TILE_BYTES);
            if constexpr (FIRST) { TENOR_TIMES(0, 4, 6); }
            if constexpr (SECOND) {
                _tile_loadd(5, second, stride);
                TENOR_TIMES(2, 5, 6);
            }
            if constexpr (WIDE) {
                _tile_loadd(7, b + panel, TILE_BYTES);
                if constexpr (FIRST) { TENOR_TIMES(1, 4, 7); }
                if constexpr (SECOND) { TENOR_TIMES(3, 5, 7); }
            }
        }
    }
#undef TENOR_TIMES
    if constexpr (FIRST) _tile_stored(0, to(0, 0), to_bytes);
    if constexpr (FIRST && WIDE) _tile_stored(1, to(0, 1), to_bytes);
    if constexpr (SECOND) _tile_stored(2, to(1, 0), to_bytes);
    if constexpr (SECOND && WIDE) _tile_stored(3, to(1, 1), to_bytes);
}

// The sum of up to two products with a panel each, for `vectors` of the panels' vectors from first_vector on.
template <class Op>
void multiply_tiles(const Term* terms, int term_count, int vectors, const TileCut& cut, const Sums<typename Op::acc>& sums, int first_vector = 0) {
    __asm__ volatile("" ::: "memory");  // the compiler does not know that tiles are loaded from memory
    for (int v = first_vector; v < first_vector + vectors; v += 2) {
        const bool two = v + 1 < first_vector + vectors;
        int64_t at = 0;
        for (int left[2] = {cut.tiles[0], cut.tiles[1]}; left[0] || left[1];) {
            const bool first = left[0], second = left[1];
            const int64_t row[2] = {at, at + (first ? cut.height[0] : 0)};
            if (first && second)
                (two ? tile_product<Op, 2, 2> : tile_product<Op, 2, 1>)(terms, term_count, v, cut, row, sums);
            else if (first)
                (two ? tile_product<Op, 0, 2> : tile_product<Op, 0, 1>)(terms, term_count, v, cut, row, sums);
            else
                (two ? tile_product<Op, 1, 2> : tile_product<Op, 1, 1>)(terms, term_count, v, cut, row, sums);
            at = row[1] + (second ? cut.height[1] : 0);
            left[0] -= first, left[1] -= second;
        }
    }
}
#else
template <class Op>
struct TilesInUse {};
#endif

}  // namespace tenor::TENOR_ISA
