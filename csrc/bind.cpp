// Python's view of the engine. Arrays come as addresses: src/tenor/cells/native.py, passes.py, reader.py and writer.py are the only callers,
// and check shape, type, device and layout of every one.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <tuple>

#include "engine.h"
#include "instruction_sets.h"
#include "rows.h"
#include "writer.h"

namespace nb = nanobind;
using namespace tenor;

namespace {

using Address = uintptr_t;
using Four = std::tuple<Address, Address, Address, Address>;
using Seven = std::tuple<Address, Address, Address, Address, Address, Address, Address>;
using Six = std::tuple<Address, Address, Address, Address, Address, Address>;

void* pointer(Address address) { return reinterpret_cast<void*>(address); }

std::vector<Weights> weights_at(const std::vector<Four>& addresses) {
    std::vector<Weights> found;
    for (const auto& [a, b, c, d] : addresses) found.push_back({pointer(a), pointer(b), pointer(c), pointer(d)});
    return found;
}

PackedLayer::Pointers pointers_at(const Seven& addresses) {
    const auto& [x, h0, c0, mask, out, hn, cn] = addresses;
    return {pointer(x), pointer(h0), pointer(c0), pointer(mask), pointer(out), pointer(hn), pointer(cn)};
}

template <class T>
T* array(Address address) {
    return static_cast<T*>(pointer(address));
}

// batch_sizes: its address and length, then the number of sequences and of rows.
using PackedAt = std::tuple<Address, int64_t, int64_t, int64_t>;
Packed packed_at(const PackedAt& at) { return {array<int64_t>(std::get<0>(at)), std::get<1>(at), std::get<2>(at), std::get<3>(at)}; }

nb::ndarray<nb::pytorch> from_pool(nb::dlpack::dtype type, const std::vector<size_t>& shape) {
    size_t bytes = type.bits / 8;
    for (size_t size : shape) bytes *= size;
    auto* block = new Block(bytes);
    const nb::capsule owner(block, [](void* p) noexcept { delete static_cast<Block*>(p); });
    return nb::ndarray<nb::pytorch>(block->data(), shape.size(), shape.data(), owner, nullptr, type);
}

}  // namespace

