#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <yaml-cpp/node/node.h>

#include <tidemill/clock.hpp>
#include <tidemill/error.hpp>

#include "wire/values.hpp"

/// Reads YAML that people wrote, and collects all that is wrong with it.
namespace tidemill::yaml {

/// What is wrong with the files of one configuration, as "FILE:LINE:COLUMN: what, and what would be right".
class Mistakes {
 public:
  void add(std::string line) { lines_.push_back(std::move(line)); }
  bool empty() const noexcept { return lines_.empty(); }
  /// Throws Error{invalid} with all of them, one a line.
  void throw_if_any() const;

 private:
  std::vector<std::string> lines_;
};

/// One value of a file. What does not read is added to the mistakes, and answered by an empty value.
class Node {
 public:
  Node(const YAML::Node& node, const std::string& file, Mistakes& mistakes)
      : node_(node), file_(file), mistakes_(mistakes) {}

  void wrong(std::string_view what) const;
  /// "FILE:LINE".
  std::string place() const;

  bool is_map() const { return node_.IsMap(); }
  bool is_list() const { return node_.IsSequence(); }
  bool is_scalar() const { return node_.IsScalar(); }

  std::string text() const;
  bool truth() const;
  std::int64_t integer(std::int64_t least, std::int64_t most) const;
  double number(double least, double most) const;
  Duration duration(Duration least = {}, Duration most = std::chrono::hours{24 * 366}) const;
  /// "8MiB", or bytes.
  std::size_t size(std::size_t least = 0, std::size_t most = std::size_t{1} << 40U) const;
  TimePoint time() const;
  /// A list of texts, or one text.
  std::vector<std::string> texts() const;
  std::map<std::string, std::string> text_map() const;
  template <class E>
  E name(std::string_view what, std::span<const E> values) const {
    const std::string word = text();
    return checked(E{}, [&] { return wire::parse_name<E>(what, word, values); });
  }
  /// As JSON: quoted scalars are strings, numbers stay as they are written.
  std::string json() const;

  std::vector<Node> elements() const;
  /// In order; a name that comes twice is a mistake.
  std::vector<std::pair<std::string, Node>> members() const;

  /// What `read()` answers; an Error of its is a mistake here, and `otherwise` the answer.
  template <class T, class Read>
  T checked(T otherwise, Read read) const {
    try {
      return read();
    } catch (const Error& error) {
      wrong(error.what());
      return otherwise;
    }
  }
  template <class Read>
  void checked(Read read) const {
    (void)checked(true, [&] {
      read();
      return true;
    });
  }

  const std::string& file() const noexcept { return file_; }
  Mistakes& mistakes() const noexcept { return mistakes_; }

 private:
  void json_of(const YAML::Node& node, std::string& out) const;

  YAML::Node node_;
  const std::string& file_;
  Mistakes& mistakes_;
};

/// A whole file of a configuration's size at most; none when it can't be read, or is larger.
std::optional<std::string> read_file(const std::filesystem::path& path);

/// The root of a text; none when it is empty, or no YAML, or larger than a configuration may be.
std::optional<Node> parse_yaml(std::string_view text, const std::string& file, Mistakes& mistakes);

/// A setting, and where it goes.
template <class T>
struct Setting {
  std::string_view name;
  void (*read)(T& target, const Node& node);
};

template <class T>
void read_settings(const Node& node, T& target, std::type_identity_t<std::span<const Setting<T>>> known) {
  for (const auto& [name, value] : node.members()) {
    const auto found = std::ranges::find(known, std::string_view{name}, &Setting<T>::name);
    if (found != known.end()) {
      found->read(target, value);
      continue;
    }
    std::vector<std::string> names;
    for (const auto& each : known) names.emplace_back(each.name);
    const std::string near = wire::suggestion(name, names);
    value.wrong("there is no setting \"" + name + "\" here" +
                (near.empty() ? "; there are " + wire::either(names) : near));
  }
}

}  // namespace tidemill::yaml
