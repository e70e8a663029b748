// Which kernels this CPU and its system can run.
#pragma once

#include <string>
#include <vector>

#include "kernels.h"

namespace tenor {

// Those that the CPU and this build have, best first. For it no permission is asked for.
std::vector<std::string> instruction_sets();

// Why the system does not let this process use it; empty where it does. For AMX Linux is asked, once, and for all threads and later children.
std::string refusal(const std::string& name);

// Throw std::invalid_argument where it is not there, the second also where it is not allowed.
const Traits& traits(const std::string& name);
const Isa& instruction_set(const std::string& name);

}  // namespace tenor
