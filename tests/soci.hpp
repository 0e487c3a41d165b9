#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <soci/soci.h>

#include <tidemill/sql.hpp>

/// A SOCI session as a connection that SqlHandle holds: all that a user of SOCI has to write.
namespace tidemill::testing {

class Soci {
 public:
  /// Says what an error of the session's database is, as each has a class of its own for that.
  using Details = SqlError::Details (*)(const soci::soci_error& error);

  explicit Soci(soci::session& session, Details details = nullptr) : session_(session), details_(details) {}

  /// Rows that are all there already.
  class Cursor {
   public:
    std::size_t columns() const { return rows_.empty() ? 0 : rows_[0].size(); }
    bool next() { return at_++ < rows_.size(); }
    std::optional<std::string> text(std::size_t column) const { return rows_[at_ - 1][column]; }

   private:
    friend class Soci;
    std::vector<SqlRow> rows_;
    std::size_t at_ = 0;
  };

 private:
  template <class F>
  auto explained(F&& call) {
    try {
      return call();
    } catch (const soci::soci_error& error) {
      if (details_ == nullptr) throw;
      throw SqlError{error.what(), details_(error)};
    }
  }

 public:
  std::int64_t execute(const std::string& text, std::span<const SqlValue> values) {
    return explained([&] {
      Statement statement{session_, text, values};
      statement.its.define_and_bind();
      statement.its.execute(true);
      return statement.its.get_affected_rows();
    });
  }
  Cursor query(const std::string& text, std::span<const SqlValue> values) {
    return explained([&] {
      Statement statement{session_, text, values};
      soci::row row;
      statement.its.exchange(soci::into(row));
      statement.its.define_and_bind();
      statement.its.execute(false);
      Cursor cursor;
      while (statement.its.fetch()) {
        SqlRow& texts = cursor.rows_.emplace_back();
        for (std::size_t i = 0; i < row.size(); ++i) texts.push_back(text_of(row, i));
      }
      return cursor;
    });
  }
  void ping() { query("SELECT 1", {}); }
  void close() { session_.close(); }

 private:
  struct Statement {
    Statement(soci::session& session, const std::string& text, std::span<const SqlValue> values)
        : its(session), bound(values.begin(), values.end()) {
      its.alloc();
      its.prepare(named(text),
                  values.empty() ? soci::details::st_one_time_query : soci::details::st_repeatable_query);
      for (const SqlValue& value : bound) {
        if (const auto* number = std::get_if<std::int64_t>(&value)) {
          its.exchange(soci::use(*number));
        } else if (const auto* string = std::get_if<std::string>(&value)) {
          its.exchange(soci::use(*string));
        } else {
          its.exchange(soci::use(null, is_null));
        }
      }
    }
    soci::statement its;
    std::vector<SqlValue> bound;  ///< Bound by address.
    const std::string null = {};
    soci::indicator is_null = soci::i_null;
  };
  /// `:p0` for the first question mark, and so on.
  static std::string named(const std::string& text) {
    std::string result;
    int number = 0;
    for (const char c : text) {
      if (c == '?') {
        result += ":p" + std::to_string(number++);
      } else {
        result += c;
      }
    }
    return result;
  }
  static std::optional<std::string> text_of(const soci::row& row, std::size_t column) {
    if (row.get_indicator(column) == soci::i_null) return {};
    switch (row.get_properties(column).get_data_type()) {
      case soci::dt_integer:
        return std::to_string(row.get<int>(column));
      case soci::dt_long_long:
        return std::to_string(row.get<long long>(column));
      case soci::dt_unsigned_long_long:
        return std::to_string(row.get<unsigned long long>(column));
      case soci::dt_double:
        return std::to_string(static_cast<std::int64_t>(row.get<double>(column)));
      default:
        return row.get<std::string>(column);
    }
  }

  soci::session& session_;
  Details details_;
};

}  // namespace tidemill::testing
