// What stands around a recurrence in a text model, each in one pass over packed rows: the embedding with its dropouts, and
// pooling over a sequence's own steps.
#pragma once

#include <cstdint>

#include "packed.h"

namespace tenor {

// out [N, width]: row n is table[ids[n]] * scale[n] * mask[its sequence]. scale [N] and mask [B, width] may be null.
void embed(const Packed& packed, const float* table, const int64_t* ids, const float* scale, const float* mask, int64_t width, float* out, int threads);

// The gradient of `embed` for the rows of the table that occur: distinct [<= N] ascending ids, sums [<= N, width]. -> how many.
int64_t embed_back(const Packed& packed, const int64_t* ids, const float* scale, const float* mask, int64_t width, const float* d_out, int64_t* distinct, float* sums, int threads);

// most, mean [B, width]: greatest and mean value of each column over a sequence's own steps (0 where it has none); at [B, width]:
// the step of the greatest, the first of equals.
void pool(const Packed& packed, const float* x, int64_t width, float* most, float* mean, int32_t* at, int threads);

void pool_back(const Packed& packed, const float* d_most, const float* d_mean, const int32_t* at, int64_t width, float* d_x, int threads);

}  // namespace tenor
