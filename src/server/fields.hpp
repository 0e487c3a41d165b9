#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <tidemill/json.hpp>

#include "server/routes.hpp"

namespace tidemill::server {

/// Of ?fields=id,state: the members of an object that are wanted.
class Fields {
 public:
  /// An empty text: all. Throws Problem when a name is empty.
  explicit Fields(std::string_view text);

  /// Throws Problem{400} for a name that is not among these.
  void check(std::span<const std::string> known) const;

  bool all() const noexcept { return names_.empty(); }
  /// The object with these members alone, as they are written. Those that it lacks are left out, as what is
  /// not set always is. REQUIRES: it is one.
  std::string narrow(std::string_view object) const;
  /// An answer whose body is an object, or has `items` that are.
  http::Response narrow(http::Response&& response) const;

  /// Whether it is wanted by name.
  bool has(std::string_view name) const;

 private:
  void write(json::Writer& writer, const wire::JsonValue& object) const;

  std::vector<std::string_view> names_;  // They live as long as the text.
};

}  // namespace tidemill::server