NB_MODULE(_engine, m) {
    nb::set_leak_warnings(false);  // a graph of autograd's or a Reader that lives to the end of the process is no mistake
    m.def("instruction_sets", &instruction_sets, "Names of the instruction sets that this CPU and this build have, best first.");
    m.def("refusal", &refusal, "Why the system does not let this process use it, empty where it does; for AMX Linux is asked.");
    nb::class_<Traits>(m, "Traits").def_ro("bfloat16", &Traits::bfloat16).def_ro("int8", &Traits::int8);
    m.def("traits", &traits, nb::rv_policy::copy, "What an instruction set multiplies.");
    m.def(
        "activation", [](const std::string& isa, const std::string& name, Address from, Address to, int64_t count) {
            const auto& functions = instruction_set(isa).activations;
            (name == "tanh" ? functions.tanh : functions.sigmoid)(static_cast<const float*>(pointer(from)), static_cast<float*>(pointer(to)), count);
        },
        "tanh or sigmoid of `count` floats.");

    m.def("embed", [](const PackedAt& packed, Address table, Address ids, Address scale, Address mask, int64_t width, Address out, int threads) {
        nb::gil_scoped_release released;
        embed(packed_at(packed), array<float>(table), array<int64_t>(ids), array<float>(scale), array<float>(mask), width, array<float>(out), threads);
    });
    m.def("embed_back", [](const PackedAt& packed, Address ids, Address scale, Address mask, int64_t width, Address d_out, Address distinct, Address sums, int threads) {
        nb::gil_scoped_release released;
        return embed_back(packed_at(packed), array<int64_t>(ids), array<float>(scale), array<float>(mask), width, array<float>(d_out), array<int64_t>(distinct), array<float>(sums), threads);
    });
    m.def("pool", [](const PackedAt& packed, Address x, int64_t width, Address most, Address mean, Address at, int threads) {
        nb::gil_scoped_release released;
        pool(packed_at(packed), array<float>(x), width, array<float>(most), array<float>(mean), array<int32_t>(at), threads);
    });
    m.def("pool_back", [](const PackedAt& packed, Address d_most, Address d_mean, Address at, int64_t width, Address d_x, int threads) {
        nb::gil_scoped_release released;
        pool_back(packed_at(packed), array<float>(d_most), array<float>(d_mean), array<int32_t>(at), width, array<float>(d_x), threads);
    });

    nb::enum_<Cell>(m, "Cell").value("lstm", Cell::lstm).value("gru", Cell::gru).value("rnn_tanh", Cell::rnn_tanh).value("rnn_relu", Cell::rnn_relu);
    nb::enum_<Type>(m, "Type").value("float32", Type::f32).value("bfloat16", Type::bf16).value("float64", Type::f64);

    m.def("block", [](size_t bytes) { return from_pool(nb::dtype<uint8_t>(), {bytes}); }, "A tensor of so many bytes, its memory from the engine's pool.");
    m.def("floats", [](const std::vector<size_t>& shape) { return from_pool(nb::dtype<float>(), shape); }, "The same of float32.");
    m.def("trim", &trim_pool, "Give back what the pool keeps and no call has used for so many seconds; calls do it with 60.");
    m.def("doubles", [](const std::vector<size_t>& shape) { return from_pool(nb::dtype<double>(), shape); }, "The same of float64.");

    nb::class_<PackedLayer>(m, "Layer")
        .def("__init__",
             [](PackedLayer* self, const std::string& isa, Cell cell, Type type, int64_t input, int64_t hidden, int directions, const std::vector<Four>& weights) {
                 new (self) PackedLayer(isa, cell, type, input, hidden, directions, weights_at(weights));
             })
        .def("kept_bytes", &PackedLayer::kept_bytes)
        .def("forward",
             [](const PackedLayer& self, const PackedAt& packed, const Seven& at, Address kept, int threads) {
                 nb::gil_scoped_release released;
                 self.forward(packed_at(packed), pointers_at(at), pointer(kept), threads);
             })
        .def("fold",
             [](PackedLayer& self, Address embedding, int64_t vocabulary, bool eight_bits, int threads) {
                 nb::gil_scoped_release released;
                 self.fold(pointer(embedding), vocabulary, eight_bits, threads);
             })
        .def("read",
             [](const PackedLayer& self, const PackedAt& packed, Address ids, Address pooled, Address hn, int threads) {
                 nb::gil_scoped_release released;
                 self.read(packed_at(packed), array<int64_t>(ids), pointer(pooled), pointer(hn), threads);
             })
        .def("backward", [](const PackedLayer& self, const PackedAt& packed, const Seven& at, Address kept, const std::vector<Four>& weights, const Six& gradients, const std::vector<Four>& d_weights, int threads) {
            const auto& [d_out, d_hn, d_cn, d_x, d_h0, d_c0] = gradients;
            const PackedLayer::Cotangents to{pointer(d_out), pointer(d_hn), pointer(d_cn), pointer(d_x), pointer(d_h0), pointer(d_c0), weights_at(d_weights)};
            const std::vector<Weights> from = weights_at(weights);
            nb::gil_scoped_release released;
            self.backward(packed_at(packed), pointers_at(at), pointer(kept), from, to, threads);
        });

    nb::class_<Writer>(m, "Writer")
        .def("__init__",
             [](Writer* self, const std::string& isa, Cell cell, Type type, const std::tuple<int64_t, int64_t, int64_t>& sizes, const std::vector<Four>& layers, Address embedding, const Four& output, bool eight_bits, int threads) {
                 const auto& [input, hidden, vocabulary] = sizes;
                 const std::vector<Weights> from = weights_at(layers), last = weights_at({output});
                 nb::gil_scoped_release released;
                 new (self) Writer(isa, cell, type, input, hidden, vocabulary, from, pointer(embedding), last[0], eight_bits, threads);
             })
        .def("begin",
             [](Writer& self, int64_t rows, Address h, Address c, Address logits) {
                 nb::gil_scoped_release released;
                 self.begin(rows, array<float>(h), array<float>(c), array<float>(logits));
             })
        .def("step",
             [](Writer& self, Address words, Address logits, int threads) {
                 nb::gil_scoped_release released;
                 self.step(array<int64_t>(words), array<float>(logits), threads);
             })
        .def("write", [](Writer& self, int64_t steps, Address chances, double temperature, int64_t top_k, double top_p, Address words, int threads) {
            nb::gil_scoped_release released;
            self.write(steps, array<double>(chances), {temperature, top_k, top_p}, array<int64_t>(words), threads);
        });
}
