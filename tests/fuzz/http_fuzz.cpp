// Whatever comes over a connection, the HTTP server answers or closes it, and lives on.
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>

#include "drivers/http/server.hpp"
#include "drivers/http/target.hpp"
#include "http_peer.hpp"

namespace {

using namespace tidemill;

http::Server& server() {
  static http::Server running{{.body_max = 4096, .headers_max = 4096},
                              [](http::Request&& request, const http::Answer& answer) {
                                std::string echo = request.method + " " + request.path + "?" + request.query;
                                for (const auto& [name, value] : request.headers) echo += name + "=" + value;
                                answer({.body = echo + request.body});
                              }};
  return running;
}

void parse_target(std::string_view text) {
  try {
    (void)http::parse_target(std::string{text}).shown();
  } catch (const std::invalid_argument&) {
    return;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text{reinterpret_cast<const char*>(data), size};
  parse_target(text.substr(0, text.find('\n')));
  tidemill::testing::Peer peer{server().port()};
  if (!peer.connected()) std::abort();
  (void)peer.send(text);  // The server may refuse before all has been sent.
  peer.finish();
  (void)peer.rest();  // Until the server closes.
  return 0;
}
