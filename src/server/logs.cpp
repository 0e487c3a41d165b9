#include "server/logs.hpp"

#include "wire/json_write.hpp"

namespace tidemill::server {

namespace {

/// Lines of one attempt are numbered below it. So many fit into a number that JavaScript keeps exact.
constexpr std::int64_t lines_an_attempt = 1 << 20;

}  // namespace

std::vector<Logged> lines_of(std::span<const Attempt> attempts) {
  std::vector<Logged> lines;
  std::int64_t last = 0;
  for (const Attempt& attempt : attempts) {
    last = std::max(last, attempt.number * lines_an_attempt);
    for (const LogLine& line : attempt.logs) lines.push_back({attempt.number, ++last, &line});
  }
  return lines;
}

void write_logged(json::Writer& writer, const Logged& logged) {
  writer.open('{');
  writer.member("attempt", logged.attempt);
  writer.member("seq", logged.seq);
  wire::write_log_members(writer, *logged.line);
  writer.close('}');
}

}  // namespace tidemill::server
