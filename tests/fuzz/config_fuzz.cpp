// Whatever stands in a configuration file, or one of periodic tasks, is read or refused with its mistakes.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include <tidemill/error.hpp>

#include "config/config.hpp"
#include "yaml/schedules.hpp"

namespace {

template <class Read>
void try_read(Read read) {
  try {
    read();
  } catch (const tidemill::Error& error) {
    if (error.kind() != tidemill::ErrorKind::invalid) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text{reinterpret_cast<const char*>(data), size};
  try_read([&] { (void)tidemill::config::parse(text, "fuzz.yaml"); });
  try_read([&] {
    tidemill::yaml::Mistakes mistakes;
    (void)tidemill::yaml::read_schedules(text, "fuzz.yaml", mistakes);
    mistakes.throw_if_any();
  });
  return 0;
}
