// A program that runs every cell and number format on the portable kernels and prints a checksum of the bits of every result.
// `make aarch64` compiles it for this machine and for AArch64, and compares what the two print.
#include <cstdio>
#include <cstring>
#include <vector>

#include "../csrc/engine.h"

using namespace tenor;

namespace {

// Numbers from -1 to 1, the same everywhere (a linear congruential generator, Knuth's constants).
uint64_t state = 1;
double number() {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return double(int64_t(state >> 11)) / double(1ull << 52) - 1;
}

template <class T>
std::vector<T> numbers(size_t count) {
    std::vector<T> found(count);
    for (T& x : found) x = T(number());
    return found;
}

template <class T>
void show(const char* name, const std::vector<T>& values) {  // FNV-1a
    uint64_t sum = 14695981039346656037u;
    for (size_t i = 0; i < values.size() * sizeof(T); i++) sum = (sum ^ reinterpret_cast<const unsigned char*>(values.data())[i]) * 1099511628211u;
    std::printf(" %s %016llx", name, static_cast<unsigned long long>(sum));
}

template <class T>
void run(Cell cell, Type type, int64_t input, int64_t hidden, int threads) {
    const std::vector<int64_t> sizes = {11, 11, 9, 9, 9, 4, 3, 3, 1, 1};
    const int64_t batch = 12, gates = cell == Cell::lstm ? 4 : cell == Cell::gru ? 3 : 1, directions = 2;
    int64_t rows = 0;
    for (int64_t size : sizes) rows += size;
    const Packed packed{sizes.data(), int64_t(sizes.size()), batch, rows};
    std::vector<std::vector<T>> weights, d_weights;
    std::vector<Weights> at, to;
    for (int d = 0; d < directions; d++) {
        const size_t counts[4] = {size_t(gates * hidden * input), size_t(gates * hidden * hidden), size_t(gates * hidden), size_t(gates * hidden)};
        for (size_t count : counts) weights.push_back(numbers<T>(count)), d_weights.emplace_back(count);
    }
    for (int d = 0; d < directions; d++) {
        at.push_back({weights[4 * d].data(), weights[4 * d + 1].data(), weights[4 * d + 2].data(), weights[4 * d + 3].data()});
        to.push_back({d_weights[4 * d].data(), d_weights[4 * d + 1].data(), d_weights[4 * d + 2].data(), d_weights[4 * d + 3].data()});
    }
    const size_t states = directions * batch * hidden, outs = rows * directions * hidden;
    auto x = numbers<T>(rows * input), h0 = numbers<T>(states), c0 = numbers<T>(states), mask = numbers<T>(states);
    auto d_out = numbers<T>(outs), d_hn = numbers<T>(states), d_cn = numbers<T>(states);
    std::vector<T> out(outs), hn(states), cn(states), d_x(rows * input), d_h0(states), d_c0(states);
    const bool has_cell = cell == Cell::lstm;
    const PackedLayer layer("portable", cell, type, input, hidden, directions, at);
    std::vector<char> kept(layer.kept_bytes(rows, true) + 64);
    void* room = reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(kept.data()) + 63) / 64 * 64);
    const PackedLayer::Pointers pointers{x.data(), h0.data(), has_cell ? c0.data() : nullptr, mask.data(), out.data(), hn.data(), has_cell ? cn.data() : nullptr};
    layer.forward(packed, pointers, room, threads);
    const PackedLayer differentiates("portable", cell, type, input, hidden, directions, {});
    differentiates.backward(packed, pointers, room, at, {d_out.data(), d_hn.data(), has_cell ? d_cn.data() : nullptr, d_x.data(), d_h0.data(), has_cell ? d_c0.data() : nullptr, to}, threads);
    std::printf("cell %d type %d input %lld hidden %lld threads %d", int(cell), int(type), static_cast<long long>(input), static_cast<long long>(hidden), threads);
    show("out", out), show("hn", hn), show("cn", cn), show("d_x", d_x), show("d_h0", d_h0), show("d_c0", d_c0);
    for (const auto& d : d_weights) show("d_w", d);
    std::printf("\n");
}

}  // namespace

int main() {
    for (Cell cell : {Cell::lstm, Cell::gru, Cell::rnn_tanh, Cell::rnn_relu})
        for (int64_t hidden : {1, 5, 16, 33})
            for (int threads : {1, 3}) {
                run<float>(cell, Type::f32, 7, hidden, threads);
                run<float>(cell, Type::bf16, 7, hidden, threads);
                run<double>(cell, Type::f64, 7, hidden, threads);
            }
}
