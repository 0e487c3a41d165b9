#pragma once

#include <array>
#include <cstddef>

/// What the drivers of all SQL databases share: texts that are there when the program is compiled.
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

}  // namespace tidemill::sql
