#include "rows.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "parallel.h"

namespace tenor {

namespace {

constexpr int64_t WORTH_A_THREAD = 1 << 17;  // numbers to move: about 50 microseconds

int threads_for(int64_t numbers, int threads) { return int(std::max<int64_t>(1, std::min<int64_t>(threads, numbers / WORTH_A_THREAD))); }

// Which sequence each packed row belongs to.
std::vector<int32_t> sequences(const Packed& packed) {
    std::vector<int32_t> of(packed.rows);
    int64_t n = 0;
    for (int64_t t = 0; t < packed.steps; t++)
        for (int64_t b = 0; b < packed.sizes[t]; b++) of[n++] = int32_t(b);
    return of;
}

}  // namespace

void embed(const Packed& packed, const float* table, const int64_t* ids, const float* scale, const float* mask, int64_t width, float* out, int threads) {
    const auto of = sequences(packed);
    threads = threads_for(packed.rows * width, threads);
    std::vector<Task> tasks;
    split(packed.rows, threads, [&](int64_t from, int64_t to) {
        tasks.emplace_back([=, &of] {
            for (int64_t n = from; n < to; n++) {
                const float* row = table + ids[n] * width;
                float* target = out + n * width;
                const float by = scale ? scale[n] : 1.0f;
                const float* features = mask ? mask + of[n] * width : nullptr;
                if (features)
                    for (int64_t i = 0; i < width; i++) target[i] = row[i] * (by * features[i]);
                else
                    for (int64_t i = 0; i < width; i++) target[i] = row[i] * by;
            }
        });
    });
    run_all(tasks, threads);
}

int64_t embed_back(const Packed& packed, const int64_t* ids, const float* scale, const float* mask, int64_t width, const float* d_out, int64_t* distinct, float* sums, int threads) {
    const auto of = sequences(packed);
    std::vector<std::pair<int64_t, int64_t>> order(packed.rows);  // id and place: equal ids in the order of their places
    for (int64_t n = 0; n < packed.rows; n++) order[n] = {ids[n], n};
    std::sort(order.begin(), order.end());
    std::vector<int64_t> starts;
    for (int64_t i = 0; i < packed.rows; i++)
        if (!i || order[i].first != order[i - 1].first) {
            distinct[starts.size()] = order[i].first;
            starts.push_back(i);
        }
    const int64_t count = int64_t(starts.size());
    starts.push_back(packed.rows);
    threads = threads_for(packed.rows * width, threads);
    std::vector<Task> tasks;
    split(count, 4 * threads, [&](int64_t from, int64_t to) {  // more tasks than threads: frequent ids are long
        tasks.emplace_back([=, &of, &order, &starts] {
            for (int64_t u = from; u < to; u++) {
                float* target = sums + u * width;
                std::fill(target, target + width, 0.0f);
                for (int64_t i = starts[u]; i < starts[u + 1]; i++) {
                    const int64_t n = order[i].second;
                    const float* row = d_out + n * width;
                    const float by = scale ? scale[n] : 1.0f;
                    if (by == 0) continue;
                    const float* features = mask ? mask + of[n] * width : nullptr;
                    if (features)
                        for (int64_t k = 0; k < width; k++) target[k] += row[k] * (by * features[k]);
                    else
                        for (int64_t k = 0; k < width; k++) target[k] += row[k] * by;
                }
            }
        });
    });
    run_all(tasks, threads);
    return count;
}

void pool(const Packed& packed, const float* x, int64_t width, float* most, float* mean, int32_t* at, int threads) {
    threads = threads_for(packed.rows * width, threads);
    std::vector<Task> tasks;
    split(packed.batch, threads, [&](int64_t from, int64_t to) {
        tasks.emplace_back([=, &packed] {
            std::fill(most + from * width, most + to * width, -INFINITY);
            std::fill(mean + from * width, mean + to * width, 0.0f);
            std::fill(at + from * width, at + to * width, 0);
            std::vector<int64_t> lengths(to - from);
            const float* row = x;
            for (int64_t t = 0; t < packed.steps; row += packed.sizes[t++] * width)
                for (int64_t b = from; b < std::min(to, packed.sizes[t]); b++) {
                    lengths[b - from] = t + 1;
                    const float* v = row + b * width;
                    float *m = most + b * width, *s = mean + b * width;
                    int32_t* a = at + b * width;
                    for (int64_t i = 0; i < width; i++) {
                        const bool more = v[i] > m[i] || v[i] != v[i];  // NaN is taken, and nothing is more than it
                        m[i] = more ? v[i] : m[i];
                        a[i] = more ? int32_t(t) : a[i];
                        s[i] += v[i];
                    }
                }
            for (int64_t b = from; b < to; b++)
                for (int64_t i = 0; i < width; i++) {
                    const int64_t length = lengths[b - from];
                    mean[b * width + i] /= float(std::max<int64_t>(length, 1));
                    if (!length) most[b * width + i] = 0;
                }
        });
    });
    run_all(tasks, threads);
}

void pool_back(const Packed& packed, const float* d_most, const float* d_mean, const int32_t* at, int64_t width, float* d_x, int threads) {
    std::vector<int64_t> lengths(packed.batch);
    for (int64_t t = 0; t < packed.steps; t++)
        for (int64_t b = 0; b < packed.sizes[t]; b++) lengths[b]++;
    threads = threads_for(packed.rows * width, threads);
    std::vector<Task> tasks;
    split(packed.batch, threads, [&](int64_t from, int64_t to) {
        tasks.emplace_back([=, &packed, &lengths] {
            std::vector<float> even((to - from) * width);
            for (int64_t b = from; b < to; b++)
                for (int64_t i = 0; i < width; i++) even[(b - from) * width + i] = d_mean[b * width + i] / float(std::max<int64_t>(lengths[b], 1));
            float* row = d_x;
            for (int64_t t = 0; t < packed.steps; row += packed.sizes[t++] * width)
                for (int64_t b = from; b < std::min(to, packed.sizes[t]); b++) {
                    float* d = row + b * width;
                    const float *m = d_most + b * width, *s = even.data() + (b - from) * width;
                    const int32_t* a = at + b * width;
                    for (int64_t i = 0; i < width; i++) d[i] = s[i] + (a[i] == int32_t(t) ? m[i] : 0.0f);
                }
        });
    });
    run_all(tasks, threads);
}

}  // namespace tenor
