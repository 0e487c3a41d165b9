#include "server/fields.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "server/problem.hpp"
#include "wire/json_write.hpp"
#include "wire/values.hpp"

namespace tidemill::server {

Fields::Fields(std::string_view text) {
  while (!text.empty()) {
    const std::string_view name = text.substr(0, text.find(','));
    if (name.empty() || text.ends_with(','))
      throw Problem{400, "invalid", "fields: a name is empty; write for instance ?fields=id,state"};
    names_.push_back(name);
    text.remove_prefix(std::min(name.size() + 1, text.size()));
  }
}

void Fields::check(std::span<const std::string> known) const {
  for (const std::string_view name : names_) {
    if (std::ranges::find(known, name) != known.end()) continue;
    const std::vector<std::string> names{known.begin(), known.end()};
    const std::string near = wire::suggestion(std::string{name}, names);
    throw Problem{400, "invalid",
                  fmt::format("fields: there is no field \"{}\" here{}", name,
                              near.empty() ? fmt::format("; there are {}", fmt::join(names, ", ")) : near)};
  }
}

bool Fields::has(std::string_view name) const { return std::ranges::find(names_, name) != names_.end(); }

void Fields::write(json::Writer& writer, const wire::JsonValue& object) const {
  writer.open('{');
  for (const auto& [name, value] : object.members()) {
    if (!has(name)) continue;
    writer.key(name);
    writer.raw(value.raw());
  }
  writer.close('}');
}

std::string Fields::narrow(std::string_view object) const {
  const wire::JsonDocument document{object};
  std::string text;
  json::Writer writer{text};
  write(writer, document.root());
  return text;
}

http::Response Fields::narrow(http::Response&& response) const {
  if (all() || response.status != 200) return std::move(response);
  const wire::JsonDocument document{response.body};
  const auto members = document.root().members();
  const auto items = std::ranges::find(members, "items", [](const auto& member) { return member.first; });
  if (items == members.end()) {
    response.body = narrow(std::string{response.body});
    return std::move(response);
  }
  std::string text = wire::object([&](json::Writer& writer) {
    for (const auto& [name, value] : members) {
      writer.key(name);
      if (name == "items") {
        wire::write_array(writer, value.elements(),
                          [&](json::Writer& out, const wire::JsonValue& each) { write(out, each); });
      } else {
        writer.raw(value.raw());
      }
    }
  });
  response.body = std::move(text);
  return std::move(response);
}

}  // namespace tidemill::server
