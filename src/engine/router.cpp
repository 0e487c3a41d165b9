#include <fmt/format.h>

#include <tidemill/error.hpp>
#include <tidemill/router.hpp>
#include <utility>

#include "core/rules.hpp"

namespace tidemill {

namespace {

/// Throws unless it is a kind, or the beginning of one and a '*'.
void check(std::string_view kind) {
  if (kind.empty()) throw Error{ErrorKind::invalid, "a handler's kind must not be empty; '*' takes all"};
  if (const auto star = kind.find('*'); star != std::string_view::npos && star + 1 != kind.size()) {
    throw Error{ErrorKind::invalid,
                fmt::format("the kind \"{}\" may have a '*' at its end only, as in \"image:*\"", kind)};
  }
  if (kind.size() > rules::name_bytes_max) {
    throw Error{ErrorKind::invalid, fmt::format("the kind \"{}...\" has {} bytes; the most is {}",
                                                kind.substr(0, 40), kind.size(), rules::name_bytes_max)};
  }
}

}  // namespace

Router& Router::use(Middleware middleware) {
  if (!middleware) throw Error{ErrorKind::invalid, "a middleware must be callable"};
  middleware_.push_back(std::move(middleware));
  return *this;
}

Router& Router::handle(std::string_view kind, Handler handler, KindOptions options) {
  check(kind);
  if (!handler) throw Error{ErrorKind::invalid, fmt::format("the handler of \"{}\" must be callable", kind)};
  // From the inside out, so that the first one added is called first.
  for (auto wrap = middleware_.rbegin(); wrap != middleware_.rend(); ++wrap) {
    handler = [middleware = *wrap, next = std::move(handler)](Context& context) {
      return middleware(context, next);
    };
  }
  const bool by_prefix = kind.back() == '*';
  auto& routes = by_prefix ? prefixes_ : exact_;
  const std::string_view name = by_prefix ? kind.substr(0, kind.size() - 1) : kind;
  const auto [at, added] =
      routes.try_emplace(std::string{name}, Route{std::move(handler), std::move(options)});
  if (!added) throw Error{ErrorKind::invalid, fmt::format("the kind \"{}\" has a handler already", kind)};
  return *this;
}

const Router::Route* Router::find(std::string_view kind) const noexcept {
  if (const auto found = exact_.find(kind); found != exact_.end()) return &found->second;
  // All prefixes of a kind sort at or before it, the longest one last.
  for (auto at = prefixes_.upper_bound(kind); at != prefixes_.begin();) {
    --at;
    if (kind.starts_with(at->first)) return &at->second;
  }
  return nullptr;
}

}  // namespace tidemill
