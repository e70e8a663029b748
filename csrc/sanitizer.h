// TENOR_SANITIZED: this is a build with AddressSanitizer. GCC says so in a macro of its own, Clang answers when asked.
#pragma once

#if defined(__SANITIZE_ADDRESS__)
#define TENOR_SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TENOR_SANITIZED
#endif
#endif
