// Whatever stands in a configuration file is read, or refused with a list of mistakes.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include <tidemill/error.hpp>

#include "config/config.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    (void)tidemill::config::parse({reinterpret_cast<const char*>(data), size}, "fuzz.yaml");
  } catch (const tidemill::Error& error) {
    if (error.kind() != tidemill::ErrorKind::invalid) std::abort();
  }
  return 0;
}
