#pragma once

#include <string>

#include <fmt/format.h>

#include "../proxy.hpp"

namespace tidemill::redis::tests {

class Proxy : public testing::Proxy {
 public:
  using testing::Proxy::Proxy;
  std::string url() const { return fmt::format("redis://127.0.0.1:{}", port()); }
};

}  // namespace tidemill::redis::tests
