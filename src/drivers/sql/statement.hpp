#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

/// What is done with the texts of statements while the program runs.
namespace tidemill::sql {

/// A text without its parameters, which are `$1`, `$2` … with the mark `$`.
struct Template {
  struct Part {
    std::string text;       ///< What comes before the parameter.
    std::size_t parameter;  ///< From 0.
  };
  std::vector<Part> parts = {};
  std::string end = {};
  std::size_t parameters = 0;
};
Template cut(std::string_view text, char mark = '$');

/// Whether the answer is rows, and not how many were changed.
bool has_rows(std::string_view text);

/// How many columns the SELECT has: by its commas before FROM.
std::size_t columns_of(std::string_view select);

/// The statements of a script, in which semicolons stand between them and nowhere else.
std::vector<std::string> statements_of(std::string_view script);

/// Writes each `x::bigint[]` as `CAST(x AS bigint[])`: for those who take a colon for something else. `x` is
/// a name, a parameter, a literal, a call or something in parentheses.
std::string without_colons(std::string_view text);

/// The digits of the bytes.
void append_hex(std::string& out, std::string_view bytes);

/// The text as bytes and back, for answers: "\x6162" becomes "ab".
std::string from_hex(std::string_view digits);

}  // namespace tidemill::sql
