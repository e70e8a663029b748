// Which kernels this CPU and its system can run.
#pragma once

#include <string>
#include <vector>

#include "kernels.h"

namespace tenor {

// Those that the CPU and the system have, best first. For it no permission is asked for.
std::vector<std::string> instruction_sets();

// Whether the system lets this process use it. For AMX Linux is asked, once, and for all threads and later children.
bool allowed(const std::string& name);

// Throw std::invalid_argument where it is not there, the second also where it is not allowed.
const Traits& traits(const std::string& name);
const Isa& instruction_set(const std::string& name);

}  // namespace tenor
