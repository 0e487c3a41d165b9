#include "deliver/answer.hpp"

#include <algorithm>
#include <charconv>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include "deliver/text.hpp"
#include "drivers/http/date.hpp"
#include "drivers/http/target.hpp"

namespace tidemill::deliver {

namespace {

constexpr std::size_t body_bytes_shown = 1024;
constexpr std::size_t reason_bytes_shown = 64;
constexpr std::size_t location_bytes_shown = 256;
constexpr Duration retry_after_max = std::chrono::hours{24};

/// Without a query, which may hold secrets.
std::string shown_location(std::string_view location) {
  try {
    return printable(http::parse_target(std::string{location}).shown(), location_bytes_shown);
  } catch (const std::invalid_argument&) {
    return printable(location.substr(0, location.find_first_of("?#")), location_bytes_shown);
  }
}

std::string failure_text(const http::CallResult& result, std::string_view call) {
  if (result.status == 0) {
    return fmt::format("{}: {}{}", call, result.error,
                       result.refused_address ? "; outgoing.allow_networks names networks to allow" : "");
  }
  std::string text = fmt::format("{}", result.status);
  if (!result.reason.empty()) text += " " + printable(result.reason, reason_bytes_shown);
  text += fmt::format(" from {}", call);
  if (result.status / 100 == 3 && !result.header("location").empty()) {
    return fmt::format("{}: it points to {}, and redirects are not followed", text,
                       shown_location(result.header("location")));
  }
  const std::string body = printable(result.body, body_bytes_shown);
  return body.empty() ? text : fmt::format("{}: {}", text, body);
}

}  // namespace

std::optional<Duration> retry_after(std::string_view value, TimePoint now) {
  if (value.empty()) return {};
  const bool digits = std::all_of(value.begin(), value.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (digits) {
    std::int64_t seconds = 0;
    const auto [at, error] = std::from_chars(value.data(), value.data() + value.size(), seconds);
    if (error != std::errc{} || seconds > 86'400) return retry_after_max;
    if (seconds == 0) return {};
    return std::chrono::seconds{seconds};
  }
  const auto date = http::parse_date(std::string{value});
  if (!date || TimePoint{*date} <= now) return {};
  return std::min<Duration>(TimePoint{*date} - now, retry_after_max);
}

Outcome outcome_of(http::CallResult result, std::string_view call, TimePoint now) {
  if (result.status / 100 == 2) return Outcome::success(std::move(result.body));
  std::string why = failure_text(result, call);
  if (result.status == 410) return Outcome::archive(std::move(why));
  const auto delay = retry_after(result.header("retry-after"), now);
  return delay ? Outcome::retry_in(*delay, std::move(why)) : Outcome::failure(std::move(why));
}

}  // namespace tidemill::deliver
