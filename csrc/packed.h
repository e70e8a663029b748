#pragma once

#include <cstdint>

namespace tenor {

struct Packed {  // as in torch's PackedSequence: step t has the sequences 0..sizes[t]
    const int64_t* sizes;
    int64_t steps, batch, rows;
};

}  // namespace tenor
