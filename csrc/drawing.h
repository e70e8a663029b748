// How the next word is drawn from its logits.
#pragma once

#include <cstdint>
#include <vector>

namespace tenor {

struct Drawing {  // as Sampling in src/tenor/models/generate.py
    double temperature;
    int64_t top_k;
    double top_p;
};

// logits [count] and a number from 0 to 1 -> the word; `shares` and `order` are room that is used again. The rule of models/generate.py's `draw`; no logit is NaN.
int64_t draw(const float* logits, int64_t count, const Drawing& how, double chance, std::vector<double>& shares, std::vector<int64_t>& order);

}  // namespace tenor
