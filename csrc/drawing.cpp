#include "drawing.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

namespace tenor {

int64_t draw(const float* logits, int64_t count, const Drawing& how, double chance, std::vector<double>& shares, std::vector<int64_t>& order) {
    const int64_t best = std::max_element(logits, logits + count) - logits;
    if (how.temperature == 0 || how.top_k == 1) return best;
    shares.resize(count);
    for (int64_t i = 0; i < count; i++) shares[i] = (double(logits[i]) - double(logits[best])) / how.temperature;
    double least = -INFINITY;
    if (0 < how.top_k && how.top_k < count) {
        std::vector<double> sorted(shares);
        std::nth_element(sorted.begin(), sorted.begin() + how.top_k - 1, sorted.end(), std::greater<>());
        least = sorted[how.top_k - 1];
    }
    double total = 0;
    for (double& share : shares) total += share = share >= least ? std::exp(share) : 0;
    for (double& share : shares) share /= total;
    if (how.top_p < 1) {
        order.resize(count);
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return shares[a] > shares[b]; });
        double upto = 0;
        for (int64_t i : order) {
            const double before = upto;  // of the more probable ones; the first always stays
            upto += shares[i];
            if (before >= how.top_p) shares[i] = 0;
        }
    }
    total = 0;
    for (double share : shares) total += share;
    double upto = 0;
    for (int64_t i = 0; i < count; i++)
        if ((upto += shares[i]) > chance * total) return i;
    return count - 1;
}

}  // namespace tenor
