#include "instruction_sets.h"

#include <stdexcept>
#include <system_error>

#if defined(TENOR_KERNELS_amx)
#include <cpuid.h>
#if defined(__linux__)
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace tenor {

#define TENOR_DECLARE(set)    \
    namespace set {           \
    extern const Isa isa;     \
    }
TENOR_DECLARE(portable)
TENOR_DECLARE(avx2)
TENOR_DECLARE(avx512)
TENOR_DECLARE(avx512_bf16)
TENOR_DECLARE(amx)

namespace {

#if defined(TENOR_KERNELS_amx)
// Whether the CPU has AMX for bfloat16 and 8 bits.
bool has_amx() {
    constexpr unsigned BF16 = 1u << 22, TILE = 1u << 24, INT8 = 1u << 25;  // CPUID 7, register D
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & (BF16 | TILE | INT8)) == (BF16 | TILE | INT8);
}

#if defined(__linux__)
// Linux saves the tile registers of those alone that have asked for them (https://docs.kernel.org/arch/x86/xstate.html).
// It is refused where a signal stack of another library is too small for the registers, and such stacks are refused afterwards:
// so a process that does not use the registers must not ask.
std::string ask_for_tiles() {
    constexpr long SUPPORTED = 0x1021, REQUEST = 0x1023, TILE_DATA = 18;  // ARCH_GET_XCOMP_SUPP, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    unsigned long features = 0;
    if (syscall(SYS_arch_prctl, SUPPORTED, &features) || !(features >> TILE_DATA & 1)) return "this Linux does not know its registers (5.16 and later do)";
    if (syscall(SYS_arch_prctl, REQUEST, TILE_DATA) == 0) return "";
    const int cause = errno;
    return cause == ENOSPC ? "a signal stack of this process is too small for its registers" : "Linux refuses its registers: " + std::generic_category().message(cause);
}
#else
std::string ask_for_tiles() { return "Tenor asks Linux alone for its registers"; }
#endif
#endif

std::vector<const Isa*> find_present() {
    std::vector<const Isa*> found;
#if defined(__x86_64__)
    [[maybe_unused]] const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    [[maybe_unused]] const bool v4 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    [[maybe_unused]] const bool bf16 = v4 && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vnni");
#endif
#if defined(TENOR_KERNELS_amx)
    if (bf16 && has_amx()) found.push_back(&amx::isa);
#endif
#if defined(TENOR_KERNELS_avx512_bf16)
    if (bf16) found.push_back(&avx512_bf16::isa);
#endif
#if defined(TENOR_KERNELS_avx512)
    if (v4) found.push_back(&avx512::isa);
#endif
#if defined(TENOR_KERNELS_avx2)
    if (v3) found.push_back(&avx2::isa);
#endif
    found.push_back(&portable::isa);
    return found;
}

const std::vector<const Isa*>& present() {
    static const std::vector<const Isa*> found = find_present();
    return found;
}

const Isa& find(const std::string& name) {
    for (const Isa* isa : present())
        if (isa->name == name) return *isa;
    throw std::invalid_argument("This CPU has no instruction set " + name + ".");
}

std::string why_not([[maybe_unused]] const Isa& isa) {
#if defined(TENOR_KERNELS_amx)
    if (&isa == &amx::isa) {
        static const std::string answer = ask_for_tiles();
        return answer;
    }
#endif
    return "";
}

}  // namespace

std::vector<std::string> instruction_sets() {
    std::vector<std::string> names;
    for (const Isa* isa : present()) names.emplace_back(isa->name);
    return names;
}

std::string refusal(const std::string& name) { return why_not(find(name)); }

const Traits& traits(const std::string& name) { return find(name).traits; }

const Isa& instruction_set(const std::string& name) {
    const Isa& found = find(name);
    if (const std::string why = why_not(found); !why.empty()) throw std::invalid_argument(name + " cannot be used: " + why + ".");
    return found;
}

}  // namespace tenor
