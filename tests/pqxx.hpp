#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include <pqxx/pqxx>

#include <tidemill/sql.hpp>

/// A transaction of libpqxx as a connection that SqlHandle holds: all that a user of libpqxx has to write.
namespace tidemill::testing {

/// Of a pqxx::work for what is enqueued in it, or of a pqxx::nontransaction for a connection that a store may
/// have. Both must outlive it.
class Pqxx {
 public:
  explicit Pqxx(pqxx::transaction_base& transaction) : transaction_(transaction) {}

  class Cursor {
   public:
    explicit Cursor(pqxx::result rows) : rows_(std::move(rows)) {}
    std::size_t columns() const { return rows_.columns(); }
    bool next() { return at_++ < rows_.size(); }
    std::optional<std::string> text(std::size_t column) const {
      const pqxx::field field = rows_[at_ - 1][static_cast<int>(column)];
      if (field.is_null()) return {};
      return std::string{field.c_str(), field.size()};
    }

   private:
    pqxx::result rows_;
    pqxx::result::size_type at_ = 0;
  };

  std::int64_t execute(const std::string& text, std::span<const SqlValue> values) {
    return static_cast<std::int64_t>(run(text, values).affected_rows());
  }
  Cursor query(const std::string& text, std::span<const SqlValue> values) {
    return Cursor{run(text, values)};
  }
  void ping() { run("SELECT 1", {}); }
  void close() { transaction_.conn().disconnect(); }

 private:
  pqxx::result run(const std::string& text, std::span<const SqlValue> values) {
    try {
      if (values.empty()) return transaction_.exec(text);
      std::vector<std::optional<std::string>> texts;
      for (const SqlValue& value : values) {
        texts.emplace_back();
        if (const auto* number = std::get_if<std::int64_t>(&value)) texts.back() = std::to_string(*number);
        if (const auto* string = std::get_if<std::string>(&value)) texts.back() = *string;
      }
      std::vector<const char*> parameters;
      for (const auto& one : texts) parameters.push_back(one ? one->c_str() : nullptr);
      return transaction_.exec_params(numbered(text), pqxx::prepare::make_dynamic_params(parameters));
    } catch (const pqxx::broken_connection& error) {
      throw SqlError{error.what(), {.lost = true}};
    } catch (const pqxx::sql_error& error) {
      throw SqlError{error.what(), {.state = error.sqlstate()}};
    }
  }
  /// `$1` for the first question mark, and so on.
  static std::string numbered(const std::string& text) {
    std::string result;
    int number = 0;
    for (const char c : text) {
      if (c == '?') {
        result += '$' + std::to_string(++number);
      } else {
        result += c;
      }
    }
    return result;
  }

  pqxx::transaction_base& transaction_;
};

}  // namespace tidemill::testing
