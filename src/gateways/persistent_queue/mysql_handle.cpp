// MYSQL* as a connection that SqlHandle can hold.
#include <chrono>
#include <memory>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include <tidemill/error.hpp>
#include <tidemill/sql.hpp>

#include "drivers/mysql/mysql.hpp"
#include "drivers/mysql/text.hpp"

namespace tidemill {

namespace {

using namespace std::chrono_literals;

/// A call on a connection of our own. Locks are waited for half as long, so that the server says what is
/// wrong.
constexpr auto call_longest = 10s;

Error error_of(const mysql::Failure& failure) {
  const auto kind = failure.outcome() == mysql::Outcome::unknown ? ErrorKind::unknown_outcome
                    : failure.timed_out()                        ? ErrorKind::timed_out
                                                                 : ErrorKind::unavailable;
  return {kind, fmt::format("MySQL: {}", failure.what())};
}

/// The text with its values in the places of the question marks.
std::string with_values(const std::string& text, std::span<const SqlValue> values) {
  std::string result;
  std::size_t at = 0;
  for (const SqlValue& value : values) {
    const std::size_t mark = text.find('?', at);
    if (mark == std::string::npos) break;
    result.append(text, at, mark - at);
    std::visit([&](const auto& plain) { mysql::append_literal(result, plain); }, value);
    at = mark + 1;
  }
  return result.append(text, at);
}

class Cursor {
 public:
  explicit Cursor(mysql::Query query) : query_(std::move(query)) {}
  std::size_t columns() const { return query_.columns(); }
  bool next() { return query_.step(); }
  std::optional<std::string> text(std::size_t column) const {
    const int index = static_cast<int>(column);
    if (query_.null(index)) return {};
    return std::string{query_.bytes(index)};
  }

 private:
  mysql::Query query_;
};

class MysqlHandle {
 public:
  explicit MysqlHandle(st_mysql* borrowed) : borrowed_(borrowed) {}
  explicit MysqlHandle(mysql::Options options) : options_(std::move(options)) {}

  std::int64_t execute(const std::string& text, std::span<const SqlValue> values) {
    return run(text, values).changes();
  }
  Cursor query(const std::string& text, std::span<const SqlValue> values) {
    return Cursor{run(text, values)};
  }
  void ping() { run("DO 0", {}); }
  void close() {
    closed_ = true;
    connection_.reset();
    if (borrowed_ != nullptr) mysql::close_borrowed(std::exchange(borrowed_, nullptr));
  }

 private:
  mysql::Query run(const std::string& text, std::span<const SqlValue> values) {
    if (closed_) throw Error{ErrorKind::closed, "the connection was closed"};
    const std::string whole = with_values(text, values);
    try {
      try {
        return send(whole);
      } catch (const mysql::Failure& failure) {
        // The server has been away meanwhile, and nothing was written: as often as not it is back.
        const bool again = failure.outcome() == mysql::Outcome::undone && !in_transaction_ && options_ &&
                           !failure.timed_out();
        if (!again) throw;
        connection_.reset();
        return send(whole);
      }
    } catch (const mysql::Failure& failure) {
      in_transaction_ = false;
      throw error_of(failure);
    }
  }
  mysql::Query send(const std::string& whole) {
    connect();
    connection_->give_up_at(std::chrono::steady_clock::now() + call_longest);
    mysql::Query query = connection_->query(mysql::any_text, mysql::WholeText{whole});
    in_transaction_ = connection_->in_transaction();
    return query;
  }
  void connect() {
    if (connection_ && connection_->usable()) return;
    connection_.reset();
    if (borrowed_ != nullptr) {
      connection_.emplace(borrowed_, "");
      return;
    }
    connection_.emplace(*options_);
    connection_->execute("SET SESSION time_zone = '+00:00', innodb_lock_wait_timeout = 5");
  }

  st_mysql* borrowed_ = nullptr;
  std::optional<mysql::Options> options_;
  bool closed_ = false;
  bool in_transaction_ = false;  ///< The caller's, as of the last answer.
  std::optional<mysql::Connection> connection_;
};

}  // namespace

SqlHandle SqlHandle::mysql(st_mysql* connection) { return share(std::make_shared<MysqlHandle>(connection)); }

SqlHandle SqlHandle::mysql(const std::string& url) {
  try {
    return share(std::make_shared<MysqlHandle>(mysql::parse_url(url)));
  } catch (const mysql::Failure& failure) {
    throw Error{ErrorKind::invalid, failure.what()};
  }
}

}  // namespace tidemill
