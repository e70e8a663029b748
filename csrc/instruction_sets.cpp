#include "instruction_sets.h"

#include <stdexcept>
#include <system_error>

#if defined(TENOR_X86_KERNELS)
#include <cpuid.h>
#if defined(__linux__)
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace tenor {

namespace portable {
extern const Isa isa;
}
#if defined(TENOR_X86_KERNELS)
namespace avx2 {
extern const Isa isa;
}
namespace avx512 {
extern const Isa isa;
}
namespace avx512_bf16 {
extern const Isa isa;
}
#if defined(TENOR_AMX_KERNELS)
namespace amx {
extern const Isa isa;
}
#endif
#endif

namespace {

#if defined(TENOR_AMX_KERNELS)
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
#if defined(TENOR_X86_KERNELS)
    const bool v4 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    const bool bf16 = v4 && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vnni");
#if defined(TENOR_AMX_KERNELS)
    if (bf16 && has_amx()) found.push_back(&amx::isa);
#endif
    if (bf16) found.push_back(&avx512_bf16::isa);
    if (v4) found.push_back(&avx512::isa);
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) found.push_back(&avx2::isa);
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
#if defined(TENOR_AMX_KERNELS)
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
