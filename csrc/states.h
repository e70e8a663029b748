// What the passes have in common: a layer's states in and out, and where a row's sums stand.
#pragma once

#include "kernels.h"
#include "packing.h"
#include "scratch.h"

namespace tenor::TENOR_ISA {
namespace {

// [count, hidden] of the user's -> [count, hp], or zeros.
template <class acc>
void read_state(const Layer& l, const void* from, int64_t place, int64_t count, acc* to) {
    constexpr int W = width<acc>;
    for (int64_t r = 0; r < count; r++)
        for (int64_t j = 0; j < l.hp; j += W)
            store(to + r * l.hp + j, from ? load_part(static_cast<const acc*>(from) + (place + r) * l.hidden + j, int(least(W, l.hidden - j))) : Vec<acc>{});
}
template <class acc>
void write_state(const Layer& l, const acc* from, int64_t place, int64_t count, void* to) {
    if (!to) return;
    for (int64_t r = 0; r < count; r++) memcpy(static_cast<acc*>(to) + (place + r) * l.hidden, from + r * l.hp, l.hidden * sizeof(acc));
}

// Padding units stay 0 whatever the input holds: infinity times a padding weight, 0, is NaN, and would reach every unit a step later.
template <class acc>
Vec<acc> real(Vec<acc> v, int lanes) {
    if (lanes == width<acc>) return v;
    acc all[width<acc>];
    store(all, v);
    return load_part(all, lanes);
}

// Where the vectors of a panel stand among a row's sums.
template <class C>
void places(int first_vector, int count, bool hidden, int* at) {
    for (int v = 0; v < count; v++) {
        const int gate = (first_vector + v) % C::GATES, block = (first_vector + v) / C::GATES;
        at[v] = (block * C::SLOTS + (hidden ? C::HIDDEN_SLOT[gate] : gate)) * C::W;
    }
}

}  // namespace
}  // namespace tenor::TENOR_ISA
