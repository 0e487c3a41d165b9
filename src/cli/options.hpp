#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <tidemill/error.hpp>
#include <tidemill/store.hpp>

#include "wire/values.hpp"

namespace CLI {
class App;
class Option;
}  // namespace CLI

/// Options that several commands have.
namespace tidemill::cli {

struct StoreOption {
  std::string url = {};
};
void add_store(CLI::App& command, StoreOption& store);

enum class Access : unsigned char {
  existing,  ///< It must be there: a mistyped path is an error and no new file.
  create,
};
/// Throws Usage when no store is named, neither by option nor by TIDEMILL_STORE.
std::string url_of(const StoreOption& store);
/// Throws Usage when it is the URL of a server, which `command` can't work on.
void refuse_server(std::string_view url, std::string_view command);
/// Throws Usage for a store that ends with this process.
void refuse_memory(std::string_view url);
/// Refuses stores that end with this process. A URL of http: or https: is a server's.
std::unique_ptr<Store> open_store(const StoreOption& store, Access access);

void add_json(CLI::App& command, bool& json);

/// An option with one value, given once; what `take` throws is told with the option's name.
CLI::Option& add_text(CLI::App& command, const std::string& name, const std::string& type,
                      const std::string& what, std::function<void(const std::string&)> take);
/// The same, given as often as one likes.
CLI::Option& add_texts(CLI::App& command, const std::string& name, const std::string& type,
                       const std::string& what, std::function<void(const std::string&)> take);

/// `target`: a Duration, TimePoint or string, or an optional one.
template <class T>
CLI::Option& add_duration(CLI::App& command, const std::string& name, T& target, const std::string& what) {
  return add_text(command, name, "DURATION", what,
                  [&target](const std::string& t) { target = wire::parse_duration(t); });
}
template <class T>
CLI::Option& add_string(CLI::App& command, const std::string& name, const std::string& type, T& target,
                        const std::string& what) {
  return add_text(command, name, type, what, [&target](const std::string& text) { target = text; });
}
template <class T>
CLI::Option& add_number(CLI::App& command, const std::string& name, T& target, std::int64_t least,
                        std::int64_t most, const std::string& what) {
  return add_text(command, name, "N", what, [&target, least, most](const std::string& text) {
    target = static_cast<T>(wire::parse_integer(text, least, most));
  });
}

}  // namespace tidemill::cli
