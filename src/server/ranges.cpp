#include "server/ranges.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>

#include <fmt/format.h>

#include "server/problem.hpp"

namespace tidemill::server {

namespace {

/// Digits alone; what is larger than any body is cut to the largest number.
std::optional<std::uint64_t> position(std::string_view text) {
  if (text.empty() || text.find_first_not_of("0123456789") != std::string_view::npos) return {};
  std::uint64_t number = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  return failure == std::errc{} ? number : UINT64_MAX;
}

struct Part {
  std::uint64_t begin = 0, size = 0;
};

/// None: the whole. No bytes: there are none there.
std::optional<Part> part_named(std::string_view range, std::uint64_t size) {
  constexpr std::string_view unit = "bytes=";
  if (http::lower_case(range.substr(0, unit.size())) != unit) return {};
  range.remove_prefix(unit.size());
  const std::size_t dash = range.find('-');
  if (dash == std::string_view::npos) return {};
  const auto first = position(range.substr(0, dash));
  const auto last = position(range.substr(dash + 1));
  if (dash == 0) {
    if (!last || (size == 0 && *last > 0)) return {};
    const std::uint64_t count = std::min(*last, size);
    return Part{size - count, count};
  }
  const bool open = dash + 1 == range.size();
  if (!first || (!open && (!last || *last < *first))) return {};
  if (*first >= size) return Part{};
  return Part{*first, (open ? size - 1 : std::min(*last, size - 1)) - *first + 1};
}

}  // namespace

http::Response part_of(const Ask& ask, http::Response&& whole) {
  whole.headers.emplace_back("Accept-Ranges", "bytes");
  const http::Request& request = *ask.request;
  // There is no tag or date that If-Range could name, so what it asks for is the whole.
  if (request.method != "GET" || !request.header("if-range").empty()) return std::move(whole);
  const std::uint64_t size = whole.body.size();
  const auto part = part_named(request.header("range"), size);
  if (!part) return std::move(whole);
  if (part->size == 0) {
    throw Problem{416,
                  "bad_range",
                  fmt::format("there are {} bytes, and none in {}", size, request.header("range")),
                  {},
                  {{"Content-Range", fmt::format("bytes */{}", size)}}};
  }
  whole.status = 206;
  whole.headers.emplace_back("Content-Range",
                             fmt::format("bytes {}-{}/{}", part->begin, part->begin + part->size - 1, size));
  whole.body = whole.body.substr(part->begin, part->size);
  return std::move(whole);
}

}  // namespace tidemill::server
