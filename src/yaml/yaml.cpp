#include "yaml/yaml.hpp"

#include <charconv>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <tidemill/json.hpp>

namespace tidemill::yaml {

namespace {

constexpr std::size_t bytes_max = 1U << 20U;
constexpr std::size_t nodes_max = 100'000;
constexpr int depth_max = 64;

std::string place_of(const std::string& file, const YAML::Mark& mark) {
  if (mark.is_null()) return file;
  return fmt::format("{}:{}:{}", file, mark.line + 1, mark.column + 1);
}

/// False when there are too many, aliases counted as what they stand for: a few lines can name billions.
bool few(const YAML::Node& node, std::size_t& count, int depth) {
  if (++count > nodes_max || depth > depth_max) return false;
  if (node.IsSequence()) {
    for (const auto& each : node) {
      if (!few(each, count, depth + 1)) return false;
    }
  } else if (node.IsMap()) {
    for (const auto& each : node) {
      if (!few(each.first, count, depth + 1) || !few(each.second, count, depth + 1)) return false;
    }
  }
  return true;
}

/// Looks at documents without reading them.
class Skimmer final : public YAML::EventHandler {
 public:
  std::optional<YAML::Mark> begin = {};  ///< Of the last one.

  void OnDocumentStart(const YAML::Mark& mark) override { begin = mark; }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t, const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {
  }
  void OnMapEnd() override {}
};

/// Where it begins. Not by YAML::LoadAll, which never ends on some texts that are no YAML.
std::optional<YAML::Mark> second_document(const std::string& text) {
  std::istringstream in{text};
  YAML::Parser parser{in};
  Skimmer skimmer;
  if (!parser.HandleNextDocument(skimmer)) return {};
  skimmer.begin.reset();
  parser.HandleNextDocument(skimmer);
  return skimmer.begin;
}

/// "?" and "!" are yaml-cpp's marks for plain and quoted values.
bool has_tag(const YAML::Node& node) {
  return node.IsScalar() && !node.Tag().empty() && node.Tag() != "?" && node.Tag() != "!";
}

bool is_json_number(const std::string& text) {
  static const std::regex number{"-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?"};
  return text.size() < 400 && std::regex_match(text, number);
}

void write_string(std::string& out, std::string_view text) { json::Writer{out}.write(text); }

}  // namespace

void Mistakes::throw_if_any() const {
  if (!lines_.empty()) throw Error{ErrorKind::invalid, fmt::format("{}", fmt::join(lines_, "\n"))};
}

std::optional<std::string> read_file(const std::filesystem::path& path) {
  constexpr std::size_t most = 2U << 20U;  // What is too large to be one is said by the reader.
  std::error_code unknown;
  if (!std::filesystem::is_regular_file(path, unknown)) return {};
  std::ifstream in{path, std::ios::binary};
  std::string text(most, '\0');
  in.read(text.data(), static_cast<std::streamsize>(most));
  if (in.bad() || !in.eof()) return {};
  text.resize(static_cast<std::size_t>(in.gcount()));
  return text;
}

std::optional<Node> parse_yaml(std::string_view text, const std::string& file, Mistakes& mistakes) {
  if (text.size() > bytes_max) {
    mistakes.add(
        fmt::format("{}: has {} bytes; a configuration has at most {}", file, text.size(), bytes_max));
    return {};
  }
  try {
    if (const auto mark = second_document(std::string{text})) {
      mistakes.add(
          fmt::format("{}: there is a second document; take the line --- out", place_of(file, *mark)));
      return {};
    }
    const YAML::Node root = YAML::Load(std::string{text});
    std::size_t count = 0;
    if (!few(root, count, 0)) {
      mistakes.add(
          fmt::format("{}: has more than {} values, or is nested more than {} deep; aliases count as what "
                      "they stand for",
                      file, nodes_max, depth_max));
      return {};
    }
    if (root.IsNull()) return {};
    return Node{root, file, mistakes};
  } catch (const YAML::Exception& error) {
    mistakes.add(fmt::format("{}: this is no YAML: {}", place_of(file, error.mark), error.msg));
    return {};
  }
}

void Node::wrong(std::string_view what) const {
  mistakes_.add(fmt::format("{}: {}", place_of(file_, node_.Mark()), what));
}

std::string Node::place() const { return fmt::format("{}:{}", file_, node_.Mark().line + 1); }

std::string Node::text() const {
  if (node_.IsScalar() && !has_tag(node_)) return node_.Scalar();
  wrong(has_tag(node_) ? "tags are not read here" : "must be a text");
  return {};
}

bool Node::truth() const {
  const std::string word = node_.IsScalar() ? node_.Scalar() : "";
  if (word != "true" && word != "false") wrong("must be true or false");
  return word == "true";
}

std::int64_t Node::integer(std::int64_t least, std::int64_t most) const {
  if (!node_.IsScalar()) {
    wrong(fmt::format("must be a whole number from {} to {}", least, most));
    return least;
  }
  return checked(least, [&] { return wire::parse_integer(node_.Scalar(), least, most); });
}

double Node::number(double least, double most) const {
  const std::string word = node_.IsScalar() ? node_.Scalar() : "";
  double value = least;
  const auto [end, failure] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (failure == std::errc{} && end == word.data() + word.size() && value >= least && value <= most)
    return value;
  wrong(fmt::format("must be a number from {} to {}", least, most));
  return least;
}

Duration Node::duration(Duration least, Duration most) const {
  const std::string word = text();
  const Duration value = checked(least, [&] { return wire::parse_duration(word); });
  if (value >= least && value <= most) return value;
  wrong(fmt::format("must be from {} to {}", wire::format_duration(least), wire::format_duration(most)));
  return least;
}

std::size_t Node::size(std::size_t least, std::size_t most) const {
  const std::string word = text();
  const std::size_t value = checked(least, [&] { return wire::parse_size(word); });
  if (value >= least && value <= most) return value;
  wrong(fmt::format("must be from {} to {} bytes", least, most));
  return least;
}

TimePoint Node::time() const {
  const std::string word = text();
  return checked(TimePoint{}, [&] { return wire::parse_time(word); });
}

std::vector<std::string> Node::texts() const {
  if (node_.IsScalar()) return {node_.Scalar()};
  std::vector<std::string> found;
  for (const Node& each : elements()) found.push_back(each.text());
  return found;
}

std::map<std::string, std::string> Node::text_map() const {
  std::map<std::string, std::string> found;
  for (const auto& [name, value] : members()) found[name] = value.text();
  return found;
}

std::vector<Node> Node::elements() const {
  if (!node_.IsSequence()) {
    wrong("must be a list");
    return {};
  }
  std::vector<Node> found;
  for (const auto& each : node_) found.emplace_back(each, file_, mistakes_);
  return found;
}

std::vector<std::pair<std::string, Node>> Node::members() const {
  if (!node_.IsMap()) {
    wrong("must be a map of settings, such as `name: value`");
    return {};
  }
  std::vector<std::pair<std::string, Node>> found;
  std::set<std::string> names;
  for (const auto& each : node_) {
    const Node name{each.first, file_, mistakes_};
    if (!each.first.IsScalar()) {
      name.wrong("a setting's name must be a text");
    } else if (each.first.Scalar() == "<<") {
      name.wrong("merge keys are not read here; write the settings out");
    } else if (!names.insert(each.first.Scalar()).second) {
      name.wrong(fmt::format("\"{}\" is there twice", each.first.Scalar()));
    } else {
      found.emplace_back(each.first.Scalar(), Node{each.second, file_, mistakes_});
    }
  }
  return found;
}

std::string Node::json() const {
  std::string out;
  json_of(node_, out);
  return out;
}

void Node::json_of(const YAML::Node& node, std::string& out) const {
  std::string_view separator;
  if (node.IsMap()) {
    out += '{';
    for (const auto& [name, value] : Node{node, file_, mistakes_}.members()) {
      out += std::exchange(separator, ",");
      write_string(out, name);
      out += ':';
      json_of(value.node_, out);
    }
    out += '}';
  } else if (node.IsSequence()) {
    out += '[';
    for (const auto& each : node) {
      out += std::exchange(separator, ",");
      json_of(each, out);
    }
    out += ']';
  } else if (node.IsNull()) {
    out += "null";
  } else {
    const std::string& text = node.Scalar();
    if (has_tag(node)) Node{node, file_, mistakes_}.wrong("tags are not read here");
    const bool plain = node.Tag() != "!";  // What yaml-cpp calls a quoted one.
    const bool word = text == "true" || text == "false" || text == "null";
    if (plain && (word || is_json_number(text))) {
      out += text;
    } else {
      write_string(out, text);
    }
  }
}

}  // namespace tidemill::yaml
