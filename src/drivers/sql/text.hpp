#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

/// What the drivers of all SQL databases share. Texts are there when the program is compiled.
namespace tidemill::sql {

/// An SQL text that lives as long as the program. Its address is its identity: a connection prepares each
/// once.
struct Sql {
  const char* text;
};

/// A text that is put together when the program is compiled. `data()` ends in a zero.
template <std::size_t Size>
using Text = std::array<char, Size>;

template <std::size_t Size>
consteval Text<Size> to_text(const char (&part)[Size]) {
  return std::to_array(part);
}
template <std::size_t Size>
consteval Text<Size> to_text(const Text<Size>& part) {
  return part;
}

/// `constexpr auto text = join("SELECT ", columns, " FROM …");` of literals, and of what `join` has made.
template <class... Parts>
consteval auto join(const Parts&... parts) {
  Text<(sizeof(Parts) + ... + 0) - sizeof...(Parts) + 1> text{};
  std::size_t at = 0;
  const auto append = [&](const auto& part) {
    for (std::size_t i = 0; i + 1 < part.size(); ++i) text[at++] = part[i];
  };
  (append(to_text(parts)), ...);
  return text;
}

/// A name as it is written in a statement.
inline std::string quoted(std::string_view name, char mark = '"') {
  std::string result(1, mark);
  for (const char c : name) result.append(c == mark ? 2 : 1, c);
  return result + mark;
}

/// Texts say `main.` before the names of what is ours; this is what a database calls it.
inline std::string with_main(std::string_view text, std::string_view place) {
  constexpr std::string_view main = "main.";
  std::string result;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t next = text.find(main, at);
    result += text.substr(at, next - at);
    if (next == std::string_view::npos) break;
    result += place;
    at = next + main.size();
  }
  return result;
}

}  // namespace tidemill::sql
